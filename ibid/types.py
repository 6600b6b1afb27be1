"""Values that cross borders. All are frozen; all offsets are half-open ranges of Unicode code points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Role = Literal["reader", "editor", "admin"]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on a page (one-based) as displayed, in fractions of its size, origin top left."""

    page: int
    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True, slots=True)
class TextBox:
    """Where the characters [start, end) of the canonical text, usually one word, stand on a page."""

    start: int
    end: int
    box: Box


class ElementKind(StrEnum):
    """What a piece of a document is to its reader."""

    TITLE = "title"
    HEADING = "heading"
    PARAGRAPH = "paragraph"
    LIST_ITEM = "list_item"
    TABLE = "table"
    CODE = "code"
    CAPTION = "caption"
    HEADER = "header"
    FOOTER = "footer"
    HIDDEN = "hidden"
    METADATA = "metadata"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Element:
    """A range of the canonical text with its kind, page (one-based, None without pages) and headings above it."""

    kind: ElementKind
    start: int
    end: int
    page: int | None = None
    heading_path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ParseReport:
    """What a parser saw: counts of pages and elements, and warnings in words.

    Empty pages were read and hold no text; unreadable ones could not be read, so that nobody knows. The text of
    `pages_ocr` was recognised from their picture, and that of `pages_waiting` was not yet. `hidden_characters` counts text that the file holds and no reader of
    it would see. `languages` are ISO 639-1 codes, the most used first.
    """

    parser: str
    pages: int | None = None
    pages_with_text: int | None = None
    pages_empty: tuple[int, ...] = ()
    pages_unreadable: tuple[int, ...] = ()
    pages_ocr: tuple[int, ...] = ()
    pages_waiting: tuple[int, ...] = ()
    elements: int = 0
    tables: int = 0
    images_skipped: int = 0
    links: int = 0
    hidden_characters: int = 0
    languages: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file inside a document, such as one attached to a mail: its name as given there (never a path), its bytes."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Parsed:
    r"""A document as text: the canonical text, its elements in order, the boxes of its words, and files inside it.

    `text` holds no U+0000, no lone surrogate, and only `\n` as a line end. Elements are disjoint and ascending;
    `boxes` are ascending and empty for formats without pages.
    """

    text: str
    elements: tuple[Element, ...]
    boxes: Sequence[TextBox]
    report: ParseReport
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage for retrieval: `text == canonical[start:end]`. Its headings are embedded with it, never shown as text."""

    ordinal: int
    start: int
    end: int
    text: str
    page: int | None
    heading_path: tuple[str, ...]
    tokens: int


@dataclass(frozen=True, slots=True)
class SparseVector:
    """Token ids and their weights, of one length, ids unique."""

    indices: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Scope:
    """Who asks, and what they may see: the one value every read of documents is filtered by.

    `principals` are `user:NAME`, `group:NAME` and `key:ID`; None sees everything (an admin acting for nobody).
    `collections` limits to these ids; None is every collection. `as_of` None means now.
    """

    key_id: str
    role: Role
    principals: frozenset[str] | None = None
    collections: frozenset[str] | None = None
    as_of: datetime | None = None
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Legs:
    """Scores of a hit in each leg of the search; None where that leg did not return it."""

    dense: float | None
    sparse: float | None


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that a search found and SQL confirmed for the asker's scope."""

    document_id: str
    document: str
    version_id: str
    version: int
    generation_id: str
    chunk_id: str
    text: str
    start: int
    end: int
    page: int | None
    heading: tuple[str, ...]
    score: float
    legs: Legs


class Support(StrEnum):
    """How far the cited words carry a sentence."""

    VERIFIED = "verified"
    PARTIALLY_SUPPORTED = "partially_supported"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class Citation:
    """The exact words [start, end) of one version that support a sentence. `n` is one-based within its answer."""

    n: int
    document_id: str
    document: str
    version_id: str
    version: int
    page: int | None
    boxes: tuple[Box, ...]
    start: int
    end: int
    quote: str
    verified: bool


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of an answer with the numbers of its citations."""

    text: str
    support: Support
    citations: tuple[int, ...]


class JobState(StrEnum):
    """States of a job as stored. `stalled` is what a running job with an expired lease is shown as."""

    QUEUED = "queued"
    RUNNING = "running"
    STALLED = "stalled"
    SUCCEEDED = "succeeded"
    PARTIALLY_SUCCEEDED = "partially_succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether the job has ended."""
        return self in TERMINAL


TERMINAL = frozenset({JobState.SUCCEEDED, JobState.PARTIALLY_SUCCEEDED, JobState.FAILED, JobState.CANCELLED})


class ReadBy(StrEnum):
    """How the text of a version came about: as the file holds it, or with its pictures recognised too."""

    TEXT = "text"
    OCR = "ocr"


class JobKind(StrEnum):
    """What a job does."""

    INGEST = "ingest"
    PURGE = "purge"
    REINDEX = "reindex"
    UNPACK = "unpack"
    FETCH = "fetch"
    FIT = "fit"


CHUNKER_REVISION: Final = 4
"""Raised when the same text would give other chunks, or other headings for them."""


@dataclass(frozen=True, slots=True)
class ChunkerConfig:
    """Budgets of a chunk in tokens of the embedder, special tokens excluded."""

    max_tokens: int = 200
    min_tokens: int = 40
    overlap_sentences: int = 0

    def fitted(self, longest: int) -> "ChunkerConfig":
        """The same, or smaller where an encoder reads only `longest` tokens; a fifth of them is left for headings."""
        most = min(self.max_tokens, max(1, longest * 4 // 5))
        return replace(self, max_tokens=most, min_tokens=min(self.min_tokens, most))


@dataclass(frozen=True, slots=True)
class SparseConfig:
    """Settings of the BM25 vectors. `avg_len` is in tokens.

    `language` is that of texts whose own is not known; with `multilingual` the others are stemmed in theirs. With
    `named` a chunk has the words of its document's name too.
    """

    language: str = "english"
    k: float = 1.2
    b: float = 0.75
    avg_len: float = 128.0
    multilingual: bool = False
    named: bool = False


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a generation is made with; its fingerprint names every part that changes what is stored."""

    embedder: str
    dimensions: int
    embedder_fingerprint: str
    chunker: ChunkerConfig = field(default_factory=ChunkerConfig)
    sparse: SparseConfig = SparseConfig(multilingual=True, named=True)


Metadata = Mapping[str, Json]
