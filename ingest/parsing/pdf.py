"""PDF through pdfium: text with pages and the box of each word."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from ibid.types import Element, ElementKind, Parsed, ParseReport
from ingest.parsing.assembly import Assembly
from ingest.parsing.bookmarks import Bookmark, with_bookmarks
from ingest.parsing.errors import Encrypted, NoText, Unreadable
from ingest.parsing.hyphens import Divisions
from ingest.parsing.lines import Page, blocks
from ingest.parsing.ocr_lines import body_size, set_lines
from ingest.parsing.ocr_report import listed, unread, warnings_of
from ingest.parsing.pdf_damage import is_damaged
from ingest.parsing.pdf_page import Seen, read_page
from ingest.parsing.port import Pixels
from ingest.parsing.recognised import RecognisedPage

_MOST_BOOKMARKS: Final = 10_000
_MOST_BLANK: Final = 100
"""So many blank pages are looked at more closely."""
_NO_WORDS: Final = (
    "This PDF holds no words, neither as text nor in pictures. Check that it is the right file."
)
_SIDE: Final = 2_000
"""The picture of a page for OCR has so many pixels on its long side: A4 at 171 dots an inch."""

# pdfium keeps global state and is not safe to call from two threads; the buffers of what calls it are guarded too.
_PDFIUM: Final = threading.Lock()


class PdfParser:
    """Text as pdfium orders it, in paragraphs, with page numbers and word boxes."""

    name: Final = "pdfium"

    def parse(
        self, path: Path, filename: str, media_type: str, recognised: Sequence[RecognisedPage] = ()
    ) -> Parsed:
        """The document, with what was recognised on its scanned pages; those that were not tried wait.

        Raises `Encrypted`, `Unreadable`, or `NoText` where there is no text and no page waits.
        """
        del filename, media_type
        with _PDFIUM, _opened(path) as document:
            pages, seen = _read_pages(document)
            bookmarks = _bookmarks(document)
        _take(recognised, pages, seen)
        assembly = Assembly(Divisions(pages))
        for page, found in zip(pages, with_bookmarks(blocks(pages), bookmarks), strict=True):
            for block in found:
                assembly.add(page, block)
            if page.unseen:
                assembly.add_unseen(page)
        return _parsed(assembly, pages, seen, recognised)

    def picture(self, path: Path, page: int) -> Pixels:
        """The page as displayed, `_SIDE` pixels on its long side; raises `Unreadable`."""
        with _PDFIUM, _opened(path) as document:
            try:
                with closing(document[page - 1]) as handle:
                    scale = _SIDE / max(*handle.get_size(), 1.0)
                    picture: Pixels = handle.render(scale=scale, rev_byteorder=True).to_numpy()
            except (pdfium.PdfiumError, IndexError) as error:
                message = f"Page {page} of this PDF cannot be drawn. Export it again and upload the new file."
                raise Unreadable(message) from error
        return picture[:, :, :3]


def page_count(path: Path) -> int:
    """How many pages a PDF has; raises `Encrypted` or `Unreadable`."""
    with _PDFIUM, _opened(path) as document:
        return len(document)


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


def _take(recognised: Sequence[RecognisedPage], pages: list[Page], seen: Seen) -> None:
    """Put what was recognised into the pages that waited for it; one without words keeps the text it has."""
    tried = {found.number: found for found in recognised if found.number in seen.pictures}
    body = body_size([page for page in pages if page.number not in tried])
    for number, found in tried.items():
        if found.lines:
            set_lines(pages[number - 1], found, body)
    seen.tried.update(tried)


def _bookmarks(document: pdfium.PdfDocument) -> list[Bookmark]:
    """Those that lead to a page of the document."""
    marks = islice(document.get_toc(), _MOST_BOOKMARKS)
    led = ((mark, mark.get_dest()) for mark in marks)
    placed = ((mark, dest.get_index()) for mark, dest in led if dest is not None)
    return [Bookmark(mark.level, mark.get_title(), index + 1) for mark, index in placed if index is not None]


def _parsed(
    assembly: Assembly, pages: list[Page], seen: Seen, recognised: Sequence[RecognisedPage]
) -> Parsed:
    elements = assembly.builder.elements()
    report = _report(assembly, elements, pages, seen)
    if not report.pages_waiting and all(element.kind is ElementKind.HIDDEN for element in elements):
        raise NoText(unread(recognised) or _NO_WORDS)
    return Parsed(assembly.builder.text(), elements, assembly.boxes(), report)


def _report(assembly: Assembly, elements: tuple[Element, ...], pages: list[Page], seen: Seen) -> ParseReport:
    waiting = tuple(number for number in seen.pictures if number not in seen.tried)
    failed = [number for number, found in seen.tried.items() if found.failure]
    without_text = [page.number for page in pages if not page.lines]
    unreadable = sorted({*seen.broken, *failed})
    return ParseReport(
        parser=PdfParser.name,
        pages=len(pages),
        pages_with_text=len(pages) - len(without_text),
        pages_empty=tuple(number for number in without_text if number not in {*unreadable, *waiting}),
        pages_unreadable=tuple(unreadable),
        pages_ocr=tuple(number for number, found in seen.tried.items() if found.lines),
        pages_waiting=waiting,
        elements=len(elements),
        images_skipped=seen.images,
        links=seen.links,
        hidden_characters=assembly.hidden,
        warnings=tuple(_warnings(assembly, pages, seen)),
    )


def _warnings(assembly: Assembly, pages: list[Page], seen: Seen) -> Iterator[str]:
    if seen.broken:
        yield f"{listed(seen.broken)} could not be read and cannot be searched. Export the PDF again and upload it."
    if garbled := [number for number in seen.garbled if number not in seen.tried]:
        yield f"{listed(garbled)}: the fonts do not say which characters they show, so the text was left out."
    yield from warnings_of(list(seen.tried.values()))
    if assembly.hidden:
        where = listed([page.number for page in pages if page.unseen])
        yield (
            f"{where}: {assembly.hidden} characters of text that a reader of the page cannot see. "
            "They are kept apart, and neither searched nor cited."
        )
    if seen.unsure:
        yield (
            f"{listed(seen.unsure)} may hold text that a reader cannot see: this was not looked into, because more "
            "pages of this PDF than one document may have give reason for it. All of their text can be cited."
        )
    if seen.unmapped:
        yield f"{seen.unmapped} characters have no text in this PDF and read as \ufffd."
