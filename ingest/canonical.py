"""The canonical text of a document: how characters are cleaned and how offsets are kept."""

import re
import unicodedata
from typing import Final

from ibid.types import Element, ElementKind

REVISION: Final = 1
"""Raised when the same file would give another text."""

SEPARATOR: Final = "\n\n"
"""Between two elements: a blank line, which always ends a sentence."""

_LINE_ENDS: Final = re.compile("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
# What no reader sees, and what therefore breaks quotes or carries hidden words: control characters, soft hyphens,
# zero-width spaces (not the joiners, which shape Arabic, Indic scripts and emoji), orders to turn the direction of
# text, byte-order marks, noncharacters and the invisible "tag" alphabet.
_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069"
    "\ufeff\ufdd0-\ufdef\ufffe\uffff\U000e0000-\U000e007f]"
)


def clean(text: str) -> str:
    """The characters a reader sees, in NFC, with LF as the only line end; lone surrogates become U+FFFD.

    Idempotent.
    """
    if text.isascii() and text.isprintable():
        return text
    text = _SURROGATES.sub("\ufffd", text)
    return unicodedata.normalize("NFC", _UNSEEN.sub("", _LINE_ENDS.sub("\n", text)))


class TextBuilder:
    """Puts a canonical text together, element by element, and knows where each one stands."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._elements: list[Element] = []

    def add(
        self, kind: ElementKind, text: str, *, page: int | None = None, heading_path: tuple[str, ...] = ()
    ) -> int | None:
        """Append an element, cleaned and stripped; gives the offset where it starts, None if nothing is left of it."""
        piece = clean(text).strip()
        if not piece:
            return None
        if self._parts:
            self._parts.append(SEPARATOR)
            self._length += len(SEPARATOR)
        start = self._length
        self._parts.append(piece)
        self._length += len(piece)
        self._elements.append(Element(kind, start, self._length, page, heading_path))
        return start

    def text(self) -> str:
        """The canonical text so far."""
        return "".join(self._parts)

    def elements(self) -> tuple[Element, ...]:
        """The elements so far: disjoint, ascending, each `text()[start:end]` exact."""
        return tuple(self._elements)
