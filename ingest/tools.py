"""What ingestion works with, handed to every stage."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ibid.blobs.port import BlobStore
from ibid.db.session import Database
from ibid.embedding.port import Encoders
from ibid.settings import Settings
from ibid.types import Parsed
from ibid.vectors.port import VectorStore


class Reader(Protocol):
    """Turns a file into text, in whatever isolation it sees fit; raises `Invalid` for what cannot be read."""

    def parse(self, path: Path, filename: str, media_type: str) -> Parsed:
        """The document's text, elements and boxes."""
        ...

    def close(self) -> None:
        """End whatever reads."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """The stores, the encoders and the parser of one worker process."""

    settings: Settings
    db: Database
    store: VectorStore
    blobs: BlobStore
    encoders: Encoders
    reader: Reader
