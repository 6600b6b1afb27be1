"""The parser port: a file to canonical text and elements."""

from pathlib import Path
from typing import Protocol

from ibid.types import Parsed


class Parser(Protocol):
    """Reads some kinds of files; which, and how well, its `Offer` in `ingest.parsing.registry` says."""

    def parse(self, path: Path, filename: str, media_type: str) -> Parsed:
        """The document in the file; raises leaves of `Invalid` from `ingest.parsing.errors`.

        `filename` is what the user called it, for its ending and for words in errors only.
        """
        ...
