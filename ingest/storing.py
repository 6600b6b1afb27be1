"""The last stage before publishing: points of versions in generations, as many as there are chunks, and durable."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from ibid import claims, generations, points, versions, writing
from ibid.clock import now
from ibid.db.tables import ChunkRow, Embedding, Generation, Indexing
from ibid.errors import Unavailable
from ibid.types import JobKind
from ibid.vectors.errors import StoreUnavailable
from ibid.vectors.port import Fence, Point, PointPayload
from ingest import standing
from ingest.indexing import Counts, Target, batches
from ingest.standing import GenerationGone, VersionGone
from ingest.tools import Tools

POINT_BATCH = 256


class VectorsMissing(Unavailable):
    """Chunks have lost their vectors since they were embedded; the next attempt embeds them again."""

    code = "vectors_missing"


@dataclass(frozen=True, slots=True)
class Stored:
    """A target whose points are written, as many as SQL has chunks; `said` is what they say of the version."""

    target: Target
    counts: Counts
    points: int
    said: frozenset[PointPayload]


def store(tools: Tools, target: Target, counts: Counts) -> None:
    """Write the version's points, make them durable, and record that they are there.

    Again, for as long as the access list, the metadata or the version's end was changed meanwhile: who brought that to the points may
    have been there before them.
    """
    prepare(tools, target.generation, [target.version_id])
    while not _recorded(tools, write(tools, target, counts)):
        continue


def _recorded(tools: Tools, stored: Stored) -> bool:
    """Whether the points say of the version what SQL says; then they are recorded."""
    target = stored.target
    tools.store.sync(target.generation.id)
    with removed_if_gone(tools, [stored]), tools.db.begin(durable=False) as session:
        now_said = points.payload(session, *standing.living(session, target.version_id))
        if not stored.said <= {now_said}:
            return False
        record(session, [stored])
        claims.check(session, target.held)
    return True


def prepare(tools: Tools, generation: Generation, version_ids: Sequence[str]) -> None:
    """Make sure that the store has the generation, in which these versions are to be stored."""
    with tools.db.read() as session:
        elsewhere = _holds_others(session, generation.id, version_ids)
    if elsewhere and generation.id not in tools.store.generations():
        raise StoreUnavailable(
            f"The vector store has lost {generation.id}, which held other documents too. `ibid verify --repair` rebuilds it."
        )
    tools.store.create(generation.id, generation.dimensions)


def write(tools: Tools, target: Target, counts: Counts) -> Stored:
    """Write the version's points, and see that there are as many as SQL has chunks."""
    fence = Fence(target.held.id, target.held.attempt)
    total, said = 0, set[PointPayload]()
    with _put_right_if_over(tools, [target]):
        for batch in _points(tools, target):
            _upsert(tools, target, batch, fence)
            total += len(batch)
            said.add(batch[0].payload)
    stored = tools.store.count(target.generation.id, version_id=target.version_id)
    if stored != total:
        _remove_unknown(tools, target, fence)
        raise StoreUnavailable(
            f"The vector store holds {stored} of {total} chunks. The job will be tried again."
        )
    return Stored(target, counts, stored, frozenset(said))


def _upsert(tools: Tools, target: Target, batch: Sequence[Point], fence: Fence) -> None:
    """Write points. A deletion ends its document's own job, and so fences that; a reindex it waits for."""
    if target.held.kind is not JobKind.REINDEX:
        tools.store.upsert(target.generation.id, batch, fence=fence)
        return
    with writing.points(tools.db, batch[0].payload.document_id):
        with tools.db.begin(durable=False) as session:
            standing.living(session, target.version_id)
        tools.store.upsert(target.generation.id, batch, fence=fence)


def _remove_unknown(tools: Tools, target: Target, fence: Fence) -> None:
    """Remove points of the version that have no chunk: an attempt before an upgrade may have cut it otherwise.

    Harmless also where no store's owner refuses a late attempt: a newer one has its chunks in SQL before its points.
    """
    generation_id, version_id = target.generation.id, target.version_id
    scanned = tools.store.scan(generation_id)
    seen = {ref.id for refs in scanned for ref in refs if ref.payload.version_id == version_id}
    rows = select(ChunkRow.id).where(
        ChunkRow.generation_id == generation_id, ChunkRow.version_id == version_id
    )
    with tools.db.read() as session:
        unknown = seen.difference(session.scalars(rows))
    for some in batches(sorted(unknown), POINT_BATCH):
        tools.store.delete(generation_id, point_ids=some, fence=fence)


def record(session: Session, stored: Iterable[Stored]) -> None:
    """Say in SQL that versions are stored; raises `GenerationGone`. The document is locked already."""
    for each in sorted(stored, key=lambda each: each.target.generation.id):
        standing.check_written(session, each.target.generation.id)
        row = Indexing(
            generation_id=each.target.generation.id,
            version_id=each.target.version_id,
            made=each.counts.made,
            embedded=each.counts.embedded,
            chunks=each.points,
            created_at=now(),
        )
        session.merge(row)


@contextmanager
def removed_if_gone(tools: Tools, stored: Sequence[Stored]) -> Iterator[None]:
    """What is stored goes again if the block finds its document deleted or its generation given up.

    If it finds only its attempt over, the store is made to say what SQL says by then.
    """
    try:
        with _put_right_if_over(tools, [each.target for each in stored]):
            yield
    except GenerationGone as error:
        tools.store.drop(error.generation_id)
        raise


@contextmanager
def _put_right_if_over(tools: Tools, targets: Sequence[Target]) -> Iterator[None]:
    """If the block finds a document deleted or its attempt over, what was written late is made to be as SQL says."""
    try:
        yield
    except (VersionGone, claims.LeaseLost):
        for target in targets:
            _put_right(tools, target)
        raise


def _put_right(tools: Tools, target: Target) -> None:
    """Where no store's owner refuses late points, these may be of what is gone, or say what no longer holds.

    Looks in all generations, since an ingest that is over in one of them does not come to the end of the others.
    """
    with tools.db.begin(durable=False) as session:
        kept = {each.id for each in generations.written(session, target.generation.collection_id)}
        versions.clear_late(session, target.version_id)
    if target.generation.id not in kept:
        tools.store.drop(target.generation.id)
    for generation_id in sorted(tools.store.generations().intersection(kept)):
        _bring_up_to_date(tools, generation_id, target.version_id)


def _bring_up_to_date(tools: Tools, generation_id: str, version_id: str) -> None:
    """Give the version's points its present access list, marks and end; they go if its document was deleted.

    Looks again after it wrote, until SQL says the same.
    """
    done: PointPayload | None = None
    while True:
        wanted = _wanted(tools, version_id)
        if wanted is None:
            tools.store.delete(generation_id, version_id=version_id)
            return
        if wanted == done:
            return
        tools.store.describe(generation_id, wanted.document_id, wanted.access, wanted.marks)
        if wanted.live_to is not None:
            tools.store.supersede(generation_id, version_id, wanted.live_to)
        done = wanted


def _wanted(tools: Tools, version_id: str) -> PointPayload | None:
    """What the version's points are to say; None if its document was deleted."""
    with tools.db.read() as session:
        both = standing.find(session, version_id)
        return points.payload(session, *both) if both is not None else None


def _holds_others(session: Session, generation_id: str, version_ids: Sequence[str]) -> bool:
    """Whether SQL knows points of other versions in the generation."""
    others = select(Indexing.version_id).where(
        Indexing.generation_id == generation_id,
        Indexing.version_id.not_in(version_ids),
        Indexing.chunks > 0,
    )
    return session.scalar(others.limit(1)) is not None


def _points(tools: Tools, target: Target) -> Iterator[list[Point]]:
    """The version's points in batches; each is read in a transaction that finds the attempt going on."""
    bm25 = points.sparse_encoder(target.generation)
    after, more = -1, True
    while more:
        with tools.db.read() as session:
            version, document = standing.found(session, target.version_id)
            if not claims.may_write(session, target.held.id, target.held.attempt):
                raise claims.LeaseLost(
                    f"Attempt {target.held.attempt} of job {target.held.id} is over; its points are not written."
                )
            payload = points.payload(session, version, document)
            rows = _chunks(session, target, after)
            of = points.counts(session, target.generation.id, [target.version_id])
        if rows:
            after = rows[-1][0].ordinal
            yield [
                points.point(
                    row, of[row.version_id], document, np.frombuffer(vector, dtype=np.float32), bm25, payload
                )
                for row, vector in rows
            ]
        more = len(rows) == POINT_BATCH


def _chunks(session: Session, target: Target, after: int) -> Sequence[Row[ChunkRow, bytes]]:
    """The next chunks with their vectors; raises `VectorsMissing`."""
    following = (
        select(ChunkRow, Embedding.vector)
        .outerjoin(Embedding, Embedding.key == ChunkRow.embedding_key)
        .where(
            ChunkRow.generation_id == target.generation.id,
            ChunkRow.version_id == target.version_id,
            ChunkRow.ordinal > after,
        )
        .order_by(ChunkRow.ordinal)
    )
    rows = session.execute(following.limit(POINT_BATCH)).all()
    if any(vector is None for _, vector in rows):
        raise VectorsMissing("Some passages have no vector yet. The job will be tried again.")
    return rows
