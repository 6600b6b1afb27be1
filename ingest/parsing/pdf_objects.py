"""What a page of a PDF draws, as far as it decides whether its text is seen."""

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Final

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from ingest.parsing import pdf_calls as calls
from ingest.parsing.pdf_calls import Ints

_TEXT, _PATH, _IMAGE = (
    pdfium_c.FPDF_PAGEOBJ_TEXT,
    pdfium_c.FPDF_PAGEOBJ_PATH,
    pdfium_c.FPDF_PAGEOBJ_IMAGE,
)
_FORM: Final = pdfium_c.FPDF_PAGEOBJ_FORM
_STROKED: Final = pdfium_c.FPDF_TEXTRENDERMODE_STROKE
_WITHOUT_INK: Final = (pdfium_c.FPDF_TEXTRENDERMODE_INVISIBLE, pdfium_c.FPDF_TEXTRENDERMODE_CLIP)
_DEPTH: Final = 8
_THIN: Final = 4.0
"""A path of fewer points across is a rule or an underline, which hides nothing."""
_PALE: Final = 225
_FAINT: Final = 64
"""Colours of which all parts are at least this are near white; an opacity below that (of 255) is near none."""
_NEAR: Final = 16

_bounds: Final = (ctypes.c_float * 4)()
_BOUNDS_AT: Final = tuple(ctypes.addressof(_bounds) + 4 * part for part in range(4))
_mode: Final = (ctypes.c_int * 2)()
_MODE_AT: Final = (ctypes.addressof(_mode), ctypes.addressof(_mode) + 4)

Bounds = tuple[float, ...]
"""Left, bottom, right, top in points."""


@dataclass(slots=True)
class Objects:
    """Text objects, by address, without ink, and those of which only the picture of the page tells whether they are seen.

    `pictured` is the area of all images in square points.
    """

    images: int = 0
    forms: int = 0
    pictured: float = 0.0
    inkless: set[int] = field(default_factory=set)
    doubtful: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Area:
    """A part of the page that is painted over, its place in the order of drawing, and its colour if it has but one."""

    order: int
    bounds: Bounds
    color: Ints | None = None


@dataclass(slots=True)
class _Drawn:
    """The page's own texts, with their places in the order and their colours, and the areas it paints."""

    orders: list[int] = field(default_factory=list)
    texts: list[int] = field(default_factory=list)
    colors: Ints = field(default_factory=lambda: np.zeros((0, 4), np.intp))
    areas: list[_Area] = field(default_factory=list)


def objects_of(handle: pdfium.PdfPage) -> Objects:
    """All of a page's objects; those inside others too."""
    page = calls.address(handle.raw)
    count = pdfium_c.FPDFPage_CountObjects(handle)
    found, drawn = Objects(), _Drawn()
    _walk(list(map(calls.page_object, repeat(page), range(count))), found, drawn, _DEPTH)
    width, height = handle.get_size()
    if drawn.areas and drawn.texts:
        _doubt_by_place(found, drawn, scanned=found.pictured >= width * height / 2)
    return found


def count_links(handle: pdfium.PdfPage) -> int:
    """The links that can be followed from a page."""
    place, link = ctypes.c_int(), pdfium_c.FPDF_LINK()
    count = 0
    while pdfium_c.FPDFLink_Enumerate(handle, place, link):
        count += 1
    return count


def _walk(items: Sequence[int], found: Objects, drawn: _Drawn, depth: int) -> None:
    kinds = list(map(calls.object_type, items))
    orders = [order for order, kind in enumerate(kinds) if kind == _TEXT]
    texts = [items[order] for order in orders]
    colors = _sort_by_ink(texts, found)
    nested = depth < _DEPTH
    if not nested:
        drawn.orders, drawn.texts, drawn.colors = orders, texts, colors
    for order, (item, kind) in enumerate(zip(items, kinds, strict=True)):
        if kind == _TEXT:
            continue
        if kind == _PATH:
            if not nested and _fills(item) and (color := calls.fill_colors([item])[0])[3]:
                drawn.areas.append(_Area(order, _bounds_of(item), color))
            continue
        bounds = _bounds_of(item)
        if kind == _IMAGE:
            found.images += 1
            found.pictured += (bounds[2] - bounds[0]) * (bounds[3] - bounds[1])
        elif kind == _FORM and depth:
            found.forms += 1
            _walk(list(_inside(item)), found, drawn, depth - 1)
        if not nested:
            drawn.areas.append(_Area(order, bounds))


def _inside(form: int) -> Iterator[int]:
    count = pdfium_c.FPDFFormObj_CountObjects(ctypes.cast(form, pdfium_c.FPDF_PAGEOBJECT))
    return (item for index in range(max(count, 0)) if (item := calls.form_object(form, index)))


def _sort_by_ink(texts: list[int], found: Objects) -> Ints:
    """Take in text objects without ink and in pale or faint ink; gives the colours of all."""
    modes = list(map(calls.render_mode, texts))
    colors = calls.fill_colors(texts)
    pale = ((colors[:, :3] >= _PALE).all(axis=1) | (colors[:, 3] < _FAINT)).tolist()
    for text, mode, is_pale in zip(texts, modes, pale, strict=True):
        if mode in _WITHOUT_INK:
            found.inkless.add(text)
        elif is_pale and mode != _STROKED:
            found.doubtful.add(text)
    return colors


def _doubt_by_place(found: Objects, drawn: _Drawn, *, scanned: bool) -> None:
    """Doubt texts that lie on an area of their own colour, or under any that was drawn later.

    Not under the picture of a scan: that is where some programs put what they recognised in it.
    """
    orders, bounds = np.array(drawn.orders), None
    for area in drawn.areas:
        doubted = orders < area.order
        if area.color is not None:
            doubted |= (abs(drawn.colors[:, :3] - area.color[:3]) <= _NEAR).all(axis=1)
        elif scanned:
            continue
        if not doubted.any():
            continue
        if bounds is None:
            bounds = np.array(list(map(_bounds_of, drawn.texts)))
            across, up = (bounds[:, 0] + bounds[:, 2]) / 2, (bounds[:, 1] + bounds[:, 3]) / 2
        left, bottom, right, top = area.bounds
        doubted &= (left < across) & (across < right) & (bottom < up) & (up < top)
        found.doubtful.update(drawn.texts[index] for index in np.flatnonzero(doubted))
    found.doubtful -= found.inkless


def _fills(path: int) -> bool:
    """Whether a path fills an area that could hide something."""
    if not calls.draw_mode(path, *_MODE_AT) or not _mode[0]:
        return False
    left, bottom, right, top = _bounds_of(path)
    return right - left >= _THIN and top - bottom >= _THIN


def _bounds_of(item: int) -> Bounds:
    return tuple(_bounds) if calls.object_bounds(item, *_BOUNDS_AT) else (0.0, 0.0, 0.0, 0.0)
