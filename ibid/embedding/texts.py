"""The exact texts that are indexed for a chunk: by its meaning, and by its words."""

import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

_BETWEEN_WORDS: Final = re.compile(r"[\W_]+")

HEADINGS_READ: Final = 2
"""The nearest headings above a chunk that are indexed with it."""


def encoder_text(heading: Sequence[str], text: str) -> str:
    """The two nearest headings above the chunk, then its own words."""
    return "\n".join([*heading[-HEADINGS_READ:], text])


def name_words(name: str) -> str:
    """The words of a document's name, without its ending: people ask for a thing in "the handbook"."""
    return _BETWEEN_WORDS.sub(" ", PurePath(name).stem).strip()
