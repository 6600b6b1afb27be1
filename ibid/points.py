"""Points from rows: the one place that says what of a chunk goes to the vector store."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ibid import documents, generations
from ibid.db.tables import ChunkRow, Document, Generation, Version
from ibid.embedding.bm25 import Bm25, bm25_for
from ibid.embedding.texts import encoder_text, name_words
from ibid.filters import facts
from ibid.marks import Mark, marks
from ibid.vectors.port import ANYONE, Point, PointPayload, Vector


def point(
    chunk: ChunkRow, of: int, document: Document, dense: Vector, bm25: Bm25, payload: PointPayload
) -> Point:
    """The point of a chunk, one `of` so many in its version: `dense` has shape (dimensions,)."""
    text = encoder_text(chunk.heading, chunk.text)
    words = bm25.document(f"{name_words(document.name)}\n{text}" if bm25.named else text, chunk.language)
    return Point(chunk.id, dense, words, payload, chunk.ordinal, of)


def counts(session: Session, generation_id: str, version_ids: Iterable[str]) -> dict[str, int]:
    """How many chunks each of the versions has in the generation."""
    rows = (
        select(ChunkRow.version_id, func.count())
        .where(ChunkRow.generation_id == generation_id, ChunkRow.version_id.in_(set(version_ids)))
        .group_by(ChunkRow.version_id)
    )
    return dict(session.execute(rows).all())


def sparse_encoder(generation: Generation) -> Bm25:
    """The BM25 model with the generation's settings."""
    return bm25_for(generations.recipe_of(generation).sparse)


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of a document as its points have it: who may see it, and what it is filtered by."""

    access: tuple[str, ...]
    marks: tuple[Mark, ...]


def said(session: Session, document: Document) -> Said:
    """What the points of a document are to say of it."""
    granted = documents.grants(session, document)
    return Said((ANYONE,) if granted is None else granted, marks(facts(document.meta)))


def payload(session: Session, version: Version, document: Document) -> PointPayload:
    """What the engine filters a version's points by; before it is live, its creation stands for its beginning."""
    live_from = version.live_from or version.created_at
    known = said(session, document)
    return PointPayload(
        document_id=document.id,
        version_id=version.id,
        access=known.access,
        live_from=live_from.timestamp(),
        live_to=version.live_to.timestamp() if version.live_to else None,
        marks=known.marks,
    )
