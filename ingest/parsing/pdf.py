"""PDF through pdfium: text with pages and the box of each word."""

import re
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from ibid.layout import BoxColumns
from ibid.types import Element, ElementKind, Parsed, ParseReport
from ingest.canonical import TextBuilder
from ingest.parsing.bookmarks import Bookmark, with_bookmarks
from ingest.parsing.errors import Encrypted, NoText, Unreadable
from ingest.parsing.hyphens import Divisions
from ingest.parsing.lines import Block, Line, Page, blocks
from ingest.parsing.outline import Outline
from ingest.parsing.pdf_damage import is_damaged
from ingest.parsing.pdf_page import Seen, read_page

_MOST_BOOKMARKS: Final = 10_000
_MOST_BLANK: Final = 100
"""So many blank pages are looked at more closely."""
_WIDE: Final = re.compile("[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]")

# pdfium keeps global state and is not safe to call from two threads; the buffers of what calls it are guarded too.
_PDFIUM: Final = threading.Lock()


class PdfParser:
    """Text as pdfium orders it, in paragraphs, with page numbers and word boxes."""

    name: Final = "pdfium"

    def parse(self, path: Path, filename: str, media_type: str) -> Parsed:
        """The document; raises `Encrypted`, `Unreadable`, or `NoText` for a scan."""
        del filename, media_type
        with _PDFIUM, _opened(path) as document:
            pages, seen = _read_pages(document)
            bookmarks = _bookmarks(document)
        assembly = _Assembly(Divisions(pages))
        for page, found in zip(pages, with_bookmarks(blocks(pages), bookmarks), strict=True):
            for block in found:
                assembly.add(page, block)
            if page.unseen:
                assembly.add_unseen(page)
        return _parsed(assembly, pages, seen)


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


def _read_pages(document: pdfium.PdfDocument) -> tuple[list[Page], Seen]:
    seen = Seen()
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


def _read_at(document: pdfium.PdfDocument, number: int, seen: Seen) -> Page:
    with closing(document[number - 1]) as handle, closing(handle.get_textpage()) as text_page:
        page = read_page(number, handle, text_page, seen)
        blank = not page.lines and not pdfium_c.FPDFPage_CountObjects(handle)
    if blank and seen.blank < _MOST_BLANK:
        seen.blank += 1
        if is_damaged(document, number - 1):
            seen.broken.append(number)
    return page


def _bookmarks(document: pdfium.PdfDocument) -> list[Bookmark]:
    """Those that lead to a page of the document."""
    marks = islice(document.get_toc(), _MOST_BOOKMARKS)
    led = ((mark, mark.get_dest()) for mark in marks)
    placed = ((mark, dest.get_index()) for mark, dest in led if dest is not None)
    return [Bookmark(mark.level, mark.get_title(), index + 1) for mark, index in placed if index is not None]


class _Assembly:
    """The canonical text, its headings and word boxes as blocks come in."""

    def __init__(self, divisions: Divisions) -> None:
        self.builder = TextBuilder()
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.pages: list[int] = []
        self.edges: list[int] = []
        self.hidden = 0
        self._divisions = divisions
        self._outline = Outline()

    def add(self, page: Page, block: Block) -> None:
        """Append a block as an element."""
        lines = [(self._words(block, index), _glue(block.lines, index)) for index in range(len(block.lines))]
        text = "".join([" ".join(words) + glue for words, glue in lines])
        heading = block.kind in {ElementKind.TITLE, ElementKind.HEADING}
        path = self._outline.enter(block.level, text) if heading else self._outline.path
        at = self.builder.add(block.kind, text, page=page.number, heading_path=path)
        if at is None:
            return
        before = len(self.starts)
        for (words, glue), line in zip(lines, block.lines, strict=True):
            for word in words:
                self.starts.append(at)
                at += len(word)
                self.ends.append(at)
                at += 1
            at += len(glue) - 1
            self.edges += line.boxes
        self.pages += [page.number] * (len(self.starts) - before)

    def add_unseen(self, page: Page) -> None:
        """Append what nobody sees on a page."""
        text = " ".join(page.unseen)
        if self.builder.add(ElementKind.HIDDEN, text, page=page.number) is not None:
            self.hidden += len(text)

    def boxes(self) -> BoxColumns:
        """Those of all words so far."""
        return BoxColumns(tuple(self.starts), tuple(self.ends), tuple(self.pages), tuple(self.edges))

    def _words(self, block: Block, index: int) -> list[str]:
        """The words of a line, the last without its hyphen if that belongs to the line."""
        line = block.lines[index]
        if not line.hyphenated or index + 1 == len(block.lines):
            return line.words
        return [*line.words[:-1], self._divisions.head(line.words[-1], block.lines[index + 1].words[0])]


def _glue(lines: list[Line], index: int) -> str:
    """What stands between a line and the next: nothing within a word and between ideographs, else a space."""
    line = lines[index]
    if line.hyphenated or index + 1 == len(lines):
        return ""
    wide = _WIDE.match(line.words[-1][-1]) and _WIDE.match(lines[index + 1].words[0])
    return "" if wide else " "


def _parsed(assembly: _Assembly, pages: list[Page], seen: Seen) -> Parsed:
    elements = assembly.builder.elements()
    if all(element.kind is ElementKind.HIDDEN for element in elements):
        message = "This PDF holds no text; it may be a scan. Upload a version whose text can be selected."
        raise NoText(message)
    report = _report(assembly, elements, pages, seen)
    return Parsed(assembly.builder.text(), elements, assembly.boxes(), report)


def _report(assembly: _Assembly, elements: tuple[Element, ...], pages: list[Page], seen: Seen) -> ParseReport:
    without_text = [page.number for page in pages if not page.lines]
    return ParseReport(
        parser=PdfParser.name,
        pages=len(pages),
        pages_with_text=len(pages) - len(without_text),
        pages_empty=tuple(number for number in without_text if number not in seen.broken),
        pages_unreadable=tuple(seen.broken),
        elements=len(elements),
        images_skipped=seen.images,
        links=seen.links,
        hidden_characters=assembly.hidden,
        warnings=tuple(_warnings(assembly, pages, seen)),
    )


def _warnings(assembly: _Assembly, pages: list[Page], seen: Seen) -> Iterator[str]:
    if seen.broken:
        yield f"{_listed(seen.broken)} could not be read and cannot be searched. Export the PDF again and upload it."
    if seen.garbled:
        yield f"{_listed(seen.garbled)}: the fonts do not say which characters they show, so the text was left out."
    if assembly.hidden:
        where = _listed([page.number for page in pages if page.unseen])
        yield (
            f"{where}: {assembly.hidden} characters of text that a reader of the page cannot see. "
            "They are kept apart, and neither searched nor cited."
        )
    if seen.unsure:
        yield (
            f"{_listed(seen.unsure)} may hold text that a reader cannot see: this was not looked into, because more "
            "pages of this PDF than one document may have give reason for it. All of their text can be cited."
        )
    if seen.unmapped:
        yield f"{seen.unmapped} characters have no text in this PDF and read as \ufffd."


def _listed(numbers: list[int]) -> str:
    return f"{'Page' if len(numbers) == 1 else 'Pages'} {', '.join(map(str, numbers))}"
