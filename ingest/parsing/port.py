"""The parser port: a file to canonical text and elements, and its pages as pictures where it has any."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from ibid.types import Parsed
from ingest.parsing.recognised import RecognisedPage

Pixels = npt.NDArray[np.uint8]
"""Rows, columns and the colours red, green and blue."""


class Parser(Protocol):
    """Reads some kinds of files; which, and how well, its `Offer` in `ingest.parsing.registry` says."""

    def parse(self, path: Path, filename: str, media_type: str) -> Parsed:
        """The document in the file; raises leaves of `Invalid` from `ingest.parsing.errors`.

        `filename` is what the user called it, for its ending and for words in errors only.
        """
        ...


@runtime_checkable
class PageParser(Protocol):
    """A parser whose pages may be pictures: those without text of their own are `pages_waiting` in its report."""

    def parse(
        self, path: Path, filename: str, media_type: str, recognised: Sequence[RecognisedPage] = ()
    ) -> Parsed:
        """The document, with what was recognised on pages that waited."""
        ...

    def picture(self, path: Path, page: int) -> Pixels:
        """The page (from 1) as displayed; raises leaves of `Invalid`."""
        ...
