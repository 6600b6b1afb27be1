"""PDF through unstructured's `hi_res` strategy: a model tells columns, headings and tables apart, Tesseract reads pictures.

Its packages are the extra `hi-res`, which nothing else needs; they are imported when the first document is read.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from unstructured.documents.elements import Element as Found

from ibid.types import Parsed
from ingest.parsing.errors import Unreadable
from ingest.parsing.pdf import page_count
from ingest.parsing.unstructured import DAMAGED, Read, assembled, pieces_of
from ingest.parsing.unstructured_language import prepare_language

log = logging.getLogger(__name__)

NAME: Final = "unstructured-hi-res"


class HiResPdfParser:
    """PDFs as a layout model sees them: pages and tables, and no boxes of words."""

    def __init__(self) -> None:
        prepare_language()

    def parse(self, path: Path, filename: str, media_type: str) -> Parsed:
        """The document; raises `Unreadable`, `Encrypted`, `NoText`."""
        from unstructured.partition.pdf import partition_pdf  # noqa: PLC0415 - what it needs is an extra

        del filename
        pages = page_count(path)
        try:
            found = partition_pdf(str(path), strategy="hi_res", infer_table_structure=True)
        except DAMAGED as error:
            log.info("%s could not read a file of type %s: %s", NAME, media_type, type(error).__name__)
            raise Unreadable(
                "This PDF could not be read with its layout. Export it again and upload the new file."
            ) from error
        return document(found, pages)


def document(found: Sequence[Found], pages: int) -> Parsed:
    """The document of the elements that were found on so many pages; raises `NoText`."""
    parsed = assembled(Read(pieces_of(found, pages=True), pages=pages))
    return replace(parsed, report=replace(parsed.report, parser=NAME))
