"""Finding quoted words in a canonical text: as they are, or as a reader would not tell them apart."""

import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from functools import partial
from typing import Final

Span = tuple[int, int]

UNSPACED: Final = "\u2e80"
"""From here on scripts are written without spaces between words."""

_INVISIBLE: Final = "\u00ad\u200b\u200c\u200d\u2060\ufeff"
_DASHES: Final = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
_MARKS: Final = {
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032`\u00b4", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
    **dict.fromkeys(_DASHES, "-"),
    **dict.fromkeys(_INVISIBLE, ""),
    "\u2026": "...",
}
_LINE_END: Final = rf"(?<=\w)[-\u00ad\u2010][ \t{_INVISIBLE}]*\n\s*(?=[^\W\d_])"
_SPECIAL: Final = re.compile(
    rf"(?P<broken>{_LINE_END})|(?P<space>\s+)|[{''.join(map(re.escape, _MARKS))}]"
    r"|[\ufb00-\ufb06\uff01-\uff5e]|\w[\u0300-\u036f]+"
)
_BROKEN: Final = re.compile(_LINE_END)


@dataclass(frozen=True, slots=True)
class Folded:
    """A text as a reader sees it, and where its characters came from: runs begin at `places` and `origins`.

    A run that was replaced stands for the range from its origin to the next one's.
    """

    text: str
    places: tuple[int, ...]
    origins: tuple[int, ...]
    replaced: tuple[bool, ...]

    def origin(self, start: int, end: int) -> Span:
        """The range of the original that the folded range [start, end), not empty, came from."""
        first, last = bisect_right(self.places, start) - 1, bisect_right(self.places, end - 1) - 1
        begin = self.origins[first] + (0 if self.replaced[first] else start - self.places[first])
        stop = self.origins[last + 1] if self.replaced[last] else self.origins[last] + end - self.places[last]
        return begin, stop


def fold(text: str, *, hyphen: str = "", start: int = 0, end: int | None = None) -> Folded:
    """The range with white space, quotation marks, dashes and ligatures made plain and invisible marks removed.

    A word broken at a line's end is joined with `hyphen`, which only its reader knows: "" or "-".
    """
    stop = len(text) if end is None else end
    parts: list[str] = []
    runs: list[tuple[int, int, bool]] = []
    length, position = 0, start
    for match in _SPECIAL.finditer(text, start, stop):
        for piece, origin, changed in (
            (text[position : match.start()], position, False),
            (_plain(match, hyphen), match.start(), True),
        ):
            if piece:
                runs.append((length, origin, changed))
                parts.append(piece)
                length += len(piece)
            elif changed:  # what vanished belongs to neither neighbour
                runs.append((length, origin, changed))
        position = match.end()
    runs += [(length, position, False), (length + stop - position, stop, False)]
    parts.append(text[position:stop])
    places, origins, replaced = zip(*runs, strict=True)
    return Folded("".join(parts), places, origins, replaced)


def _plain(match: re.Match[str], hyphen: str) -> str:
    if match["broken"]:
        return hyphen
    if match["space"]:
        return " "
    found = match.group()
    return _MARKS[found] if found in _MARKS else unicodedata.normalize("NFKC", found)


def find(text: str, quote: str, start: int, end: int) -> Span | None:
    """Where the quote stands in `text`: in the passage [start, end) if it is there, else anywhere; exact words first."""
    exact = quote.strip()
    if not exact:
        return None
    ranges = ((start, end), (0, len(text)))
    for low, high in ranges:
        found = _locate(text, exact, low, high)
        if found is not None:
            return found, found + len(exact)
    for low, high in ranges:
        for hyphen in ("", "-"):
            span = _find_folded(text, exact, low, high, hyphen)
            if span is not None:
                return span
    return None


def same(one: str, other: str) -> bool:
    """Whether a reader would see the same words."""
    return fold(one).text.strip() == fold(other).text.strip()


def holds(text: str, phrase: str) -> bool:
    """Whether the words, folded already, stand in the text, whatever their case; `find` says where, and takes longer."""
    wanted = phrase.casefold()
    broken = ("", "-") if _BROKEN.search(text) else ("",)
    forms = (_SPECIAL.sub(partial(_plain, hyphen=hyphen), text).casefold() for hyphen in broken)
    return any(_locate(form, wanted, 0, len(form)) is not None for form in forms)


def _find_folded(text: str, quote: str, start: int, end: int, hyphen: str) -> Span | None:
    wanted = fold(quote, hyphen=hyphen).text.strip()
    if not wanted:
        return None
    folded = fold(text, hyphen=hyphen, start=start, end=end)
    found = _locate(folded.text, wanted, 0, len(folded.text))
    return None if found is None else folded.origin(found, found + len(wanted))


def _locate(text: str, wanted: str, start: int, end: int) -> int | None:
    """The first place of the words in the range that does not begin or end within a word."""
    found = text.find(wanted, start, end)
    while found >= 0:
        if not _within_word(text, found) and not _within_word(text, found + len(wanted)):
            return found
        found = text.find(wanted, found + 1, end)
    return None


def _within_word(text: str, offset: int) -> bool:
    """Whether letters or digits stand on both sides, in a script that puts spaces between words."""
    if not 0 < offset < len(text):
        return False
    before, after = text[offset - 1], text[offset]
    return before.isalnum() and after.isalnum() and max(before, after) < UNSPACED
