"""A document's own table of contents, found again in its text.

Where it has one, it says better than the letters do what is a heading and of which level.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from ibid.types import ElementKind
from ingest.parsing.lines import Block

_NUMBERING: Final = re.compile(r"(?:(?:\d+|[A-Z])(?:\.\d+)*[.):]?|[IVXLC]+[.):])\s+(?=\S)")
_NOT_WORDS: Final = re.compile(r"[\W_]+")
_LINES: Final = 3
"""A heading has at most so many."""
_HEADINGS: Final = frozenset({ElementKind.TITLE, ElementKind.HEADING})
_BODY: Final = frozenset({ElementKind.PARAGRAPH, ElementKind.LIST_ITEM})

Letters = tuple[int, bool]
"""Size in points and boldness."""


@dataclass(frozen=True, slots=True)
class Bookmark:
    """An entry: its level from 0 for the highest, and the page (from 1) that it leads to."""

    level: int
    title: str
    page: int


def with_bookmarks(pages: list[list[Block]], bookmarks: Sequence[Bookmark]) -> list[list[Block]]:
    """The blocks of each page; those that a bookmark names are headings of its level, in a block of their own."""
    wanted: dict[int, dict[str, int]] = defaultdict(dict)
    for mark in bookmarks:
        wanted[mark.page].setdefault(_plain(mark.title), mark.level)
    named: dict[int, int] = {}
    found = [_of_page(blocks, wanted[number], named) for number, blocks in enumerate(pages, start=1)]
    if named:
        _set_levels([block for block in chain.from_iterable(found) if block.kind in _HEADINGS], named)
    return found


def _of_page(blocks: list[Block], wanted: dict[str, int], named: dict[int, int]) -> list[Block]:
    """The blocks, some of them divided after a heading; `named` takes the level of each heading by its identity."""
    if not wanted:
        return blocks
    found = []
    for block in blocks:
        lines = _named_lines(block, wanted)
        if lines:
            heading = block if lines == len(block.lines) else Block(ElementKind.HEADING, block.lines[:lines])
            heading.kind = ElementKind.TITLE if block.kind is ElementKind.TITLE else ElementKind.HEADING
            named[id(heading)] = wanted[_plain(heading.text)]
            found.append(heading)
            if heading is not block:
                found.append(Block(block.kind, block.lines[lines:]))
        else:
            found.append(block)
    return found


def _named_lines(block: Block, wanted: dict[str, int]) -> int:
    """How many of a block's first lines are the title of a bookmark."""
    if block.kind not in _HEADINGS | _BODY:
        return 0
    counts = range(1, min(len(block.lines), _LINES) + 1)
    named = (
        count for count in counts if _plain(" ".join(line.text for line in block.lines[:count])) in wanted
    )
    return max(named, default=0)


def _plain(title: str) -> str:
    """A title as it is compared: without its number, its punctuation and its case."""
    bare = _NUMBERING.sub("", title.strip(), count=1)
    return _NOT_WORDS.sub("", bare).casefold()


def _set_levels(headings: Sequence[Block], named: dict[int, int]) -> None:
    """Named headings have their bookmark's level, others that of named ones in like letters, the rest stand below."""
    title = next((block for block in headings if block.kind is ElementKind.TITLE), None)
    # A title that is not among the bookmarks stands above them all.
    shift = 1 if title is not None and id(title) not in named else 0
    like: dict[Letters, Counter[int]] = defaultdict(Counter)
    for block in headings:
        if id(block) in named:
            like[_letters(block)][named[id(block)] + shift] += 1
    below = max(named.values()) + shift + 1
    for block in headings:
        if id(block) in named:
            block.level = named[id(block)] + shift
        elif block is title:
            block.level = 0
        elif letters := like.get(_letters(block)):
            block.level = letters.most_common(1)[0][0]
        else:
            block.level += below


def _letters(block: Block) -> Letters:
    return round(block.lines[0].size), block.lines[0].bold
