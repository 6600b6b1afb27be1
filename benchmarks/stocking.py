"""A knowledge base of as many chunks as wanted, rows and points, written a block at a time.

Nothing grows with the number of chunks in this process but what the engine itself keeps. Every other document is for
others than the reader who searches. While the chunks pass by, the ten nearest of some questions that the reader may see
are noted, by computing all: what a search of a graph is compared with.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sqlalchemy import insert
from sqlalchemy.orm import Session

from benchmarks.multiplied import PER_DOCUMENT, Base, Block, blocks
from ibid import collections, fingerprints
from ibid.bootstrap import Parts, open_parts
from ibid.db.tables import Base as Tables
from ibid.db.tables import Blob, ChunkRow, Document, DocumentGrant, Embedding, Indexing, Parse, Version
from ibid.embedding.port import Embedder
from ibid.nudge.memory import MemoryNudge
from ibid.settings import Settings
from ibid.types import Scope
from ibid.vectors.port import ANYONE, Point, PointPayload, Vector

COLLECTION: Final = "scale"
NEAREST: Final = 10
READER: Final = Scope(key_id="key_scale", role="reader", principals=frozenset({"user:reader"}))
"""Who searches: every other document has an access list that this reader is not on."""
OTHERS: Final = "group:others"
SAMPLE: Final = 50
"""Questions whose nearest are noted."""
_BETWEEN: Final = "\n\n"
_MOMENT: Final = datetime(2026, 1, 1, tzinfo=UTC)
_NOTES: Final = "stocked.json"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stocked:
    """What a folder holds, and for the first questions the ids of the nearest of all chunks."""

    collection_id: str
    generation: str
    chunks: int
    embedder: str
    questions: tuple[str, ...]
    nearest: tuple[tuple[str, ...], ...]


def settings_of(folder: Path, embedder: str) -> Settings:
    """Standalone, in the folder, whatever the environment says of servers."""
    nowhere = {"database_url": "", "broker_url": "", "qdrant_url": "", "blobs_url": ""}
    return Settings(data_dir=folder, embedder=embedder, sample=False).model_copy(update=nowhere)


def parts_of(folder: Path, embedder: str) -> Parts:
    """The knowledge base in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return open_parts(settings_of(folder, embedder), nudge=MemoryNudge())


def noted(folder: Path) -> Stocked | None:
    """What `stock` wrote there, if it came to its end."""
    notes = folder / _NOTES
    if not notes.is_file():
        return None
    said = json.loads(notes.read_text(encoding="utf-8"))
    return Stocked(**said | {key: tuple(map(_frozen, said[key])) for key in ("questions", "nearest")})


def stock(folder: Path, base: Base, chunks: int, encoder: Embedder, questions: tuple[str, ...]) -> Stocked:
    """Rows and points of so many chunks."""
    parts = parts_of(folder, encoder.name)
    try:
        made = _stocked(parts, base, chunks, encoder, questions)
    finally:
        parts.close()
    (folder / _NOTES).write_text(json.dumps(asdict(made)), encoding="utf-8")
    return made


def _stocked(parts: Parts, base: Base, chunks: int, encoder: Embedder, questions: tuple[str, ...]) -> Stocked:
    Tables.metadata.create_all(parts.db.engine)
    with parts.db.begin() as session:
        recipe = parts.recipe()
        made = collections.create(session, name=COLLECTION, description="", grants=None, recipe=recipe)
        session.add(Blob(id="blob", sha256="", size=0, key="none", touched_at=_MOMENT))
        collection_id, generation = made.id, made.active_generation_id
    parts.store.create(generation, encoder.dimensions)
    nearest = Nearest(np.stack([encoder.encode_query(question) for question in questions[:SAMPLE]]))
    for block in blocks(base, chunks):
        numbers = np.arange(block.first, block.first + len(block.vectors))
        seen = np.array([open_to_all(number // PER_DOCUMENT) for number in numbers.tolist()])
        nearest.see(numbers[seen], block.vectors[seen])
        points = list(points_of(generation, block))
        with parts.db.begin() as session:
            _insert(session, collection_id, generation, block)
        parts.store.upsert(generation, points)
    parts.store.sync(generation)
    ids = tuple(tuple(point_id(generation, number) for number in row) for row in nearest.numbers())
    return Stocked(collection_id, generation, chunks, encoder.name, questions, ids)


class Nearest:
    """For each question, shape (questions, dimensions), the nearest of all vectors that it was shown."""

    def __init__(self, questions: Vector) -> None:
        self._questions = questions
        self._scores = np.empty((len(questions), 0), dtype=np.float32)
        self._numbers = np.empty((len(questions), 0), dtype=np.int64)

    def see(self, numbers: npt.NDArray[np.int64], vectors: Vector) -> None:
        """Vectors of length 1 by their numbers, which grow."""
        fresh = np.broadcast_to(numbers, (len(self._questions), len(vectors)))
        scores = np.hstack([self._scores, self._questions @ vectors.T])
        every = np.hstack([self._numbers, fresh])
        best = np.argsort(-scores, axis=1, kind="stable")[:, :NEAREST]
        self._scores = np.take_along_axis(scores, best, axis=1)
        self._numbers = np.take_along_axis(every, best, axis=1)

    def numbers(self) -> list[list[int]]:
        """Of the nearest, the best first."""
        found: list[list[int]] = self._numbers.tolist()
        return found


def points_of(generation: str, block: Block) -> Iterator[Point]:
    """The points of a block."""
    for at, (dense, words) in enumerate(zip(block.vectors, block.words, strict=True)):
        document, ordinal = divmod(block.first + at, PER_DOCUMENT)
        access = (ANYONE,) if open_to_all(document) else (OTHERS,)
        payload = PointPayload(
            f"doc_{document}", f"ver_{document}", access, _live_from(document).timestamp(), None
        )
        number = block.first + at
        yield Point(point_id(generation, number), dense, words, payload, ordinal, PER_DOCUMENT)


def open_to_all(document: int) -> bool:
    """Whether a document is for every reader."""
    return document % 2 == 0


def point_id(generation: str, number: int) -> str:
    """The product's id of a chunk."""
    document, ordinal = divmod(number, PER_DOCUMENT)
    return fingerprints.point_id(generation, f"ver_{document}", ordinal)


def _live_from(document: int) -> datetime:
    """Readers have each document a second longer than the one before it."""
    return datetime.fromtimestamp(_MOMENT.timestamp() - document - 1, UTC)


def _insert(session: Session, collection_id: str, generation: str, block: Block) -> None:
    documents = [
        ((block.first + at) // PER_DOCUMENT, block.texts[at : at + PER_DOCUMENT])
        for at in range(0, len(block.texts), PER_DOCUMENT)
    ]
    grants = [
        {"document_id": f"doc_{number}", "principal": OTHERS}
        for number, _ in documents
        if not open_to_all(number)
    ]
    chunks = [row for number, texts in documents for row in _chunks(generation, number, texts)]
    vectors = [
        {"key": row["embedding_key"], "vector": vector.tobytes()}
        for row, vector in zip(chunks, block.vectors, strict=True)
    ]
    for table, rows in (  # each refers to those before it
        (Parse, [_parse(number, texts) for number, texts in documents]),
        (Document, [_document(collection_id, number) for number, _ in documents]),
        (DocumentGrant, grants),
        (Version, [_version(number) for number, _ in documents]),
        (Indexing, [_indexing(generation, number, len(texts)) for number, texts in documents]),
        (Embedding, vectors),
        (ChunkRow, chunks),
    ):
        if rows:
            session.execute(insert(table), rows)


def _parse(number: int, texts: tuple[str, ...]) -> Row:
    text = _BETWEEN.join(texts)
    return {"key": f"parse_{number}", "text": text, "layout": b"", "seconds": 0.0, "created_at": _MOMENT}


def _document(collection_id: str, number: int) -> Row:
    name = f"document-{number}.txt"
    return {
        "id": f"doc_{number}",
        "collection_id": collection_id,
        "identity": f"name:{name}",
        "name": name,
        "meta": {},
        "restricted": not open_to_all(number),
        "current_version_id": f"ver_{number}",
        "created_at": _MOMENT,
        "updated_at": _MOMENT,
    }


def _version(number: int) -> Row:
    return {
        "id": f"ver_{number}",
        "document_id": f"doc_{number}",
        "number": 1,
        "blob_id": "blob",
        "sha256": "",
        "filename": f"document-{number}.txt",
        "media_type": "text/plain",
        "size": 0,
        "parse_key": f"parse_{number}",
        "job_id": "",
        "receipt": {},
        "live_from": _live_from(number),
        "created_at": _MOMENT,
    }


def _indexing(generation: str, number: int, count: int) -> Row:
    counts = dict.fromkeys(("made", "embedded", "chunks"), count)
    return {"generation_id": generation, "version_id": f"ver_{number}", "created_at": _MOMENT, **counts}


def _chunks(generation: str, number: int, texts: tuple[str, ...]) -> Iterator[Row]:
    start = 0
    for ordinal, text in enumerate(texts):
        yield {
            "id": fingerprints.point_id(generation, f"ver_{number}", ordinal),
            "generation_id": generation,
            "version_id": f"ver_{number}",
            "ordinal": ordinal,
            "start": start,
            "end": start + len(text),
            "heading": [],
            "tokens": 0,
            "language": "en",
            "text": text,
            "embedding_key": fingerprints.of(f"{number}:{ordinal}"),
        }
        start += len(text) + len(_BETWEEN)


def _frozen(value: str | list[str]) -> str | tuple[str, ...]:
    return value if isinstance(value, str) else tuple(value)
