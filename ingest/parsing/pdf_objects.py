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
_BLACK: Final = (0, 0, 0, 255)

_color: Final = (ctypes.c_uint * 4)()
_COLOR_AT: Final = tuple(ctypes.addressof(_color) + 4 * part for part in range(4))
_bounds: Final = (ctypes.c_float * 4)()
_BOUNDS_AT: Final = tuple(ctypes.addressof(_bounds) + 4 * part for part in range(4))
_mode: Final = (ctypes.c_int * 2)()
_MODE_AT: Final = (ctypes.addressof(_mode), ctypes.addressof(_mode) + 4)

Color = tuple[int, ...]
"""Red, green, blue and opacity, each up to 255."""
Bounds = tuple[float, ...]
"""Left, bottom, right, top in points."""


@dataclass(slots=True)
class Objects:
    """Text objects, by address, without ink, and those of which only the picture of the page tells whether they are seen.

    `pictured` is the area of all images in square points.
    """

    images: int = 0
    pictured: float = 0.0
    inkless: set[int] = field(default_factory=set)
    doubtful: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Drawn:
    """What has been drawn so far: texts, and areas with their place in the order and, if one is known, their colour."""

    texts: list[tuple[int, int, Color]] = field(default_factory=list)
    areas: list[tuple[int, Bounds, Color | None]] = field(default_factory=list)


def objects_of(handle: pdfium.PdfPage) -> Objects:
    """All of a page's objects; those inside others too."""
    page = calls.address(handle.raw)
    count = pdfium_c.FPDFPage_CountObjects(handle)
    found, drawn = Objects(), _Drawn()
    _walk(list(map(calls.page_object, repeat(page), range(count))), found, drawn, _DEPTH)
    width, height = handle.get_size()
    if drawn.areas:
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
    nested = depth < _DEPTH
    for order, (item, kind) in enumerate(zip(items, map(calls.object_type, items), strict=True)):
        if kind == _TEXT:
            _add_text(item, found, drawn, -1 if nested else order)
        elif kind == _PATH:
            if not nested and (area := _filled(item)):
                drawn.areas.append((order, *area))
        else:
            bounds = _bounds_of(item)
            if kind == _IMAGE:
                found.images += 1
                found.pictured += (bounds[2] - bounds[0]) * (bounds[3] - bounds[1])
            elif kind == _FORM and depth:
                _walk(list(_inside(item)), found, drawn, depth - 1)
            if not nested:
                drawn.areas.append((order, bounds, None))


def _inside(form: int) -> Iterator[int]:
    count = pdfium_c.FPDFFormObj_CountObjects(ctypes.cast(form, pdfium_c.FPDF_PAGEOBJECT))
    return (item for index in range(max(count, 0)) if (item := calls.form_object(form, index)))


def _add_text(item: int, found: Objects, drawn: _Drawn, order: int) -> None:
    mode = calls.render_mode(item)
    if mode in _WITHOUT_INK:
        found.inkless.add(item)
        return
    red, green, blue, alpha = color = _color_of(item)
    if mode != _STROKED and (alpha < _FAINT or (red >= _PALE and green >= _PALE and blue >= _PALE)):
        found.doubtful.add(item)
    elif order >= 0:
        drawn.texts.append((order, item, color))


def _doubt_by_place(found: Objects, drawn: _Drawn, *, scanned: bool) -> None:
    """Doubt texts that lie on an area of their own colour, or under any that was drawn later.

    Not under the picture of a scan: that is where some programs put what they recognised in it.
    """
    if not drawn.texts:
        return
    first = drawn.texts[0][0]
    colors = {color for _, _, color in drawn.texts}
    areas = [
        (order, bounds, color)
        for order, bounds, color in drawn.areas
        if (order > first and not (scanned and color is None))
        or (color is not None and any(_are_near(color, other) for other in colors))
    ]
    if not areas:
        return
    bounds = np.array([_bounds_of(item) for _, item, _ in drawn.texts])
    across, up = (bounds[:, 0] + bounds[:, 2]) / 2, (bounds[:, 1] + bounds[:, 3]) / 2
    for order, (left, bottom, right, top), color in areas:
        for index in np.flatnonzero((left < across) & (across < right) & (bottom < up) & (up < top)):
            text_order, item, text_color = drawn.texts[index]
            if text_order < order or (color is not None and _are_near(color, text_color)):
                found.doubtful.add(item)


def _filled(path: int) -> tuple[Bounds, Color] | None:
    """Bounds and colour of a path that fills an area."""
    if not calls.draw_mode(path, *_MODE_AT) or not _mode[0]:
        return None
    bounds = _bounds_of(path)
    if bounds[2] - bounds[0] < _THIN or bounds[3] - bounds[1] < _THIN:
        return None
    color = _color_of(path)
    return (bounds, color) if color[3] else None


def _color_of(item: int) -> Color:
    """Black where pdfium knows none."""
    return tuple(_color) if calls.fill_color(item, *_COLOR_AT) else _BLACK


def _bounds_of(item: int) -> Bounds:
    return tuple(_bounds) if calls.object_bounds(item, *_BOUNDS_AT) else (0.0, 0.0, 0.0, 0.0)


def _are_near(one: Color, other: Color) -> bool:
    return all(abs(mine - others) <= _NEAR for mine, others in zip(one[:3], other[:3], strict=True))
