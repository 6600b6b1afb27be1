"""Words divided at a line end: whether their hyphen belongs to the word or to the line."""

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise

from ingest.parsing.lines import Line, Page


class Divisions:
    """What a document's own words say about its divided ones.

    A hyphen goes if the whole word stands elsewhere in the document. If that is so for some word, the document is set
    with division, and a hyphen goes too where the second half ("ploitation") is no word of the document. Else it stays.
    """

    def __init__(self, pages: Sequence[Page]) -> None:
        lines = [line for page in pages for line in page.lines]
        self._words = (
            frozenset(map(_plain, set(chain.from_iterable(_words(lines)))))
            if any(line.hyphenated for line in lines)
            else frozenset()
        )
        self._divides = any(
            _plain(line.words[-1][:-1] + following.words[0]) in self._words
            for line, following in pairwise(lines)
            if line.hyphenated
        )

    def head(self, head: str, tail: str) -> str:
        """The first half of a divided word, which ends in a hyphen, with or without that."""
        whole, second = _plain(head[:-1] + tail), _plain(tail)
        if whole in self._words:
            return head[:-1]
        if (
            not self._divides
            or _plain(head + tail) in self._words
            or second in self._words
            or not second.islower()
        ):
            return head
        return head[:-1]


def _words(lines: Sequence[Line]) -> Iterator[list[str]]:
    """The words of the document, by line, without the halves of divided ones."""
    after_hyphen = False
    for line in lines:
        whole = not (after_hyphen or line.hyphenated)
        yield line.words if whole else line.words[after_hyphen : -1 if line.hyphenated else None]
        after_hyphen = line.hyphenated


def _plain(word: str) -> str:
    return word.strip(".,;:!?()'\"").casefold()
