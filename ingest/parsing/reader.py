"""Documents and pages read in processes of their own: one kind loads the parsers, the other the models for OCR."""

from collections.abc import Sequence
from pathlib import Path

from ibid.settings import Settings
from ibid.types import Parsed
from ingest.parsing.client import ParseServer
from ingest.parsing.recognised import RecognisedPage


class ConfinedReader:
    """Two parse servers, each started when it is first needed: a child has the memory of one kind only."""

    def __init__(self, settings: Settings) -> None:
        self.documents = ParseServer(settings)
        self.pictures = ParseServer(settings)

    def parse(
        self, path: Path, filename: str, media_type: str, pages: Sequence[RecognisedPage] = ()
    ) -> Parsed:
        """As `ParseServer.parse`."""
        return self.documents.parse(path, filename, media_type, pages)

    def parse_together(self, files: Sequence[tuple[Path, str]], media_type: str) -> list[Parsed | None]:
        """As `ParseServer.parse_together`."""
        return self.documents.parse_together(files, media_type)

    def recognise(self, path: Path, media_type: str, page: int) -> RecognisedPage:
        """As `ParseServer.recognise`."""
        return self.pictures.recognise(path, media_type, page)

    def close(self) -> None:
        """End both; what is asked next starts another."""
        self.documents.close()
        self.pictures.close()
