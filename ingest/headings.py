"""What stands above a chunk, and is read with it by the encoder: headings, or the names of a table's columns.

An encoder cuts what is too long for it, at the end, where the chunk's own words are. So what stands above has a budget
too: a quarter of the chunk's, which `ChunkerConfig.fitted` leaves free.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from ibid.embedding.texts import HEADINGS_READ
from ibid.types import ChunkerConfig, Element, ElementKind, Parsed

CountTokens = Callable[[Sequence[str]], list[int]]

HEADINGS: Final = frozenset({ElementKind.TITLE, ElementKind.HEADING})
LEFT_OUT: Final = frozenset({ElementKind.HEADER, ElementKind.FOOTER, ElementKind.HIDDEN})
LINE: Final = re.compile(r"\S[^\n]*")
_OPENING: Final = 250
"""Code points of a first line that may be what the document is called."""
_BELOW_IT: Final = 4000
"""Code points of a document that it may stand above: an edit of it embeds all of them anew."""
_NAMES_WITHIN: Final = 3
"""Rows from the top of a table among which the names of its columns are looked for."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The row of a table that names its columns: its words, its end in the text, and its tokens."""

    text: str
    end: int
    tokens: int


def above(parsed: Parsed, config: ChunkerConfig, count_tokens: CountTokens) -> list[tuple[str, ...]]:
    """The headings above each element, outermost first.

    The first line of a short document without headings stands above what follows, if it is short itself: abstracts, notes
    and messages mostly begin with what they are about. Of headings too long for their budget the first words are kept.
    """
    opening, first = _opening(parsed)
    paths = [
        element.heading_path or (opening if index > first else ())
        for index, element in enumerate(parsed.elements)
    ]
    counts = _counts((heading for path in set(paths) for heading in path[-HEADINGS_READ:]), count_tokens)
    cut = {path: _cut(path, _budget(config), counts) for path in set(paths)}
    return [cut[path] for path in paths]


def columns(parsed: Parsed, config: ChunkerConfig, count_tokens: CountTokens) -> dict[int, Columns]:
    """The tables whose columns have names, by the index of their element; what their budget does not hold is cut."""
    named = {
        index: row
        for index, element in enumerate(parsed.elements)
        if element.kind is ElementKind.TABLE and (row := _named(parsed.text, element)) is not None
    }
    texts = {index: row.group().strip() for index, row in named.items()}
    counts = _counts(texts.values(), count_tokens)
    budget = _budget(config)
    found: dict[int, Columns] = {}
    for index, row in named.items():
        text, tokens = _first_words(texts[index], budget, counts)
        if text:
            found[index] = Columns(text.rstrip(" |"), row.end(), tokens)
    return found


def _budget(config: ChunkerConfig) -> int:
    return max(1, config.max_tokens // 4)


def _opening(parsed: Parsed) -> tuple[tuple[str, ...], int]:
    """The first line as a path of headings, which is empty if it is none, and the index of its element."""
    index, first = next(
        ((index, each) for index, each in enumerate(parsed.elements) if each.kind not in LEFT_OUT), (0, None)
    )
    if (
        first is None
        or first.kind is not ElementKind.PARAGRAPH
        or first.end - first.start > _OPENING
        or len(parsed.text) > _BELOW_IT
        or any(element.kind in HEADINGS or element.heading_path for element in parsed.elements)
    ):
        return (), 0
    return (" ".join(parsed.text[first.start : first.end].split()),), index


def _named(text: str, element: Element) -> re.Match[str] | None:
    """The first of a table's first rows that fills half of its columns, which passes a title above them."""
    rows = list(islice(LINE.finditer(text, element.start, element.end), _NAMES_WITHIN + 1))
    filled = [sum(map(bool, map(str.strip, row.group().split("|")))) for row in rows]
    width = max((row.group().count("|") + 1 for row in rows), default=0)
    named = (row for row, cells in zip(rows[:_NAMES_WITHIN], filled, strict=False) if 2 * cells >= width)
    return next(named, rows[0]) if len(rows) > 1 else None


def _counts(texts: Iterable[str], count_tokens: CountTokens) -> dict[str, int]:
    """The tokens of each of their words."""
    words = sorted({word for text in texts for word in text.split()})
    return dict(zip(words, count_tokens(words), strict=True)) if words else {}


def _cut(path: tuple[str, ...], budget: int, counts: Mapping[str, int]) -> tuple[str, ...]:
    """The path with the headings that are read in the budget, of which the nearest takes first what it needs.

    Where the budget is spent, those further up are left out: the encoder would read them instead.
    """
    kept: list[str] = []
    for heading in reversed(path[-HEADINGS_READ:]):
        text, tokens = _first_words(heading, budget, counts)
        if not text:
            return tuple(reversed(kept))
        kept.append(text)
        budget -= tokens
    return (*path[:-HEADINGS_READ], *reversed(kept))


def _first_words(text: str, budget: int, counts: Mapping[str, int]) -> tuple[str, int]:
    """As many words as the budget allows, and their tokens."""
    words = text.split()
    spent = 0
    for at, word in enumerate(words):
        if spent + counts[word] > budget:
            return " ".join(words[:at]), spent
        spent += counts[word]
    return text, spent
