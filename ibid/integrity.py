"""Comparison of SQL and the vector store in both directions. SQL is the truth: the store is made to agree.

Both are read in pages in the order of point ids, SQL first, so that memory holds a page of each however many there are.
A point that is written in between is then found, and one that is deleted in between is looked up again.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from sqlalchemy import Select, exists, select
from sqlalchemy.orm import Session

from ibid import access, generations, points, versions, writing
from ibid.bootstrap import Parts
from ibid.db.tables import ChunkRow, Document, DocumentGrant, Embedding, Generation, Indexing, Job, Version
from ibid.embedding.registry import encoder_for
from ibid.embedding.texts import encoder_text
from ibid.filters import facts
from ibid.marks import Mark, marks
from ibid.types import TERMINAL, JobKind, Scope
from ibid.vectors.errors import GenerationMissing
from ibid.vectors.port import ANYONE, Point, PointPayload, Vector

PAGE = 2000
BATCH = 500


@dataclass(slots=True)
class Comparison:
    """What was found in one generation, before any repair.

    `chunks` are those of finished versions. `orphans` are points without a chunk, or of a version that was given up before anybody saw it, `gaps` chunks without a point, `stale`
    points with another document, version, access list, metadata or time than SQL says.
    """

    generation_id: str
    points: int = 0
    chunks: int = 0
    orphans: int = 0
    gaps: int = 0
    stale: int = 0
    repaired: bool = False


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A chunk as SQL has it: whether its version is wholly stored, and the payloads that its point may have."""

    finished: bool
    payload: PointPayload
    created_at: float

    def agrees(self, seen: PointPayload) -> bool:
        """Before a version is live its creation stands for its beginning, and its points keep that."""
        mine = self.payload
        same = (mine.document_id, mine.version_id) == (seen.document_id, seen.version_id)
        return (
            same
            and set(mine.access) == set(seen.access)
            and seen.live_from in {mine.live_from, self.created_at}
            and mine.live_to == seen.live_to
            and mine.marks == seen.marks
        )


def verify(parts: Parts, scope: Scope, ref: str, *, repair: bool) -> list[Comparison]:
    """Compare every generation of a collection that is written to; with `repair`, make the store agree.

    Safe beside uploads and deletes.
    """
    with parts.db.read() as session:
        collection = access.collection(session, scope, ref)
        written = generations.written(session, collection.id)
    return [_compare(parts, generation, repair=repair) for generation in written]


def _compare(parts: Parts, generation: Generation, *, repair: bool) -> Comparison:
    result = Comparison(generation.id, repaired=repair)
    if repair and generation.id not in parts.store.generations():
        with parts.db.read() as session:
            needed = session.scalar(
                select(Indexing.version_id).where(Indexing.generation_id == generation.id)
            )
        if needed is not None:
            parts.store.create(generation.id, generation.dimensions)
    after: str | None = None
    while True:
        with parts.db.read() as session:
            known, last = _page(session, generation.id, after)
        seen = _stored(parts, generation.id, after, last)
        result.points += len(seen)
        result.chunks += sum(chunk.finished for chunk in known.values())
        _settle(parts, generation, result, known, seen)
        if last is None:
            return result
        after = last


def _page(session: Session, generation_id: str, after: str | None) -> tuple[dict[str, _Chunk], str | None]:
    """The chunks of living documents among the next ones, by id, and the last id looked at; None at the end."""
    rows = (
        select(ChunkRow.id).where(ChunkRow.generation_id == generation_id).order_by(ChunkRow.id).limit(PAGE)
    )
    ids = session.scalars(rows.where(ChunkRow.id > after) if after else rows).all()
    return _known(session, generation_id, ids), ids[-1] if ids else None


def _stored(parts: Parts, generation_id: str, after: str | None, last: str | None) -> dict[str, PointPayload]:
    """The store's points between two ids, or to its end; none where there is no such generation."""
    seen: dict[str, PointPayload] = {}
    try:
        for refs in parts.store.scan(generation_id, batch=PAGE, after=after):
            seen |= {ref.id: ref.payload for ref in refs if last is None or ref.id <= last}
            if last is not None and refs[-1].id >= last:
                break
    except GenerationMissing:
        return {}
    return seen


def _settle(
    parts: Parts,
    generation: Generation,
    result: Comparison,
    known: dict[str, _Chunk],
    seen: dict[str, PointPayload],
) -> None:
    """Count where the two pages differ, and mend it; whatever differs is looked up in SQL once more."""
    doubtful = [id_ for id_, payload in seen.items() if id_ not in known or not known[id_].agrees(payload)]
    gaps = [id_ for id_, chunk in known.items() if chunk.finished and id_ not in seen]
    for some in _slices([*doubtful, *gaps]):
        with parts.db.read() as session:
            now_known = _known(session, generation.id, some)
            moving = _being_read(session, {chunk.payload.document_id for chunk in now_known.values()})
        orphans = [id_ for id_ in some if id_ in seen and id_ not in now_known]
        lacking = [id_ for id_ in some if id_ not in seen and id_ in now_known and now_known[id_].finished]
        stale = [
            id_
            for id_, chunk in now_known.items()
            if id_ in seen and not chunk.agrees(seen[id_]) and chunk.payload.document_id not in moving
        ]
        result.orphans += len(orphans)
        result.gaps += len(lacking)
        result.stale += len(stale)
        if result.repaired:
            _repair(parts, generation, orphans, [*lacking, *stale])


def _known(session: Session, generation_id: str, ids: Sequence[str]) -> dict[str, _Chunk]:
    """Those of the chunks that are there, of documents that are not deleted and versions that were not given up."""
    rows = session.execute(_chunks(generation_id).where(ChunkRow.id.in_(ids))).all()
    restricted = {row.document_id for row in rows if row.restricted}
    granted: dict[str, list[str]] = {document_id: [] for document_id in restricted}
    for some in _slices(sorted(restricted)):
        for grant in session.scalars(select(DocumentGrant).where(DocumentGrant.document_id.in_(some))):
            granted[grant.document_id].append(grant.principal)
    known: dict[str, tuple[Mark, ...]] = {}
    for some in _slices({row.document_id for row in rows}):
        described = session.execute(select(Document.id, Document.meta).where(Document.id.in_(some)))
        known |= {document_id: marks(facts(meta)) for document_id, meta in described}
    return {
        row.id: _Chunk(
            row.finished,
            PointPayload(
                row.document_id,
                row.version_id,
                tuple(granted.get(row.document_id, (ANYONE,))),
                (row.live_from or row.created_at).timestamp(),
                row.live_to.timestamp() if row.live_to else None,
                known[row.document_id],
            ),
            row.created_at.timestamp(),
        )
        for row in rows
    }


def _chunks(generation_id: str) -> Select[*tuple[Any, ...]]:
    finished = exists().where(
        Indexing.version_id == ChunkRow.version_id, Indexing.generation_id == generation_id
    )
    return (
        select(
            ChunkRow.id,
            ChunkRow.version_id,
            Version.live_from,
            Version.live_to,
            Version.created_at,
            Document.id.label("document_id"),
            Document.restricted,
            finished.label("finished"),
        )
        .join(Version, Version.id == ChunkRow.version_id)
        .join(Document, Document.id == Version.document_id)
        .where(ChunkRow.generation_id == generation_id, Document.deleted_at.is_(None), ~versions.given_up())
    )


def _being_read(session: Session, document_ids: set[str]) -> set[str]:
    """Those of the documents whose job has not ended: it brings their points up to date."""
    waiting = select(Job.document_id).where(
        Job.document_id.in_(document_ids), Job.kind == JobKind.INGEST, Job.state.not_in(TERMINAL)
    )
    return {id_ for id_ in session.scalars(waiting) if id_}


def _repair(parts: Parts, generation: Generation, orphans: list[str], wrong: list[str]) -> None:
    if orphans := _without_given_up(parts, orphans):
        parts.store.delete(generation.id, point_ids=orphans)
    while wrong:
        wrong = _written_anew(parts, generation, wrong)


def _written_anew(parts: Parts, generation: Generation, wrong: list[str]) -> list[str]:
    """Write points as SQL has them; gives those of which it says something else by now.

    Who changed an access list meanwhile has brought it to the points before they were written.
    """
    made = _points(parts, generation, wrong)
    with writing.points(parts.db, generation.collection_id):
        living = _living(parts, generation, wrong)  # some may have been deleted since the points were made
        parts.store.upsert(generation.id, [point for point in made if point.id in living])
        parts.store.sync(generation.id)
    after = _living(parts, generation, wrong)
    # The lease runs out also while this process is suspended.
    if deleted := living.keys() - after.keys():
        parts.store.delete(generation.id, point_ids=sorted(deleted))
    return [point.id for point in made if point.id in after and not after[point.id].agrees(point.payload)]


def _without_given_up(parts: Parts, orphans: list[str]) -> list[str]:
    """Those of the points that belong to no version which was given up: these go by a job, since it may be tried again."""
    with parts.db.begin() as session:
        cleared = versions.clear_given_up(session, orphans)
        theirs = select(ChunkRow.id).where(ChunkRow.id.in_(orphans), ChunkRow.version_id.in_(cleared))
        jobs_see_to = set(session.scalars(theirs))
    return [id_ for id_ in orphans if id_ not in jobs_see_to]


def _living(parts: Parts, generation: Generation, ids: Sequence[str]) -> dict[str, _Chunk]:
    with parts.db.read() as session:
        return _known(session, generation.id, ids)


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
        of = points.counts(session, generation.id, [version.id for _, version, _ in rows])
        payloads = {v.id: points.payload(session, v, document) for _, v, document in rows}
    chunks = [chunk for chunk, _, _ in rows]
    vectors = _vectors(parts, generation, chunks)
    return [
        points.point(
            chunk,
            of[chunk.version_id],
            document,
            vectors[chunk.embedding_key],
            bm25,
            payloads[chunk.version_id],
        )
        for chunk, _, document in rows
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
    iterator = iter(ids)
    while some := list(islice(iterator, BATCH)):
        yield some
