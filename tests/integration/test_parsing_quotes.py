"""What is quoted from a PDF must be found on the same page by somebody who reads it with other software."""

import re
import unicodedata
from pathlib import Path

import pytest
from pdfminer.high_level import extract_pages
from pdfminer.layout import LTTextContainer

from ibid.sentences import spans
from ibid.types import ElementKind
from ingest.parsing.pdf import PdfParser

_IGNORED = re.compile(r"[\s\u00ad\u2010\u2011-]")


def plain(text: str) -> str:
    return _IGNORED.sub("", unicodedata.normalize("NFKC", text))


@pytest.mark.data
@pytest.mark.slow
class TestQuotes:
    @pytest.mark.parametrize(
        "name",
        [
            "Benefit_Options",
            "PerksPlus",
            "employee_handbook",
            "role_library",
            "Northwind_Health_Plus_Benefits_Details",
        ],
    )
    def test_sentences_are_found_by_another_extractor(self, data: Path, name: str):
        path = data / "contoso" / f"{name}.pdf"
        pages = [
            plain("".join(part.get_text() for part in page if isinstance(part, LTTextContainer)))
            for page in extract_pages(path)
        ]
        parsed = PdfParser().parse(path, path.name, "application/pdf")
        sentences = [
            (element.page, parsed.text[start:end])
            for element in parsed.elements
            if element.kind not in {ElementKind.HEADER, ElementKind.FOOTER}
            for start, end in spans(parsed.text, element.start, element.end)
        ]
        missed = [sentence for page, sentence in sentences if plain(sentence) not in pages[page - 1]]
        assert len(missed) <= 0.005 * len(sentences), missed
