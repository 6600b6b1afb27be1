"""Office files, web pages, e-mail, tables and text through unstructured."""

import csv
import logging
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO, StringIO
from itertools import zip_longest
from pathlib import Path
from re import Pattern
from re import compile as pattern
from typing import Final

from lxml import etree  # type: ignore[import-untyped]
from unstructured.common.html_table import HtmlTable
from unstructured.documents.elements import Element as Found
from unstructured.errors import UnprocessableEntityError
from unstructured.file_utils.file_conversion import convert_file_to_html_text_using_pandoc
from unstructured.partition.docx import partition_docx
from unstructured.partition.html import partition_html
from unstructured.partition.md import partition_md
from unstructured.partition.pptx import partition_pptx
from unstructured.partition.text import element_from_text

from ibid.types import Attachment, ElementKind, Parsed, ParseReport
from ingest.canonical import TextBuilder
from ingest.parsing.archives import check_archive
from ingest.parsing.encodings import decode
from ingest.parsing.errors import NoText, Unreadable
from ingest.parsing.hidden import without_hidden
from ingest.parsing.mail import Mail, read_eml, read_msg
from ingest.parsing.notes import document_notes, slide_notes
from ingest.parsing.outline import Outline
from ingest.parsing.unstructured_language import prepare_language
from ingest.parsing.visible import main_text, visible
from ingest.parsing.workbook import read_sheets, titled

log = logging.getLogger(__name__)

NAME: Final = "unstructured"
_MAX_HEADING: Final = 100
_WEAK_LEVEL: Final = 20
"""Below every heading that the format itself marks."""

_KINDS: Final = {
    "ListItem": ElementKind.LIST_ITEM,
    "Table": ElementKind.TABLE,
    "CodeSnippet": ElementKind.CODE,
    "FigureCaption": ElementKind.CAPTION,
    "Image": ElementKind.CAPTION,
    "Header": ElementKind.HEADER,
    "Footer": ElementKind.FOOTER,
    "PageNumber": ElementKind.FOOTER,
}
_BLANK_LINES: Final = pattern(r"\n[ \t]*(?:\n[ \t]*)+")
_CHARSET: Final = pattern(rb"(?i)<meta[^>]{1,200}?charset=[\"']?([\w.:-]{1,40})")
_XML_ENCODING: Final = pattern(rb"^\s*<\?xml[^>]{1,100}?encoding=[\"']([\w.:-]{1,40})")

# What the libraries below raise for a file that is not what it says it is.
DAMAGED: Final = (
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    UnprocessableEntityError,
    ValueError,
    struct.error,
    etree.LxmlError,
)


@dataclass(slots=True)
class _Piece:
    """An element before it has its place. `level` is that of a heading; `weak` is one told by its looks only.

    `apart` is a piece that stands under no heading.
    """

    kind: ElementKind
    text: str
    page: int | None = None
    level: int | None = None
    weak: bool = False
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """What came out of a file."""

    pieces: list[_Piece]
    warnings: tuple[str, ...] = ()
    pages: int | None = None
    attachments: tuple[Attachment, ...] = ()
    images_skipped: int = 0


class UnstructuredParser:
    """Everything that is not PDF."""

    def __init__(self) -> None:
        prepare_language()

    def parse(self, path: Path, filename: str, media_type: str) -> Parsed:
        """The document; raises `Unreadable`, `Encrypted`, `TooLargeWhenUnpacked`, `NoText`."""
        read = _reader(filename, media_type)
        try:
            found = read(path)
        except DAMAGED as error:
            log.info("%s could not read a file of type %s: %s", NAME, media_type, type(error).__name__)
            raise Unreadable(
                "This file is damaged, or is not what its name says. Save it again and upload the new file."
            ) from error
        return assembled(found)


def _reader(filename: str, media_type: str) -> Callable[[Path], Read]:
    return _READERS.get(media_type) or (
        _text if filename.lower().endswith((".txt", ".text", ".log")) else _code
    )


def assembled(read: Read) -> Parsed:
    """Offsets and headings for pieces in order; raises `NoText`."""
    builder, outline = TextBuilder(), Outline()
    for piece, following in zip_longest(read.pieces, read.pieces[1:]):
        heading = piece.level is not None and (not piece.weak or _heads(piece, following))
        if heading and piece.text.strip():
            path = outline.enter(piece.level or 0, piece.text)
            builder.add(ElementKind.HEADING, piece.text, page=piece.page, heading_path=path)
        else:
            builder.add(
                piece.kind, piece.text, page=piece.page, heading_path=() if piece.apart else outline.path
            )
    elements = builder.elements()
    if not elements:
        raise NoText("This file holds no text. Check that it is the one you meant to upload.")
    kinds = [element.kind for element in elements]
    report = ParseReport(
        parser=NAME,
        pages=read.pages,
        pages_with_text=len({element.page for element in elements}) if read.pages else None,
        pages_empty=tuple(
            sorted({*range(1, (read.pages or 0) + 1)} - {element.page or 0 for element in elements})
        ),
        elements=len(elements),
        tables=kinds.count(ElementKind.TABLE),
        images_skipped=read.images_skipped
        + sum(piece.kind is ElementKind.CAPTION and not piece.text.strip() for piece in read.pieces),
        hidden_characters=sum(
            element.end - element.start for element in elements if element.kind is ElementKind.HIDDEN
        ),
        warnings=read.warnings,
    )
    return Parsed(builder.text(), elements, (), report, read.attachments)


def _heads(piece: _Piece, following: _Piece | None) -> bool:
    """Whether a short line that looks like a heading has text under it."""
    short = len(piece.text) <= _MAX_HEADING and not piece.text.rstrip().endswith((".", ",", ";", "!", "?"))
    return short and following is not None and not following.weak and len(following.text) > len(piece.text)


def pieces_of(found: Iterable[Found], *, pages: bool = False) -> list[_Piece]:
    """Elements as unstructured told them apart, in their order; with their pages if it knows them."""
    return [_piece(element, pages=pages) for element in found if element.category != "PageBreak"]


def _piece(element: Found, *, pages: bool) -> _Piece:
    metadata = element.metadata
    page = metadata.page_number if pages else None
    if element.category == "Table" and metadata.text_as_html:
        return _Piece(ElementKind.TABLE, _rows(metadata.text_as_html) or element.text, page)
    if element.category == "Title":
        level = metadata.category_depth
        weak = level is None
        return _Piece(
            ElementKind.PARAGRAPH, element.text, page, _WEAK_LEVEL if level is None else level, weak
        )
    kind = _KINDS.get(element.category, ElementKind.PARAGRAPH)
    bold = kind is ElementKind.PARAGRAPH and _is_bold(element)
    return _Piece(kind, element.text, page, _WEAK_LEVEL if bold else None, weak=bold)


def _is_bold(element: Found) -> bool:
    """Whether all of a text is emphasised, as a heading without a heading's style is."""
    words, tags = element.metadata.emphasized_text_contents, element.metadata.emphasized_text_tags
    return bool(words and tags and "b" in tags and "".join(words).split() == element.text.split())


def _rows(html: str) -> str:
    """A table as one line a row; empty rows are left out."""
    rows = (list(row.iter_cell_texts()) for row in HtmlTable.from_html_text(html).iter_rows())
    return "\n".join(
        _row(cell.replace("\\n", " ") for cell in row) for row in rows if any(map(str.strip, row))
    )


def _row(cells: Iterable[str]) -> str:
    """Cells parted by bars, each on one line."""
    return " | ".join(" ".join(cell.split()) for cell in cells)


# ------------------------------------------------------------------------------------------------ readers


def _text(path: Path) -> Read:
    """Paragraphs word for word; unstructured only says what they are."""
    text, warnings = decode(path.read_bytes())
    return Read(_text_pieces(text), warnings)


def _text_pieces(text: str) -> list[_Piece]:
    pieces = []
    for paragraph in _paragraphs(text):
        element = element_from_text(paragraph[:2_000])
        piece = _piece(element, pages=False)
        piece.text = paragraph
        piece.weak = piece.level is not None and "\n" not in paragraph
        piece.level = _WEAK_LEVEL if piece.weak else None
        pieces.append(piece)
    return pieces


def _code(path: Path) -> Read:
    """Source code, settings and data, word for word."""
    data = path.read_bytes()
    text, warnings = decode(data, _declared(_XML_ENCODING, data))
    return Read([_Piece(ElementKind.CODE, paragraph) for paragraph in _paragraphs(text)], warnings)


def _paragraphs(text: str) -> list[str]:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n\n")
    return [paragraph for paragraph in _BLANK_LINES.split(lines) if paragraph.strip()]


def _declared(where: Pattern[bytes], data: bytes) -> str | None:
    match = where.search(data[:4096])
    return match.group(1).decode("ascii") if match else None


def _html(path: Path) -> Read:
    data = path.read_bytes()
    text, warnings = decode(data, _declared(_CHARSET, data) or _declared(_XML_ENCODING, data))
    return Read(_html_pieces(main_text(text)), warnings)


def _html_pieces(shown: str) -> list[_Piece]:
    return pieces_of(partition_html(text=shown, languages=[""])) if shown.strip() else []


def _markdown(path: Path) -> Read:
    text, warnings = decode(path.read_bytes())
    return Read(pieces_of(partition_md(text=text, languages=[""])) if text.strip() else [], warnings)


def _csv(path: Path) -> Read:
    return _separated(path, ",;\t|")


def _tsv(path: Path) -> Read:
    return _separated(path, "\t")


def _separated(path: Path, delimiters: str) -> Read:
    """One table, cell by cell as written: unstructured's way, through pandas, rewrites numbers and refuses odd rows."""
    text, warnings = decode(path.read_bytes())
    delimiter = _delimiter(text, delimiters)
    rows = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=False)
    lines = [_row(row) for row in rows if any(map(str.strip, row))]
    return Read([_Piece(ElementKind.TABLE, "\n".join(lines))] if lines else [], warnings)


def _delimiter(text: str, delimiters: str) -> str:
    """The one that most of the first lines have most often; the first listed if none is there."""
    head = text[:10_000].splitlines()[:20]
    return max(delimiters, key=lambda mark: sum(mark in line for line in head))


def _docx(path: Path) -> Read:
    check_archive(path)
    shown, hidden = without_hidden(path)
    beside = [_Piece(ElementKind.PARAGRAPH, note, apart=True) for note in document_notes(path)]
    beside += [_Piece(ElementKind.HIDDEN, words, apart=True) for words in hidden]
    warnings = ("Text that this file hides from its reader is not searched.",) if hidden else ()
    return Read([*pieces_of(partition_docx(file=shown, languages=[""])), *beside], warnings)


def _pptx(path: Path) -> Read:
    """Each slide, and then what its speaker noted."""
    check_archive(path)
    found = partition_pptx(str(path), languages=[""], include_slide_notes=False)
    notes = slide_notes(path)
    pieces = [*pieces_of(found, pages=True), *(_Piece(ElementKind.PARAGRAPH, notes[at], at) for at in notes)]
    pieces.sort(key=lambda piece: piece.page or 0)
    last_break = sum(element.category == "PageBreak" for element in found)
    return Read(pieces, pages=max([piece.page or 0 for piece in pieces] + [last_break]) or None)


def _xlsx(path: Path) -> Read:
    """Each sheet under its name; one that the file hides is kept, and told, and not searched."""
    check_archive(path)
    pieces: list[_Piece] = []
    hidden = []
    for sheet in read_sheets(path):
        if not sheet.blocks:
            continue
        if sheet.hidden:
            hidden.append(sheet.name)
            rows = "\n".join(_row(row) for block in sheet.blocks for row in block)
            pieces.append(_Piece(ElementKind.HIDDEN, rows))
            continue
        pieces.append(_Piece(ElementKind.PARAGRAPH, sheet.name, level=0))
        for block in sheet.blocks:
            titles, rows_below = titled(block)
            pieces.extend(_Piece(ElementKind.PARAGRAPH, title) for title in titles if title != sheet.name)
            if rows_below:
                pieces.append(_Piece(ElementKind.TABLE, "\n".join(map(_row, rows_below))))
    warnings = (f"Hidden sheets are not searched: {', '.join(hidden)}.",) if hidden else ()
    return Read(pieces, warnings)


def _odt(path: Path) -> Read:
    check_archive(path)
    return _through_pandoc(path, "odt")


def _epub(path: Path) -> Read:
    check_archive(path)
    return _through_pandoc(path, "epub")


def _rtf(path: Path) -> Read:
    return _through_pandoc(path, "rtf")


def _through_pandoc(path: Path, source: str) -> Read:
    return Read(_html_pieces(visible(convert_file_to_html_text_using_pandoc(source, filename=str(path)))))


def _rst(path: Path) -> Read:
    return _markup(path, "rst")


def _org(path: Path) -> Read:
    return _markup(path, "org")


def _markup(path: Path, source: str) -> Read:
    """Markup of any encoding: pandoc reads UTF-8 only."""
    text, warnings = decode(path.read_bytes())
    html = convert_file_to_html_text_using_pandoc(source, file=BytesIO(text.encode()))
    return Read(_html_pieces(visible(html)), warnings)


def _mail(mail: Mail) -> Read:
    pieces = [_Piece(ElementKind.PARAGRAPH, mail.subject, level=0)] if mail.subject else []
    if mail.headers:
        lines = "\n".join(f"{name}: {value}" for name, value in mail.headers)
        pieces.append(_Piece(ElementKind.METADATA, lines))
    for text, html in mail.bodies:
        pieces.extend(_html_pieces(visible(text)) if html else _text_pieces(text))
    return Read(pieces, mail.warnings, attachments=mail.attachments, images_skipped=mail.images_skipped)


_READERS: Final[dict[str, Callable[[Path], Read]]] = {
    "application/epub+zip": _epub,
    "application/rtf": _rtf,
    "application/vnd.ms-outlook": lambda path: _mail(read_msg(path)),
    "application/vnd.oasis.opendocument.text": _odt,
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": _pptx,
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": _xlsx,
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": _docx,
    "message/rfc822": lambda path: _mail(read_eml(path)),
    "text/csv": _csv,
    "text/html": _html,
    "text/markdown": _markdown,
    "text/org": _org,
    "text/tab-separated-values": _tsv,
    "text/x-rst": _rst,
}
