"""What ingestion works with, handed to every stage."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Protocol

from ibid.blobs.port import BlobStore
from ibid.db.session import Database
from ibid.embedding.port import Encoders
from ibid.errors import Unavailable
from ibid.settings import Settings
from ibid.types import Parsed
from ibid.vectors.port import VectorStore
from ingest.parsing.recognised import RecognisedPage


class Stopping(Unavailable):
    """The worker was told to stop; another one goes on with the job."""

    code = "stopping"


class Reader(Protocol):
    """Turns a file into text, in whatever isolation it sees fit; raises `Invalid` for what cannot be read."""

    def parse(
        self, path: Path, filename: str, media_type: str, pages: Sequence[RecognisedPage] = ()
    ) -> Parsed:
        """The document's text, elements and boxes, with what was recognised on pages that wait for it."""
        ...

    def parse_together(self, files: Sequence[tuple[Path, str]], media_type: str) -> list[Parsed | None]:
        """Small documents of one type at once, given as paths and names; None for one that is to be read alone."""
        ...

    def recognise(self, path: Path, media_type: str, page: int) -> RecognisedPage:
        """The words in the picture of a page (from 1)."""
        ...

    def close(self) -> None:
        """End whatever reads."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """The stores, the encoders and the parser of one worker process, and whether it was told to stop."""

    settings: Settings
    db: Database
    store: VectorStore
    blobs: BlobStore
    encoders: Encoders
    reader: Reader
    stopping: Event = field(default_factory=Event)

    def go_on(self) -> None:
        """Called between two steps of a job, where it can be put down; raises `Stopping`."""
        if self.stopping.is_set():
            raise Stopping("This worker was told to stop. Another one goes on with the job.")
