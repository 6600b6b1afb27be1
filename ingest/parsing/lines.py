"""Printed lines to paragraphs, headings, list items, page headers and footers, by geometry alone.

Coordinates are points of the page as displayed, origin top left, so y grows downwards.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise, zip_longest
from statistics import median
from typing import Final

from ibid.types import ElementKind

BULLET: Final = re.compile(
    r"(?:[-*+•‣▪▫◦–—·●○■□►➢➤✓❖\uf0a7\uf0b7\uf0d8]|[(]?(?:\d{1,3}|[a-z]|[ivx]{1,5})[.)]|[(]?[A-Z][)])(?:\s|$)"
)
_ORNAMENT: Final = re.compile("[•‣▪▫◦·●○■□►➢➤✓❖\uf0a7\uf0b7\uf0d8]$")
_SENTENCE_END: Final = re.compile(r"[.!?:;。！？]['\"”’)\]]*$")

_DIGITS: Final = re.compile(r"\d+")
_PAGE_EDGE: Final = 0.25
_EDGE_ROWS: Final = 2
"""Page headers and footers are among so many rows at the top and bottom, within this share of the page."""
_MAX_HEADING: Final = 160
_MANY: Final = 6
"""So many lines of a paragraph show by themselves how wide it is set."""
_USUAL_PITCH: Final = 1.2


@dataclass(slots=True)
class Line:
    """Words printed side by side. `size` is of the letters, `head` the width of the first word.

    `boxes` has four numbers a word: x0, y0, x1, y1 in units of the page, `ibid.layout.UNITS` to its width and height.
    `hyphenated` says that the last word goes on in the next line and its last character is a hyphen put there.
    """

    words: list[str]
    boxes: list[int]
    size: float
    bold: bool
    hyphenated: bool
    head: float
    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def text(self) -> str:
        """The words with single spaces."""
        return " ".join(self.words)


@dataclass(slots=True)
class Block:
    """Lines that belong together. `level` counts from 0 for the highest heading."""

    kind: ElementKind
    lines: list[Line]
    level: int = 0

    @property
    def text(self) -> str:
        """The text of the lines with single spaces."""
        return " ".join(line.text for line in self.lines)


@dataclass(frozen=True, slots=True)
class Page:
    """One page's lines in reading order; width and height in points as displayed. `unseen` are words nobody sees."""

    number: int
    width: float
    height: float
    lines: list[Line] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)


def blocks(pages: Sequence[Page]) -> list[list[Block]]:
    """The blocks of each page in reading order: its headers, its body, its footers."""
    edges = _repeated(pages)
    bodies = [[line for line in page.lines if id(line) not in edges] for page in pages]
    pitch = _pitch(bodies)
    found = [
        [Block(ElementKind.PARAGRAPH, group) for group in _groups(_rows(body), pitch)] for body in bodies
    ]
    _classify(found)
    for block in chain.from_iterable(found):
        _undecorate(block)
    return [
        [
            *_edge_blocks(page, edges, ElementKind.HEADER),
            *body,
            *_edge_blocks(page, edges, ElementKind.FOOTER),
        ]
        for page, body in zip(pages, found, strict=True)
    ]


def _edge_blocks(page: Page, edges: dict[int, ElementKind], kind: ElementKind) -> Iterable[Block]:
    return (Block(kind, [line]) for line in page.lines if edges.get(id(line)) is kind)


def _repeated(pages: Sequence[Page]) -> dict[int, ElementKind]:
    """Lines, by identity, that stand at the same height at the edge of several pages and differ in digits only."""
    places: dict[tuple[str, int], dict[int, Line]] = defaultdict(dict)
    for page in pages:
        near = _near_edges(page)
        # A page with nothing else is not all header.
        if len(near) < len(page.lines):
            for line in near:
                words = _DIGITS.sub("#", line.text.casefold())
                places[words, round(100 * _middle(line) / page.height)].setdefault(page.number, line)
    enough = 2 if len(pages) == 2 else max(3, len(pages) // 20)
    height = median(page.height for page in pages) if pages else 1.0
    return {
        id(line): ElementKind.HEADER if _middle(line) < height / 2 else ElementKind.FOOTER
        for lines in places.values()
        if len(lines) >= enough
        for line in lines.values()
    }


def _near_edges(page: Page) -> list[Line]:
    """The lines of the outermost rows, where these lie close to the edges of the page."""
    heights = sorted({round(_middle(line)) for line in page.lines})
    top = {height for height in heights[:_EDGE_ROWS] if height < _PAGE_EDGE * page.height}
    bottom = {height for height in heights[-_EDGE_ROWS:] if height > (1 - _PAGE_EDGE) * page.height}
    return [line for line in page.lines if round(_middle(line)) in top | bottom]


def _middle(line: Line) -> float:
    return (line.y0 + line.y1) / 2


def _rows(lines: Sequence[Line]) -> list[Line]:
    """Pieces printed on one row, such as cells or a change of font, put together."""
    rows: list[Line] = []
    for line in lines:
        if rows and _continues_row(rows[-1], line):
            rows[-1] = _joined(rows[-1], line)
        else:
            rows.append(line)
    return rows


def _continues_row(row: Line, line: Line) -> bool:
    overlap = min(row.y1, line.y1) - max(row.y0, line.y0)
    same_row = overlap > 0.6 * min(row.y1 - row.y0, line.y1 - line.y0)
    return same_row and not row.hyphenated and line.x0 >= row.x1 - 0.3 * row.size


def _joined(row: Line, line: Line) -> Line:
    return Line(
        words=row.words + line.words,
        boxes=row.boxes + line.boxes,
        size=row.size if len(row.words) >= len(line.words) else line.size,
        bold=row.bold and line.bold,
        hyphenated=line.hyphenated,
        head=row.head,
        x0=min(row.x0, line.x0),
        y0=min(row.y0, line.y0),
        x1=max(row.x1, line.x1),
        y1=max(row.y1, line.y1),
    )


def _pitch(bodies: Iterable[Sequence[Line]]) -> float:
    """The usual distance of two lines of a paragraph in this document, in letter sizes."""
    steps: Counter[float] = Counter()
    for body in bodies:
        for line, following in pairwise(body):
            step = (following.y1 - line.y1) / line.size
            # A long line goes on in the next one; the gap after a short one is between paragraphs.
            same = 0.9 < step < 3 and abs(line.size - following.size) < 0.05 * line.size
            if same and len(line.text) > 40:
                steps[round(step, 1)] += 1
    common = steps.most_common(1)
    return common[0][0] if common else _USUAL_PITCH


def _groups(lines: Sequence[Line], pitch: float) -> list[list[Line]]:
    """Runs of lines that make a paragraph."""
    groups: list[list[Line]] = []
    edges = _right_edges(lines)
    for index, line in enumerate(lines):
        following = lines[index + 1] if index + 1 < len(lines) else None
        if groups and _goes_on(groups[-1], line, following, pitch, edges):
            groups[-1].append(line)
        else:
            groups.append([line])
    return groups


def _right_edges(lines: Sequence[Line]) -> dict[int, float]:
    """Where text that starts at some x (in steps of 4 points) ends when a line is full."""
    ends: dict[int, list[float]] = defaultdict(list)
    for line in lines:
        ends[round(line.x0 / 4)].append(line.x1)
    full = {}
    for start in ends:
        near = sorted(end for step in (start - 1, start, start + 1) for end in ends.get(step, ()))
        # Not the longest: a title across two columns starts where the left column does.
        full[start] = near[(len(near) * 4) // 5]
    return full


def _goes_on(
    paragraph: Sequence[Line], line: Line, following: Line | None, pitch: float, edges: dict[int, float]
) -> bool:
    """Whether a line belongs to the paragraph before it."""
    last = paragraph[-1]
    if last.hyphenated:
        return True
    if abs(last.size - line.size) > 0.1 * last.size or last.bold != line.bold or BULLET.match(line.words[0]):
        return False
    step = (line.y1 - last.y1) / last.size
    if step < 0.5:
        # The text went up, to the next column: only an open sentence goes on there.
        return line.text[:1].islower() and not _SENTENCE_END.search(last.text)
    if step > 1.3 * pitch or line.x0 > last.x1 or line.x1 < last.x0:
        return False
    return not (_indented(paragraph, line, following) or _ended_early(paragraph, line, edges))


def _indented(paragraph: Sequence[Line], line: Line, following: Line | None) -> bool:
    """Whether the line begins a paragraph by standing further in, or further out after a hanging indent."""
    first, last, em = paragraph[0], paragraph[-1], line.size
    if line.x0 > last.x0 + 0.8 * em and not BULLET.match(first.words[0]):
        return _SENTENCE_END.search(last.text) is not None or (
            following is not None and following.x0 < line.x0 - 0.8 * em
        )
    return len(paragraph) > 1 and first.x0 < last.x0 - 0.8 * em and line.x0 < last.x0 - 0.8 * em


def _ended_early(paragraph: Sequence[Line], line: Line, edges: dict[int, float]) -> bool:
    """Whether the line before had room for the first word of this one, so that its end was meant."""
    last = paragraph[-1]
    full = edges.get(round(last.x0 / 4), last.x1)
    longest = max(before.x1 for before in paragraph[-_MANY:])
    if len(paragraph) >= _MANY:
        full = min(full, longest)
    return last.x1 + line.head + 0.6 * last.size < full


def _classify(pages: Sequence[Sequence[Block]]) -> None:
    """Set kinds and levels: larger or bolder than the body is a heading, a bullet is a list item."""
    every = list(chain.from_iterable(pages))
    letters: Counter[tuple[float, bool]] = Counter()
    for line in chain.from_iterable(block.lines for block in every):
        letters[round(line.size, 1), line.bold] += sum(map(len, line.words))
    if not letters:
        return
    (body, body_bold), _ = letters.most_common(1)[0]
    for block, following in zip_longest(every, every[1:]):
        if _is_heading(block, following, body, body_bold=body_bold):
            block.kind = ElementKind.HEADING
        elif BULLET.match(block.lines[0].words[0]):
            block.kind = ElementKind.LIST_ITEM
    _set_levels([block for block in every if block.kind is ElementKind.HEADING], body)
    _set_title([block for block in pages[0] if block.kind is ElementKind.HEADING], body)


def _is_heading(block: Block, following: Block | None, body: float, *, body_bold: bool) -> bool:
    if len(block.lines) > 3:
        return False
    text, first = block.text, block.lines[0]
    if len(text) > _MAX_HEADING or not any(map(str.isalpha, text)):
        return False
    if first.size > 1.12 * body:
        return True
    bold = all(line.bold for line in block.lines) and not body_bold
    if bold and first.size > 0.95 * body and not text.endswith((".", ",", ";")):
        return True
    return first.size > 0.95 * body and _is_plain_heading(block, following)


def _is_plain_heading(block: Block, following: Block | None) -> bool:
    """Whether a lone short line in capitals as titles have stands over a paragraph."""
    words = block.lines[0].words
    if (
        following is None
        or len(block.lines) > 1
        or len(words) > 8
        or _SENTENCE_END.search(block.text.rstrip(":"))
    ):
        return False
    if BULLET.match(block.text) or not words[0][:1].isupper() or any(map(str.isdigit, block.text)):
        return False
    capitals = all(word[:1].isupper() or len(word) < 4 or not word[:1].isalpha() for word in words)
    return (capitals or block.text.endswith(":")) and len(following.text) > 2 * len(block.text)


def _undecorate(block: Block) -> None:
    """Drop the dot before a list item: its kind says it, and extractors disagree on where the dot belongs."""
    first = block.lines[0]
    if block.kind is ElementKind.LIST_ITEM and len(first.words) > 1 and _ORNAMENT.match(first.words[0]):
        block.lines[0] = replace(first, words=first.words[1:], boxes=first.boxes[4:])


def _set_levels(headings: Sequence[Block], body: float) -> None:
    """Larger letters first, then bold, then neither."""
    ranks = sorted({_rank(block, body) for block in headings}, reverse=True)
    for block in headings:
        block.level = ranks.index(_rank(block, body))


def _rank(block: Block, body: float) -> tuple[float, bool]:
    return max(round(block.lines[0].size), round(body)), block.lines[0].bold


def _set_title(headings: Sequence[Block], body: float) -> None:
    """The largest heading of the first page is the title, if its letters are larger than the text's."""
    largest = max(headings, key=lambda block: block.lines[0].size, default=None)
    if largest is not None and largest.lines[0].size > 1.12 * body:
        largest.kind = ElementKind.TITLE
