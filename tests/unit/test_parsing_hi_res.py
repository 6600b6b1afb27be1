"""PDFs by a layout model: what is made of its elements. The model itself is an extra that is not installed here."""

from pathlib import Path

import pytest
from unstructured.documents.elements import (
    Element,
    ElementMetadata,
    Footer,
    Header,
    Image,
    ListItem,
    NarrativeText,
    Table,
    Title,
)

from ibid.types import ElementKind, Parsed
from ingest.parsing.errors import NoText, Unreadable
from ingest.parsing.pdf import page_count
from ingest.parsing.unstructured_pdf import document
from tests.pdfs import Sheet, make_pdf

ROWS = "<table><tr><th>Berth</th><th>Crowns</th></tr><tr><td>Guest</td><td>25</td></tr></table>"


def on(page: int, element: Element, **more: str) -> Element:
    element.metadata = ElementMetadata(page_number=page, **more)
    return element


@pytest.fixture(scope="module")
def parsed() -> Parsed:
    return document(
        [
            on(1, Header("Harbour board")),
            on(1, Title("Berths and fees")),
            on(
                1,
                NarrativeText("A guest berth costs 25 crowns a night, \u00bd of that in winter \U0001f600."),
            ),
            on(1, Footer("1")),
            on(3, Title("Table of fees")),
            on(3, Table("Berth Crowns Guest 25"), text_as_html=ROWS),
            on(3, ListItem("Dogs are on a lead.")),
            on(3, Image("")),
        ],
        pages=4,
    )


class TestDocument:
    def test_every_element_is_a_slice_of_the_text(self, parsed: Parsed) -> None:
        words = [parsed.text[element.start : element.end] for element in parsed.elements]
        assert words[2].startswith("A guest berth costs 25 crowns")
        assert words[2].endswith("\U0001f600.")
        assert "\n\n".join(words) == parsed.text

    def test_pages_are_kept(self, parsed: Parsed) -> None:
        assert [element.page for element in parsed.elements] == [1, 1, 1, 1, 3, 3, 3]
        report = parsed.report
        assert (report.pages, report.pages_with_text, report.pages_empty) == (4, 2, (2, 4))

    def test_kinds_and_headings(self, parsed: Parsed) -> None:
        kinds = [element.kind for element in parsed.elements]
        assert kinds == [
            ElementKind.HEADER,
            ElementKind.HEADING,
            ElementKind.PARAGRAPH,
            ElementKind.FOOTER,
            ElementKind.HEADING,
            ElementKind.TABLE,
            ElementKind.LIST_ITEM,
        ]
        assert parsed.elements[5].heading_path == ("Table of fees",)

    def test_a_table_has_a_line_for_each_row(self, parsed: Parsed) -> None:
        table = parsed.elements[5]
        assert parsed.text[table.start : table.end] == "Berth | Crowns\nGuest | 25"

    def test_report(self, parsed: Parsed) -> None:
        report = parsed.report
        assert (report.parser, report.tables, report.images_skipped) == ("unstructured-hi-res", 1, 1)
        assert parsed.boxes == ()

    def test_without_words(self) -> None:
        with pytest.raises(NoText):
            document([on(1, Image(""))], pages=1)


class TestPageCount:
    def test_counts_empty_pages_too(self, tmp_path: Path) -> None:
        (tmp_path / "a.pdf").write_bytes(make_pdf([Sheet(), Sheet()]))
        assert page_count(tmp_path / "a.pdf") == 2

    def test_damaged(self, tmp_path: Path) -> None:
        (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7 nothing")
        with pytest.raises(Unreadable):
            page_count(tmp_path / "a.pdf")
