"""Elements, word boxes and the report of a parse as bytes to be stored, and the boxes of a span.

Columns of integers as compressed JSON: a few bytes a word, readable by any later release, safe to load from a
process that read a hostile file. Coordinates are whole units of 1/10,000 of the page.
"""

import json
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import accumulate, pairwise
from typing import Any, Final, overload

from pydantic import TypeAdapter, ValidationError

from ibid.errors import Invalid
from ibid.types import Box, Element, ElementKind, ParseReport, TextBox

UNITS: Final = 10_000
"""Coordinates in a page's width or height."""

MAX_LAYOUT_BYTES: Final = 512 * 1024 * 1024
_VERSION: Final = 1
_REPORT: Final = TypeAdapter(ParseReport)


class LayoutDamaged(Invalid):
    """Stored bytes are not a layout; parsing the document again makes them anew."""

    code = "layout_damaged"


@dataclass(frozen=True, eq=False)
class BoxColumns(Sequence[TextBox]):
    """Word boxes as columns: offsets in code points, one-based pages, and four edges each in units.

    To whoever looks at it a sequence of boxes; a box is made when it is asked for.
    """

    starts: Sequence[int] = ()
    ends: Sequence[int] = ()
    pages: Sequence[int] = ()
    edges: Sequence[int] = ()

    @classmethod
    def of(cls, boxes: Sequence[TextBox]) -> "BoxColumns":
        """The boxes as columns. Coordinates are rounded to 1/10,000 of the page."""
        if isinstance(boxes, cls):
            return boxes
        return cls(
            tuple(placed.start for placed in boxes),
            tuple(placed.end for placed in boxes),
            tuple(placed.box.page for placed in boxes),
            tuple(edge for placed in boxes for edge in _units(placed.box)),
        )

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> TextBox: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[TextBox, ...]: ...
    def __getitem__(self, index: int | slice) -> TextBox | tuple[TextBox, ...]:
        places = range(len(self))[index]
        return self._made(places) if isinstance(places, int) else tuple(map(self._made, places))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BoxColumns | tuple) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def _made(self, index: int) -> TextBox:
        box = _box(self.pages[index], self.edges[4 * index : 4 * index + 4])
        return TextBox(self.starts[index], self.ends[index], box)


@dataclass(frozen=True)
class Layout:
    """Where the text of one version stands: elements and word boxes, and what its parser reported."""

    elements: tuple[Element, ...]
    boxes: BoxColumns
    report: ParseReport


def encode_layout(elements: Iterable[Element], boxes: Sequence[TextBox], report: ParseReport) -> bytes:
    """The layout as bytes; equal layouts give equal bytes. Coordinates are rounded to 1/10,000 of the page."""
    paths: dict[tuple[str, ...], int] = {}
    rows = [
        (
            element.kind.value,
            element.start,
            element.end,
            element.page,
            paths.setdefault(element.heading_path, len(paths)),
        )
        for element in elements
    ]
    columns = BoxColumns.of(boxes)
    document = {
        "v": _VERSION,
        "elements": rows,
        "paths": list(paths),
        "starts": _deltas(columns.starts),
        "lengths": [end - start for start, end in zip(columns.starts, columns.ends, strict=True)],
        "pages": _deltas(columns.pages),
        "edges": list(columns.edges),
        "report": asdict(report),
    }
    return zlib.compress(json.dumps(document, separators=(",", ":")).encode(), 6)


def decode_layout(data: bytes) -> Layout:
    """The layout of `encode_layout`; raises `LayoutDamaged` for anything that is not one."""
    with _told_damaged():
        document = _document(data)
        return Layout(_elements(document), _columns(document), _REPORT.validate_python(document["report"]))


def decode_report(data: bytes) -> ParseReport:
    """What the parser reported, of `encode_layout`; the rest is not looked at. Raises `LayoutDamaged`."""
    with _told_damaged():
        return _REPORT.validate_python(_document(data)["report"])


@contextmanager
def _told_damaged() -> Iterator[None]:
    try:
        yield
    except (
        zlib.error,
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        AttributeError,
        ValidationError,
    ) as error:
        message = "The stored layout of this document cannot be read. Upload the document again."
        raise LayoutDamaged(message) from error


def _document(data: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(_inflate(data))
    if document["v"] != _VERSION:
        message = f"This layout has version {document['v']}, which this release cannot read. Parse it again."
        raise LayoutDamaged(message)
    return document


def boxes_of(layout: Layout, start: int, end: int) -> tuple[Box, ...]:
    """One box a line for the words that [start, end) touches, in reading order; empty without pages."""
    columns = layout.boxes
    first, last = bisect_right(columns.ends, start), bisect_left(columns.starts, end)
    merged: list[tuple[int, Sequence[int]]] = []
    for index in range(first, last):
        page, edges = columns.pages[index], columns.edges[4 * index : 4 * index + 4]
        if merged and merged[-1][0] == page and _same_line(merged[-1][1], edges):
            merged[-1] = (page, _union(merged[-1][1], edges))
        else:
            merged.append((page, edges))
    return tuple(_box(page, edges) for page, edges in merged)


def page_of(layout: Layout, start: int) -> int | None:
    """The page of the element that holds the offset, or of the nearest before it; None without pages."""
    index = bisect_right(layout.elements, start, key=lambda element: element.start) - 1
    return layout.elements[max(index, 0)].page if layout.elements else None


def _same_line(line: Sequence[int], word: Sequence[int]) -> bool:
    """Whether the word overlaps the line by half its height and does not lie far off it."""
    overlap = min(line[3], word[3]) - max(line[1], word[1])
    height = min(line[3] - line[1], word[3] - word[1])
    gap = max(word[0] - line[2], line[0] - word[2])
    return 2 * overlap >= height and gap <= UNITS // 10


def _union(one: Sequence[int], other: Sequence[int]) -> tuple[int, int, int, int]:
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])


def _box(page: int, edges: Sequence[int]) -> Box:
    return Box(page, edges[0] / UNITS, edges[1] / UNITS, edges[2] / UNITS, edges[3] / UNITS)


def _units(box: Box) -> tuple[int, int, int, int]:
    return round(box.x0 * UNITS), round(box.y0 * UNITS), round(box.x1 * UNITS), round(box.y1 * UNITS)


def _deltas(values: Sequence[int]) -> list[int]:
    return [after - before for before, after in pairwise((0, *values))]


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    plain = inflater.decompress(data, MAX_LAYOUT_BYTES)
    if not inflater.eof:
        message = "the layout is cut short or too large"
        raise ValueError(message)
    return plain


def _elements(document: dict[str, Any]) -> tuple[Element, ...]:
    paths = [tuple(map(_string, path)) for path in document["paths"]]
    elements = tuple(
        Element(
            ElementKind(kind), _whole(start), _whole(end), None if page is None else _whole(page), paths[path]
        )
        for kind, start, end, page, path in document["elements"]
    )
    _ascending([offset for element in elements for offset in (element.start, element.end)])
    return elements


def _columns(document: dict[str, Any]) -> BoxColumns:
    starts = tuple(accumulate(map(_whole, document["starts"])))
    lengths = tuple(map(_whole, document["lengths"]))
    ends = tuple(start + length for start, length in zip(starts, lengths, strict=True))
    pages = tuple(accumulate(map(_whole, document["pages"])))
    edges = tuple(map(_whole, document["edges"]))
    _ascending([offset for span in zip(starts, ends, strict=True) for offset in span])
    if not 4 * len(starts) == 4 * len(pages) == len(edges):
        message = "columns of different lengths"
        raise ValueError(message)
    return BoxColumns(starts, ends, pages, edges)


def _ascending(offsets: Sequence[int]) -> None:
    if any(before > after for before, after in pairwise((0, *offsets))):
        message = "offsets that do not ascend"
        raise ValueError(message)


def _whole(value: object) -> int:
    if type(value) is not int:
        message = "a number was expected"
        raise TypeError(message)
    return value


def _string(value: object) -> str:
    if not isinstance(value, str):
        message = "a string was expected"
        raise TypeError(message)
    return value
