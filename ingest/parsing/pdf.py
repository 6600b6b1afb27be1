"""PDF through pdfium: text with pages and the box of each word."""

import ctypes
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from ibid.layout import UNITS
from ibid.types import Box, Element, ElementKind, Parsed, ParseReport, TextBox
from ingest.canonical import TextBuilder, clean
from ingest.parsing.errors import Encrypted, NoText, Unreadable
from ingest.parsing.hyphens import Divisions
from ingest.parsing.lines import Block, Edges, Line, Page, blocks
from ingest.parsing.outline import Outline

# pdfium puts this where a word goes on in the next line, in the place of the hyphen.
_SOFT_BREAK: Final = "\ufffe"
_LINE: Final = re.compile(f"[^\r\n{_SOFT_BREAK}]+{_SOFT_BREAK}?")
_WORD: Final = re.compile(r"\S+")
_BOLD: Final = re.compile(rb"(?i)bold|black|heavy|semibd|demi|-medi\b")
_BOLD_WEIGHT: Final = 600
_DEVICE: Final = 1_000_000
_WIDE: Final = re.compile("[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]")

# pdfium keeps global state and is not safe to call from two threads; the buffer below is guarded by this, too.
_PDFIUM: Final = threading.Lock()

_FONT_NAME_BYTES: Final = 128
_font_name: Final = ctypes.create_string_buffer(_FONT_NAME_BYTES)

# The box of a character is asked for twice a word: without the conversions and the release of the interpreter's lock
# that the generated binding makes on each call, a page takes two thirds of the time.
_char_box: Final[Callable[[int, int, int], int]] = ctypes.PYFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p
)(ctypes.cast(pdfium_c.FPDFText_GetLooseCharBox, ctypes.c_void_p).value or 0)

Floats = npt.NDArray[np.float64]


class PdfParser:
    """Text as pdfium orders it, in paragraphs, with page numbers and word boxes."""

    name: Final = "pdfium"

    def parse(self, path: Path, filename: str, media_type: str) -> Parsed:
        """The document; raises `Encrypted`, `Unreadable`, or `NoText` for a scan."""
        del filename, media_type
        with _PDFIUM, _opened(path) as document:
            pages, seen = _read_pages(document)
        assembly = _Assembly(Divisions(pages))
        for page, found in zip(pages, blocks(pages), strict=True):
            for block in found:
                assembly.add(page, block)
        return _parsed(assembly, pages, seen)


class _Seen:
    """Counts and warnings met on the way."""

    def __init__(self) -> None:
        self.images = 0
        self.outside = 0
        self.unmapped = 0
        self.broken: list[int] = []

    def warnings(self) -> tuple[str, ...]:
        """Each in words."""
        found = []
        if self.broken:
            found.append(_unreadable(self.broken))
        if self.outside:
            found.append(f"{self.outside} words outside the visible page were left out.")
        if self.unmapped:
            found.append(f"{self.unmapped} characters have no text in this PDF and read as \ufffd.")
        return tuple(found)


def _unreadable(numbers: list[int]) -> str:
    pages = "Page" if len(numbers) == 1 else "Pages"
    listed = ", ".join(map(str, numbers))
    return f"{pages} {listed} could not be read and cannot be searched. Export the PDF again and upload it."


@contextmanager
def _opened(path: Path) -> Iterator[pdfium.PdfDocument]:
    try:
        document = pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        # The code is pdfium's last error, which may be that of a file before this one.
        if error.err_code == pdfium_c.FPDF_ERR_PASSWORD and b"/Encrypt" in path.read_bytes():
            message = "This PDF is protected by a password. Remove the password and upload it again."
            raise Encrypted(message) from error
        message = "This PDF is damaged and cannot be opened. Export it again and upload the new file."
        raise Unreadable(message) from error
    try:
        yield document
    finally:
        document.close()


def _read_pages(document: pdfium.PdfDocument) -> tuple[list[Page], _Seen]:
    seen = _Seen()
    pages = []
    for number in range(1, len(document) + 1):
        try:
            pages.append(_read_at(document, number, seen))
        except pdfium.PdfiumError:
            seen.broken.append(number)
            pages.append(Page(number, 1.0, 1.0))
    if not pages or len(seen.broken) == len(pages):
        message = "No page of this PDF can be read. Export it again and upload the new file."
        raise Unreadable(message)
    return pages, seen


def _read_at(document: pdfium.PdfDocument, number: int, seen: _Seen) -> Page:
    with closing(document[number - 1]) as handle, closing(handle.get_textpage()) as text_page:
        return _read_page(number, handle, text_page, seen)


def _read_page(number: int, handle: pdfium.PdfPage, text_page: pdfium.PdfTextPage, seen: _Seen) -> Page:
    width, height = handle.get_size()
    page = Page(number, width, height)
    seen.images += _count_images(handle)
    text = _mapped(text_page, text_page.get_text_range(), seen)
    rows = [[word.span() for word in _WORD.finditer(text, *row.span())] for row in _LINE.finditer(text)]
    rows = [row for row in rows if row]
    if not rows:
        return page
    at = _char_index(text_page, text)
    spans = [(at(start), at(end - 1)) for row in rows for start, end in row]
    shares = _displayed(_boxes(text_page, spans), handle)
    inside = _inside(shares)
    placed = (np.clip(np.rint(shares * UNITS), 0, UNITS) / UNITS).tolist()
    dirty = _is_dirty(text)
    first = 0
    for row in rows:
        last = first + len(row)
        words = [text[start:end] for start, end in row]
        letters = _letters(text_page, spans[first][0], spans[last - 1][1])
        line = _line(page, words, placed[first:last], inside[first:last], letters, dirty=dirty)
        if line is not None:
            page.lines.append(line)
        first = last
    seen.outside += len(inside) - sum(inside)
    return page


def _line(
    page: Page,
    words: list[str],
    boxes: list[Edges],
    inside: list[bool],
    letters: tuple[float, bool],
    *,
    dirty: bool,
) -> Line | None:
    """The visible words as a line; None if there are none."""
    hyphenated = words[-1].endswith(_SOFT_BREAK) and len(words[-1]) > 1
    words[-1] = words[-1].replace(_SOFT_BREAK, "-")
    if dirty:
        words = ["".join(clean(word).split()) for word in words]
    if dirty or not all(inside):
        kept = [(word, box) for word, box, seen in zip(words, boxes, inside, strict=True) if word and seen]
        words, boxes = [word for word, _ in kept], [box for _, box in kept]
    if not words:
        return None
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    y0, y1 = min(tops) * page.height, max(bottoms) * page.height
    size, bold = letters
    return Line(
        words=words,
        boxes=boxes,
        size=size or (y1 - y0) or 1.0,
        bold=bold,
        hyphenated=hyphenated,
        head=(rights[0] - lefts[0]) * page.width,
        x0=min(lefts) * page.width,
        y0=y0,
        x1=max(rights) * page.width,
        y1=y1,
    )


def _is_dirty(text: str) -> bool:
    plain = text.replace("\r\n", "\n").replace(_SOFT_BREAK, "-")
    return clean(plain) != plain


def _mapped(text_page: pdfium.PdfTextPage, text: str, seen: _Seen) -> str:
    """The text with U+FFFD for glyphs without a character, which pdfium marks like a divided word."""
    at = _char_index(text_page, text) if _SOFT_BREAK in text else int
    lost = [
        found.start()
        for found in re.finditer(_SOFT_BREAK, text)
        if not pdfium_c.FPDFText_IsHyphen(text_page, at(found.start()))
    ]
    seen.unmapped += len(lost)
    if not lost:
        return text
    characters = list(text)
    for index in lost:
        characters[index] = "\ufffd"
    return "".join(characters)


def _char_index(text_page: pdfium.PdfTextPage, text: str) -> Callable[[int], int]:
    """From an index of the page's text to one of pdfium's characters; they differ where a glyph has no text."""
    if text_page.count_chars() == len(text):
        return int
    before = list(accumulate((2 if ord(char) > 0xFFFF else 1 for char in text), initial=0))
    return lambda index: max(0, pdfium_c.FPDFText_GetCharIndexFromTextIndex(text_page, before[index]))


def _boxes(text_page: pdfium.PdfTextPage, spans: list[tuple[int, int]]) -> Floats:
    """Left, top, right and bottom in PDF points of the first and of the last character of each word, shape (n, 8)."""
    table = np.zeros((len(spans), 8), np.float32)
    address, raw = table.ctypes.data, ctypes.cast(text_page.raw, ctypes.c_void_p).value or 0
    for first, last in spans:
        _char_box(raw, first, address)
        _char_box(raw, last, address + 16)
        address += 32
    return table.astype(np.float64)


def _displayed(edges: Floats, handle: pdfium.PdfPage) -> Floats:
    """Boxes (x0, y0, x1, y1) in fractions of the page as displayed, after its rotation and crop box."""
    origin, right, up = (_device(handle, x, y) for x, y in ((0, 0), (1000, 0), (0, 1000)))
    xs, ys = edges[:, 0::2, np.newaxis], edges[:, 1::2, np.newaxis]
    points = origin + xs * (right - origin) / 1000 + ys * (up - origin) / 1000
    return np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)


def _device(handle: pdfium.PdfPage, x: float, y: float) -> Floats:
    """A point of the page as fractions of what is displayed."""
    across, down = ctypes.c_int(), ctypes.c_int()
    pdfium_c.FPDF_PageToDevice(handle, 0, 0, _DEVICE, _DEVICE, 0, x, y, across, down)
    return np.array([across.value, down.value]) / _DEVICE


def _inside(shares: Floats) -> list[bool]:
    """Whether any part of each box is on the page."""
    across = (shares[:, 2] > 0) & (shares[:, 0] < 1)
    down = (shares[:, 3] > 0) & (shares[:, 1] < 1)
    inside: list[bool] = (across & down).tolist()
    return inside


def _letters(text_page: pdfium.PdfTextPage, first: int, last: int) -> tuple[float, bool]:
    """Size in points, and whether both characters are bold."""
    matrix = pdfium_c.FS_MATRIX()
    size = float(pdfium_c.FPDFText_GetFontSize(text_page, first))
    if pdfium_c.FPDFText_GetMatrix(text_page, first, matrix):
        size *= (matrix.c**2 + matrix.d**2) ** 0.5
    return size, _is_bold(text_page, first) and (first == last or _is_bold(text_page, last))


def _is_bold(text_page: pdfium.PdfTextPage, index: int) -> bool:
    pdfium_c.FPDFText_GetFontInfo(text_page, index, _font_name, _FONT_NAME_BYTES, None)
    return _names_bold(_font_name.value) or pdfium_c.FPDFText_GetFontWeight(text_page, index) >= _BOLD_WEIGHT


@lru_cache(maxsize=256)
def _names_bold(font: bytes) -> bool:
    return _BOLD.search(font) is not None


def _count_images(handle: pdfium.PdfPage) -> int:
    objects = (
        pdfium_c.FPDFPage_GetObject(handle, index) for index in range(pdfium_c.FPDFPage_CountObjects(handle))
    )
    return sum(pdfium_c.FPDFPageObj_GetType(item) == pdfium_c.FPDF_PAGEOBJ_IMAGE for item in objects)


class _Assembly:
    """The canonical text, its headings and word boxes as blocks come in."""

    def __init__(self, divisions: Divisions) -> None:
        self.builder = TextBuilder()
        self.boxes: list[TextBox] = []
        self._divisions = divisions
        self._outline = Outline()

    def add(self, page: Page, block: Block) -> None:
        """Append a block as an element."""
        text, placed = self._text(block)
        heading = block.kind in {ElementKind.TITLE, ElementKind.HEADING}
        path = self._outline.enter(block.level, text) if heading else self._outline.path
        start = self.builder.add(block.kind, text, page=page.number, heading_path=path)
        if start is None:
            return
        self.boxes += [
            TextBox(start + begin, start + end, Box(page.number, *box)) for begin, end, box in placed
        ]

    def _text(self, block: Block) -> tuple[str, list[tuple[int, int, Edges]]]:
        """The words of a block as one text, and the range and box of each; line ends become spaces."""
        parts: list[str] = []
        placed = []
        length = 0
        glue = ""
        for index, line in enumerate(block.lines):
            words = line.words
            if line.hyphenated and index + 1 < len(block.lines):
                words = [*words[:-1], self._divisions.head(words[-1], block.lines[index + 1].words[0])]
            for word, box in zip(words, line.boxes, strict=True):
                parts += (glue, word)
                begin = length + len(glue)
                length = begin + len(word)
                placed.append((begin, length, box))
                glue = " "
            glue = _glue(block.lines, index)
        return "".join(parts), placed


def _glue(lines: list[Line], index: int) -> str:
    """What stands between a line and the next: nothing within a word and between ideographs, else a space."""
    line = lines[index]
    if line.hyphenated or index + 1 == len(lines):
        return ""
    wide = _WIDE.match(line.words[-1][-1]) and _WIDE.match(lines[index + 1].words[0])
    return "" if wide else " "


def _parsed(assembly: _Assembly, pages: list[Page], seen: _Seen) -> Parsed:
    elements = assembly.builder.elements()
    if not elements:
        message = "This PDF holds no text; it may be a scan. Upload a version whose text can be selected."
        raise NoText(message)
    return Parsed(assembly.builder.text(), elements, tuple(assembly.boxes), _report(elements, pages, seen))


def _report(elements: tuple[Element, ...], pages: list[Page], seen: _Seen) -> ParseReport:
    without_text = [page.number for page in pages if not page.lines]
    return ParseReport(
        parser=PdfParser.name,
        pages=len(pages),
        pages_with_text=len(pages) - len(without_text),
        pages_empty=tuple(number for number in without_text if number not in seen.broken),
        pages_unreadable=tuple(seen.broken),
        elements=len(elements),
        images_skipped=seen.images,
        warnings=seen.warnings(),
    )
