"""Words of a PDF that nobody sees who looks at the page.

What is drawn without ink, outside the page or in letters of no size is known from the file. Whether the rest is seen,
such as white letters or what lies under something, is found out by looking: a word is not seen if the page looks the
same without it. Only pages on which something gives reason to doubt are looked at.
"""

import ctypes
import math
from dataclasses import dataclass
from itertools import repeat
from typing import Final

import numpy as np
import numpy.typing as npt
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from ingest.parsing import pdf_calls as calls
from ingest.parsing.pdf_calls import Floats
from ingest.parsing.pdf_objects import Objects

_NO_SIZE: Final = 1.0
"""Letters of fewer points are dust."""
_PIXELS: Final = 1600
"""A page is looked at in at most so many pixels each way, and at most one a point."""
_CONTRAST: Final = 12
"""A word that changes no pixel by more than this (of 255) is not seen."""


Pixels = npt.NDArray[np.uint8]
"""Rows, columns and colours."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Words on a page: their first and last characters, the cells of all these, first ones first, and their boxes.

    `cells` in points, shape (2n, 4); `shares` of the page as displayed: x0, y0, x1, y1, shape (4, n).
    """

    handle: pdfium.PdfPage
    text_page: int
    firsts: list[int]
    lasts: list[int]
    cells: Floats
    shares: Floats


def seen(words: Placed, objects: Objects, *, look: bool) -> tuple[npt.NDArray[np.bool_], bool]:
    """Whether each word is, and whether the page had to be looked at to tell; if it may not be, doubts count for it."""
    x0, y0, x1, y1 = words.shares
    found: npt.NDArray[np.bool_] = (x1 > 0) & (x0 < 1) & (y1 > 0) & (y0 < 1)
    cells = words.cells[: len(words.firsts)]
    dust = (abs(cells[:, 2] - cells[:, 0]) < _NO_SIZE) & (abs(cells[:, 3] - cells[:, 1]) < _NO_SIZE)
    for index in np.flatnonzero(dust):
        found[index] &= letter_size(words.text_page, words.firsts[index]) >= _NO_SIZE
    if objects.inkless and not _is_scan(words.handle, objects):
        found &= ~_drawn_by(words, objects.inkless)
    if not objects.doubtful:
        return found, False
    doubtful = np.flatnonzero(found & _drawn_by(words, objects.doubtful))
    if doubtful.size and look:
        found[doubtful] = _look(words, doubtful, objects.doubtful)
    return found, bool(doubtful.size)


def letter_size(text_page: int, character: int) -> float:
    """In points, as displayed."""
    size = float(calls.font_size(text_page, character))
    if calls.matrix(text_page, character, _MATRIX_AT):
        size *= math.hypot(_matrix.c, _matrix.d)
    return size


_matrix: Final = pdfium_c.FS_MATRIX()
_MATRIX_AT: Final = ctypes.addressof(_matrix)


def _is_scan(handle: pdfium.PdfPage, objects: Objects) -> bool:
    """Whether pictures fill half of the page: text without ink is then what was recognised in them."""
    width, height = handle.get_size()
    return bool(objects.pictured >= width * height / 2)


def _drawn_by(words: Placed, objects: set[int]) -> npt.NDArray[np.bool_]:
    """Whether both ends of each word are drawn by one of the objects."""
    ends = (
        np.array([item in objects for item in map(calls.char_object, repeat(words.text_page), characters)])
        for characters in (words.firsts, words.lasts)
    )
    first, last = ends
    both: npt.NDArray[np.bool_] = first & last
    return both


def _look(words: Placed, indices: npt.NDArray[np.intp], objects: set[int]) -> list[bool]:
    """Whether the page looks different where each of the words stands when the objects are not drawn."""
    before = _picture(words.handle)
    for item in objects:
        pdfium_c.FPDFPageObj_SetIsActive(ctypes.cast(item, pdfium_c.FPDF_PAGEOBJECT), False)
    after = _picture(words.handle)
    height, width, _ = before.shape
    scale = np.array([[width], [height]] * 2)
    edges = (np.clip(words.shares[:, indices], 0.0, 1.0) * scale).astype(int).T.tolist()
    parts = [(slice(top, bottom + 1), slice(left, right + 1)) for left, top, right, bottom in edges]
    return [_differ(before[part], after[part]) for part in parts]


def _differ(one: Pixels, other: Pixels) -> bool:
    return bool((np.maximum(one, other) - np.minimum(one, other) > _CONTRAST).any())


def _picture(handle: pdfium.PdfPage) -> Pixels:
    scale = min(1.0, _PIXELS / max(*handle.get_size(), 1.0))
    picture: Pixels = handle.render(scale=scale, may_draw_forms=False).to_numpy()
    return picture
