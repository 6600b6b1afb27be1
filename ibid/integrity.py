"""Comparison of SQL and the vector store in both directions. SQL is the truth: the store is made to agree."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from ibid import access, generations, points
from ibid.bootstrap import Parts
from ibid.db.tables import ChunkRow, Document, Embedding, Generation, Indexing, Version
from ibid.embedding.registry import encoder_for
from ibid.embedding.texts import encoder_text
from ibid.types import Scope
from ibid.vectors.errors import GenerationMissing
from ibid.vectors.port import Point, Vector

BATCH = 500


@dataclass(slots=True)
class Comparison:
    """What was found in one generation: points without a chunk, and chunks of finished versions without a point."""

    generation_id: str
    points: int = 0
    chunks: int = 0
    orphans: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    repaired: bool = False


def verify(parts: Parts, scope: Scope, ref: str, *, repair: bool) -> list[Comparison]:
    """Compare every generation of a collection that is written to; with `repair`, remove orphans and fill gaps.

    Safe beside uploads and deletes: what is expected is read before the store is scanned, what is surplus after it.
    """
    with parts.db.read() as session:
        collection = access.collection(session, scope, ref)
        written = generations.written(session, collection.id)
    return [_compare(parts, generation, repair=repair) for generation in written]


def _compare(parts: Parts, generation: Generation, *, repair: bool) -> Comparison:
    with parts.db.read() as session:
        expected = _expected(session, generation.id)
    found: set[str] = set()
    result = Comparison(generation.id, chunks=len(expected))
    try:
        for refs in parts.store.scan(generation.id):
            ids = [ref.id for ref in refs]
            found.update(ids)
            result.orphans += _without_chunk(parts, generation.id, ids)
    except GenerationMissing:
        found.clear()
    result.points = len(found)
    result.gaps = _still_expected(parts, generation.id, expected - found)
    if repair:
        _repair(parts, generation, result)
        result.repaired = True
    return result


def _expected(session: Session, generation_id: str) -> set[str]:
    """Ids of the chunks of versions that are recorded as wholly stored."""
    return set(
        session.scalars(
            select(ChunkRow.id)
            .join(
                Indexing,
                (Indexing.version_id == ChunkRow.version_id)
                & (Indexing.generation_id == ChunkRow.generation_id),
            )
            .where(ChunkRow.generation_id == generation_id)
        )
    )


def _without_chunk(parts: Parts, generation_id: str, ids: Sequence[str]) -> list[str]:
    """Points that SQL does not know: no chunk row, or a document that is deleted."""
    with parts.db.read() as session:
        known = set(
            session.scalars(
                select(ChunkRow.id)
                .join(Version, Version.id == ChunkRow.version_id)
                .join(Document, Document.id == Version.document_id)
                .where(
                    ChunkRow.generation_id == generation_id,
                    ChunkRow.id.in_(ids),
                    Document.deleted_at.is_(None),
                )
            )
        )
    return [id_ for id_ in ids if id_ not in known]


def _still_expected(parts: Parts, generation_id: str, ids: set[str]) -> list[str]:
    """Those that were not deleted while the store was scanned."""
    kept: list[str] = []
    for some in _slices(sorted(ids)):
        missing = set(_without_chunk(parts, generation_id, some))
        kept += [id_ for id_ in some if id_ not in missing]
    return kept


def _repair(parts: Parts, generation: Generation, result: Comparison) -> None:
    for some in _slices(result.orphans):
        parts.store.delete(generation.id, point_ids=some)
    if result.gaps:
        parts.store.create(generation.id, generation.dimensions)
    for some in _slices(result.gaps):
        parts.store.upsert(generation.id, _points(parts, generation, some))
        if deleted := _without_chunk(parts, generation.id, some):  # since the points were made
            parts.store.delete(generation.id, point_ids=deleted)


def _points(parts: Parts, generation: Generation, ids: Sequence[str]) -> list[Point]:
    """Points made anew from SQL: chunks, kept vectors, and the rights and times of their versions."""
    bm25 = points.sparse_encoder(generation)
    with parts.db.read() as session:
        rows = session.execute(
            select(ChunkRow, Version, Document)
            .join(Version, Version.id == ChunkRow.version_id)
            .join(Document, Document.id == Version.document_id)
            .where(ChunkRow.id.in_(ids))
        ).all()
        payloads = {v.id: points.payload(session, v, document) for _, v, document in rows}
    chunks = [chunk for chunk, _, _ in rows]
    vectors = _vectors(parts, generation, chunks)
    return [
        points.point(chunk, vectors[chunk.embedding_key], bm25, payloads[chunk.version_id])
        for chunk in chunks
    ]


def _vectors(parts: Parts, generation: Generation, chunks: Sequence[ChunkRow]) -> dict[str, Vector]:
    """Vectors by embedding key: those that are kept, and the others made anew."""
    texts = {chunk.embedding_key: encoder_text(chunk.heading, chunk.text) for chunk in chunks}
    with parts.db.read() as session:
        kept = session.execute(select(Embedding.key, Embedding.vector).where(Embedding.key.in_(texts))).all()
    vectors = {key: np.frombuffer(vector, dtype=np.float32) for key, vector in kept}
    if lost := [key for key in texts if key not in vectors]:
        encoder = encoder_for(parts.encoders, generations.recipe_of(generation))
        vectors |= dict(zip(lost, encoder.encode([texts[key] for key in lost]), strict=True))
    return vectors


def _slices(ids: Iterable[str]) -> Iterator[list[str]]:
    listed = list(ids)
    for begin in range(0, len(listed), BATCH):
        yield listed[begin : begin + BATCH]
