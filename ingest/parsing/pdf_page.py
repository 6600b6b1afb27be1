"""One page of a PDF as lines of words with their boxes, as pdfium orders them."""

import ctypes
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from typing import Final

import numpy as np
import numpy.typing as npt
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from ibid.layout import UNITS
from ingest.canonical import clean
from ingest.parsing import pdf_calls as calls
from ingest.parsing import pdf_objects, pdf_unseen
from ingest.parsing.lines import Line, Page
from ingest.parsing.pdf_calls import Floats, Ints
from ingest.parsing.recognised import RecognisedPage

# pdfium puts this where a word goes on in the next line, in the place of the hyphen.
_SOFT_BREAK: Final = "\ufffe"
_HYPHEN: Final = "\u2010"
_BOLD: Final = re.compile(rb"(?i)bold|black|heavy|semibd|demi|-medi\b")
_BOLD_WEIGHT: Final = 600
_DEVICE: Final = 1_000_000
_GARBLED: Final = 0.5
"""A page has no text that can be used if more than this share of its characters stand for nothing."""
_LEAST_PICTURED: Final = 0.01
_MANY_OBJECTS: Final = 30
"""A page without text may hold some in a picture of this share of it, or in so many drawings: letters as outlines."""
_SCANNED: Final = 0.8
_STAMP: Final = 100
"""Fewer letters than this beside a picture that fills so much of the page were put on a scan."""


# Characters that cannot join the one before them: Latin, punctuation, Greek, Cyrillic, and those for private use.
_ALONE: Final = (("\0", "\u02ff"), ("\u2010", "\u20cf"), ("\u0370", "\u0482"), ("\ue000", "\uf8ff"))


def _flags(char: str) -> int:
    alone = any(first <= char <= last for first, last in _ALONE)
    plain = char in "\r\n" or (alone and clean(char) == char)
    lost = char == "\ufffd" or "\ue000" <= char <= "\uf8ff"
    ends = _ENDS if char in "\r\n" else 0
    divides = _DIVIDES if char == _SOFT_BREAK else 0
    leftward = _LEFTWARD if unicodedata.bidirectional(char) in {"R", "AL"} else 0
    unsure = _UNSURE if not plain and not divides else 0
    return (_SPACE * char.isspace()) | ends | divides | (_LOST * lost) | unsure | leftward


# What each character is: a space, a line end, the end of a divided word, one that stands for nothing, one that may
# have to change for a canonical text, and a letter that is read from right to left.
_SPACE, _ENDS, _DIVIDES, _LOST, _UNSURE, _LEFTWARD = (1 << bit for bit in range(6))
_FLAGS: Final = np.array([_flags(chr(code)) for code in range(0x10000)] + [_UNSURE], np.uint8)
_FONT_NAME_BYTES: Final = 128
_font_name: Final = ctypes.create_string_buffer(_FONT_NAME_BYTES)
_FONT_NAME_AT: Final = ctypes.addressof(_font_name)


@dataclass(slots=True)
class Seen:
    """Counts and page numbers met on the way.

    So many pages, `looks`, may still be looked at, which can take a tenth of a second each; the rest are `unsure`.
    `pictures` are the pages on which OCR may find what they do not say themselves, `tried` what it found.
    """

    images: int = 0
    links: int = 0
    unmapped: int = 0
    blank: int = 0
    looks: int = 200
    broken: list[int] = field(default_factory=list)
    garbled: list[int] = field(default_factory=list)
    unsure: list[int] = field(default_factory=list)
    pictures: list[int] = field(default_factory=list)
    tried: dict[int, RecognisedPage] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Words:
    """Words, the indices of their first and last characters, and the number of the row that each stands in."""

    texts: list[str]
    firsts: Ints
    lasts: Ints
    rows: Ints

    def only(self, kept: npt.NDArray[np.bool_]) -> "_Words":
        texts = [word for word, keep in zip(self.texts, kept.tolist(), strict=True) if keep]
        return _Words(texts, self.firsts[kept], self.lasts[kept], self.rows[kept])


def read_page(number: int, handle: pdfium.PdfPage, text_page: pdfium.PdfTextPage, seen: Seen) -> Page:
    """The lines of a page, and the words on it that nobody sees; counts what else is there."""
    objects = pdf_objects.objects_of(handle)
    page = _read(number, handle, text_page, objects, seen)
    if _is_picture(page, handle, objects) or number in seen.garbled:
        seen.pictures.append(number)
    return page


def _is_picture(page: Page, handle: pdfium.PdfPage, objects: pdf_objects.Objects) -> bool:
    """Whether there is more to read on a page than its text: it has none but draws something, or is a stamped scan."""
    size = page.width * page.height
    if not page.lines:
        many = pdfium_c.FPDFPage_CountObjects(handle) >= _MANY_OBJECTS
        return objects.pictured >= _LEAST_PICTURED * size or objects.forms > 0 or many
    if objects.pictured < _SCANNED * size:
        return False
    return sum(len(word) for line in page.lines for word in line.words) < _STAMP


def _read(
    number: int,
    handle: pdfium.PdfPage,
    text_page: pdfium.PdfTextPage,
    objects: pdf_objects.Objects,
    seen: Seen,
) -> Page:
    width, height = handle.get_size()
    page = Page(number, width, height)
    seen.images += objects.images
    seen.links += pdf_objects.count_links(handle)
    text = _mapped(text_page, text_page.get_text_range(), seen)
    flags = _FLAGS[np.minimum(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32), 0x10000)]
    words = _words(text, flags)
    if not words.texts:
        return page
    if _is_garbled(flags):
        seen.garbled.append(number)
        return page
    words = _with_characters(words, text_page, text)
    raw = calls.address(text_page.raw)
    if (flags & _LEFTWARD).any() and handle.get_rotation() == 0:
        words = _read_leftward(words, raw)
    firsts, lasts = words.firsts.tolist(), words.lasts.tolist()
    cells = calls.char_boxes(raw, firsts + lasts)
    shares = _displayed(cells, handle)
    placed = pdf_unseen.Placed(handle, raw, firsts, lasts, cells, shares)
    visible, doubted = pdf_unseen.seen(placed, objects, look=seen.looks > 0)
    if doubted and seen.looks:
        seen.looks -= 1
    elif doubted:
        seen.unsure.append(number)
    if not visible.all():
        page.unseen.extend(word.replace(_SOFT_BREAK, "") for word in words.only(~visible).texts)
    kept = visible & np.array(list(map(bool, words.texts)))
    if not kept.all():
        words, shares = words.only(kept), shares[:, kept]
    if words.texts:
        page.lines.extend(_lines(page, words, np.clip(shares, 0.0, 1.0), raw))
    return page


def _lines(page: Page, words: _Words, shares: Floats, raw: int) -> list[Line]:
    starts = np.flatnonzero(np.diff(words.rows, prepend=-1))
    bounds = starts.tolist()
    stops = [*bounds[1:], len(words.texts)]
    boxes = np.rint(shares * UNITS).astype(int).T.ravel().tolist()
    x0, y0, x1, y1 = shares * np.array([[page.width], [page.height]] * 2)
    geometry = (
        np.minimum.reduceat(x0, starts).tolist(),
        np.minimum.reduceat(y0, starts).tolist(),
        np.maximum.reduceat(x1, starts).tolist(),
        np.maximum.reduceat(y1, starts).tolist(),
    )
    heads = (x1 - x0)[starts].tolist()
    firsts, lasts = words.firsts[starts].tolist(), words.lasts[np.array(stops) - 1].tolist()
    lines = []
    for begin, end, first, last, head, left, top, right, bottom in zip(
        bounds, stops, firsts, lasts, heads, *geometry, strict=True
    ):
        texts = words.texts[begin:end]
        # pdfium knows a division by a hyphen-minus or a soft hyphen only.
        hyphenated = texts[-1].endswith((_SOFT_BREAK, _HYPHEN)) and len(texts[-1]) > 1
        if hyphenated or texts[-1] == _SOFT_BREAK:
            texts[-1] = f"{texts[-1][:-1]}-"
        size = pdf_unseen.letter_size(raw, first) or (bottom - top) or 1.0
        bold = _is_bold(raw, first) and (first == last or _is_bold(raw, last))
        lines.append(
            Line(texts, boxes[4 * begin : 4 * end], size, bold, hyphenated, head, left, top, right, bottom)
        )
    return lines


def _words(text: str, flags: npt.NDArray[np.uint8]) -> _Words:
    """The words of a text, with indices into it; a new row begins at a line end or after a divided word."""
    texts = text.replace(_SOFT_BREAK, _SOFT_BREAK + "\n").split()
    if not texts:
        return _Words([], *(np.zeros(0, int) for _ in range(3)))
    apart = np.ones(
        len(flags) + 1, np.uint8
    )  # whether a word may begin at a character, and so end at the one before
    apart[1:-1] = flags[:-1] & (_SPACE | _DIVIDES)
    letters = (flags & _SPACE) == 0
    firsts = np.flatnonzero(letters & (apart[:-1] != 0))
    apart[1:-1] |= flags[1:] & _SPACE
    lasts = np.flatnonzero(letters & (apart[1:] != 0))
    rows = np.cumsum((flags & (_ENDS | _DIVIDES)) != 0)
    row_of = rows[firsts] - ((flags[firsts] & _DIVIDES) != 0)
    if (flags & _UNSURE).any():
        texts = _tidied(texts, text)
    return _Words(texts, firsts, lasts, row_of)


def _tidied(words: list[str], text: str) -> list[str]:
    """The words without what a canonical text leaves out; some may be left empty."""
    plain = text.replace("\r\n", "\n").replace(_SOFT_BREAK, "-")
    if clean(plain) == plain:
        return words
    return [
        "".join(clean(word.replace(_SOFT_BREAK, "")).split()) + _SOFT_BREAK * word.endswith(_SOFT_BREAK)
        for word in words
    ]


def _read_leftward(words: _Words, raw: int) -> _Words:
    """Words of letters that are read from right to left, in the order in which they are read.

    pdfium gives some of them as they stand on the page: their letters then go from left to right.
    """
    texts = list(words.texts)
    for index, (word, first, last) in enumerate(zip(texts, words.firsts, words.lasts, strict=True)):
        leftward = [at for at, char in enumerate(word) if _FLAGS[min(ord(char), 0x10000)] & _LEFTWARD]
        if len(leftward) < 2 or last - first + 1 != len(word):
            continue
        begin, end = leftward[0], leftward[-1]
        left = calls.char_boxes(raw, [int(first) + begin, int(first) + end])[:, 0]
        if left[0] < left[1]:
            texts[index] = word[:begin] + word[begin : end + 1][::-1] + word[end + 1 :]
    return _Words(texts, words.firsts, words.lasts, words.rows)


def _is_garbled(flags: npt.NDArray[np.uint8]) -> bool:
    """Whether most characters are unknown or for private use, as where a font does not say what its glyphs are."""
    lost = np.count_nonzero(flags & _LOST)
    return bool(lost > _GARBLED * np.count_nonzero((flags & _SPACE) == 0))


def _mapped(text_page: pdfium.PdfTextPage, text: str, seen: Seen) -> str:
    """The text with U+FFFD for glyphs without a character, which pdfium marks like a divided word."""
    if _SOFT_BREAK not in text:
        return text
    at = _char_index(text_page, text)
    lost = [
        found.start()
        for found in re.finditer(_SOFT_BREAK, text)
        if not pdfium_c.FPDFText_IsHyphen(text_page, at(found.start()))
    ]
    seen.unmapped += len(lost)
    characters = list(text)
    for index in lost:
        characters[index] = "\ufffd"
    return "".join(characters)


def _with_characters(words: _Words, text_page: pdfium.PdfTextPage, text: str) -> _Words:
    """Words whose indices are those of pdfium's characters."""
    if text_page.count_chars() == len(text):
        return words
    at = _char_index(text_page, text)
    firsts, lasts = (np.array([at(index) for index in part.tolist()]) for part in (words.firsts, words.lasts))
    return _Words(words.texts, firsts, lasts, words.rows)


def _char_index(text_page: pdfium.PdfTextPage, text: str) -> Callable[[int], int]:
    """From an index of the page's text to one of pdfium's characters; they differ where a glyph has no text."""
    if text_page.count_chars() == len(text):
        return int
    before = list(accumulate((2 if ord(char) > 0xFFFF else 1 for char in text), initial=0))
    return lambda index: max(0, pdfium_c.FPDFText_GetCharIndexFromTextIndex(text_page, before[index]))


def _displayed(cells: Floats, handle: pdfium.PdfPage) -> Floats:
    """The box of each word from the cells of its first and last characters, after the page's rotation and crop box.

    In fractions of the page as displayed: x0, y0, x1, y1, shape (4, n).
    """
    origin, right, up = (_device(handle, x, y) for x, y in ((0, 0), (1000, 0), (0, 1000)))
    count = len(cells) // 2
    left, top, end, bottom = np.ascontiguousarray(cells.T)
    west, east = np.minimum(left, end), np.maximum(left, end)
    south, north = np.minimum(top, bottom), np.maximum(top, bottom)
    west, east = np.minimum(west[:count], west[count:]), np.maximum(east[:count], east[count:])
    south, north = np.minimum(south[:count], south[count:]), np.maximum(north[:count], north[count:])
    low, high = [], []
    for axis in range(2):
        # A page turns by right angles: on each of its axes only one of the two counts.
        by_x, by_y = (right[axis] - origin[axis]) / 1000, (up[axis] - origin[axis]) / 1000
        begin, stop, factor = (west, east, by_x) if abs(by_x) > abs(by_y) else (south, north, by_y)
        if factor < 0:
            begin, stop = stop, begin
        low.append(origin[axis] + begin * factor)
        high.append(origin[axis] + stop * factor)
    return np.stack([*low, *high])


def _device(handle: pdfium.PdfPage, x: float, y: float) -> tuple[float, float]:
    """A point of the page as fractions of what is displayed."""
    across, down = ctypes.c_int(), ctypes.c_int()
    pdfium_c.FPDF_PageToDevice(handle, 0, 0, _DEVICE, _DEVICE, 0, x, y, across, down)
    return across.value / _DEVICE, down.value / _DEVICE


def _is_bold(raw: int, character: int) -> bool:
    calls.font_name(raw, character, _FONT_NAME_AT, _FONT_NAME_BYTES, None)
    return _names_bold(_font_name.value) or calls.font_weight(raw, character) >= _BOLD_WEIGHT


@lru_cache(maxsize=256)
def _names_bold(font: bytes) -> bool:
    return _BOLD.search(font) is not None
