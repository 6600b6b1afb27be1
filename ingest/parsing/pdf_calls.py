"""Those of pdfium's functions that are called for each word, line or object, without the costs of the generated binding.

The binding converts each argument, and gives the interpreter's lock away and takes it back at each call.
Handles are addresses here, and what a function gives back it writes to an address.
"""

import ctypes
from collections import deque
from collections.abc import Callable
from itertools import repeat
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pypdfium2.raw as pdfium_c

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


def address(handle: Any) -> int:  # noqa: ANN401 - the binding has no types
    """The address behind a handle, or a function, of the generated binding."""
    made: int | None = ctypes.cast(handle, ctypes.c_void_p).value
    return made or 0


def _quick(function: Any, result: type, *arguments: type) -> Callable[..., Any]:  # noqa: ANN401 - likewise
    made: Callable[..., Any] = ctypes.PYFUNCTYPE(result, *arguments)(address(function))
    return made


_ROW: Final = 16
"""Bytes of four numbers of four bytes."""
_HANDLE: Final = ctypes.c_void_p
_NUMBER: Final = ctypes.c_int

char_box: Final = _quick(pdfium_c.FPDFText_GetLooseCharBox, _NUMBER, _HANDLE, _NUMBER, _HANDLE)
char_object: Final = _quick(pdfium_c.FPDFText_GetTextObject, _HANDLE, _HANDLE, _NUMBER)
font_size: Final = _quick(pdfium_c.FPDFText_GetFontSize, ctypes.c_double, _HANDLE, _NUMBER)
font_weight: Final = _quick(pdfium_c.FPDFText_GetFontWeight, _NUMBER, _HANDLE, _NUMBER)
font_name: Final = _quick(
    pdfium_c.FPDFText_GetFontInfo, ctypes.c_ulong, _HANDLE, _NUMBER, _HANDLE, ctypes.c_ulong, _HANDLE
)
matrix: Final = _quick(pdfium_c.FPDFText_GetMatrix, _NUMBER, _HANDLE, _NUMBER, _HANDLE)
page_object: Final = _quick(pdfium_c.FPDFPage_GetObject, _HANDLE, _HANDLE, _NUMBER)
form_object: Final = _quick(pdfium_c.FPDFFormObj_GetObject, _HANDLE, _HANDLE, ctypes.c_ulong)
object_type: Final = _quick(pdfium_c.FPDFPageObj_GetType, _NUMBER, _HANDLE)
object_bounds: Final = _quick(
    pdfium_c.FPDFPageObj_GetBounds, _NUMBER, _HANDLE, _HANDLE, _HANDLE, _HANDLE, _HANDLE
)
fill_color: Final = _quick(
    pdfium_c.FPDFPageObj_GetFillColor, _NUMBER, _HANDLE, _HANDLE, _HANDLE, _HANDLE, _HANDLE
)
draw_mode: Final = _quick(pdfium_c.FPDFPath_GetDrawMode, _NUMBER, _HANDLE, _HANDLE, _HANDLE)
render_mode: Final = _quick(pdfium_c.FPDFTextObj_GetTextRenderMode, _NUMBER, _HANDLE)


def char_boxes(text_page: int, characters: list[int]) -> Floats:
    """Left, top, right and bottom of each character's cell in PDF points, shape (n, 4); zeros where it has none."""
    table = np.zeros((len(characters), 4), np.float32)
    begin = table.ctypes.data
    places = range(begin, begin + _ROW * len(characters), _ROW)
    deque(map(char_box, repeat(text_page), characters, places), maxlen=0)
    return table.astype(np.float64)


def fill_colors(objects: list[int]) -> Ints:
    """Red, green, blue and opacity of each object, up to 255, shape (n, 4); opaque black where pdfium knows none."""
    table = np.full((len(objects), 4), (0, 0, 0, 255), np.uint32)
    begin, end = table.ctypes.data, table.ctypes.data + _ROW * len(objects)
    parts = (range(begin + part, end + part, _ROW) for part in (0, 4, 8, 12))
    deque(map(fill_color, objects, *parts), maxlen=0)
    return table.astype(np.intp)
