"""Reading in this process: what a confined child does, and what measurements do with files that are trusted."""

from collections.abc import Sequence
from pathlib import Path

from ibid.types import Parsed
from ingest.parsing.errors import Unreadable
from ingest.parsing.port import PageParser
from ingest.parsing.recognised import RecognisedPage
from ingest.parsing.registry import FAST, parser_for


class DirectReader:
    """The parsers and the recogniser of this process, loaded when they are first needed."""

    def __init__(self, layout: str = FAST) -> None:
        self._layout = layout

    def parse(
        self, path: Path, filename: str, media_type: str, pages: Sequence[RecognisedPage] = ()
    ) -> Parsed:
        """The document, with what was recognised on pages that wait for it."""
        parser = parser_for(media_type, self._layout)
        if pages and isinstance(parser, PageParser):
            return parser.parse(path, filename, media_type, pages)
        return parser.parse(path, filename, media_type)

    def parse_together(self, files: Sequence[tuple[Path, str]], media_type: str) -> list[Parsed | None]:
        """Leaves each to be read alone, which costs no more here."""
        del media_type
        return [None] * len(files)

    def recognise(self, path: Path, media_type: str, page: int) -> RecognisedPage:
        """The words in the picture of a page (from 1)."""
        from ingest.parsing.ocr import recogniser  # noqa: PLC0415 - an extra, and only who recognises loads its models

        parser = parser_for(media_type, self._layout)
        if not isinstance(parser, PageParser):
            raise Unreadable("Files of this type have no pages that could be recognised.")
        return recogniser().read(page, parser.picture(path, page))

    def close(self) -> None:
        """Nothing to end."""
