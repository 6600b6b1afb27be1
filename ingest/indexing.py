"""The stages after parsing: chunks, embeddings and points of versions in generations, each step kept as it ends."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
from sqlalchemy import delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from ibid import claims, fingerprints, generations, points, writing
from ibid.claims import Claim
from ibid.clock import now
from ibid.db.tables import (
    ChunkRow,
    Document,
    Embedding,
    Generation,
    GenerationLanguage,
    Indexing,
    Parse,
    Version,
)
from ibid.embedding.port import Embedder
from ibid.embedding.registry import encoder_for
from ibid.embedding.texts import encoder_text
from ibid.errors import Conflict
from ibid.layout import decode_layout
from ibid.types import Chunk, JobKind, Parsed
from ibid.vectors.errors import StoreUnavailable
from ibid.vectors.port import Fence, Point
from ingest.chunking import chunk
from ingest.parsing.languages import Told
from ingest.tools import Tools

ENCODE_BATCH = 128
POINT_BATCH = 256
T = TypeVar("T")


class VersionGone(Conflict):
    """The version's document was deleted in the meantime; what was stored of it is removed again."""

    code = "version_gone"


class GenerationGone(Conflict):
    """The generation was given up in the meantime; the next attempt leaves it out."""

    code = "generation_gone"


@dataclass(frozen=True, slots=True)
class Target:
    """A version to be stored in a generation, under a claim."""

    held: Claim
    version_id: str
    generation: Generation


@dataclass(frozen=True, slots=True)
class Text:
    """An exact text given to the encoder, and the key of its vector."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Counts:
    """How many chunks the chunker made of a version, and how many of them had no vector from before."""

    made: int
    embedded: int


def cut(tools: Tools, target: Target) -> list[Text]:
    """Store the version's chunks for the generation; gives the texts to embed, one for each chunk, in their order."""
    embedder = encoder_for(tools.encoders, generations.recipe_of(target.generation))
    with tools.db.read() as session:
        parse = _parse(session, target.version_id)
    layout = decode_layout(parse.layout)
    parsed = Parsed(parse.text, layout.elements, (), layout.report)  # chunks do not look at boxes
    chunks = chunk(parsed, generations.recipe_of(target.generation).chunker, embedder.count_tokens)
    texts = [_text(embedder, made) for made in chunks]
    told = Told(layout.report.languages)
    with tools.db.begin(durable=False) as session:
        living(session, target.version_id)
        _check_written(session, target.generation.id)
        _report(session, target.held, "chunking", len(chunks))
        session.execute(
            delete(ChunkRow).where(
                ChunkRow.generation_id == target.generation.id, ChunkRow.version_id == target.version_id
            )
        )
        rows = [_row(target, made, text.key, told) for made, text in zip(chunks, texts, strict=True)]
        session.add_all(rows)
        session.flush()
        _add_languages(session, tools, target.generation.id, {row.language for row in rows if row.language})
    return texts


def count(texts: Sequence[Text], unknown: frozenset[str]) -> Counts:
    """Counts of what was cut, given the keys that had no vector."""
    return Counts(len(texts), sum(text.key in unknown for text in texts))


def embed(
    tools: Tools, generation: Generation, texts: Iterable[Text], held: Sequence[Claim]
) -> frozenset[str]:
    """Make sure that every text has its vector; gives the keys that had none.

    Batches are kept as they are made, longest texts first.
    """
    embedder = encoder_for(tools.encoders, generations.recipe_of(generation))
    wanted = {text.key: text.text for text in texts}
    unknown = frozenset(wanted.keys() - _known_keys(tools, wanted))
    lacking = sorted(unknown, key=lambda key: (-len(wanted[key]), key))
    done = 0
    for keys in batches(lacking, ENCODE_BATCH):
        if tools.stopping.is_set():  # what was embedded is kept, and the next step puts the job down
            break
        vectors = embedder.encode([wanted[key] for key in keys])
        done += len(keys)
        with tools.db.begin(durable=False) as session:
            going_on = claims.show(session, held, "embedding", done, len(lacking), "chunks")
            if held and not going_on:
                break
            _insert_embeddings(session, tools, keys, vectors)
    return unknown


def _known_keys(tools: Tools, keys: Iterable[str]) -> set[str]:
    """Those of the keys that have a vector."""
    known: set[str] = set()
    with tools.db.read() as session:
        for some in batches(keys, 500):
            known.update(session.scalars(select(Embedding.key).where(Embedding.key.in_(some))))
    return known


def store(tools: Tools, target: Target, counts: Counts) -> None:
    """Write the version's points, make them durable, and record that they are there."""
    stored = write(tools, target)
    tools.store.sync(target.generation.id)
    record(tools, target, counts, stored)


def write(tools: Tools, target: Target) -> int:
    """Write the version's points; gives how many there are, which are as many as SQL counts."""
    generation, version_id, held = target.generation, target.version_id, target.held
    bm25 = points.sparse_encoder(generation)
    with tools.db.begin(durable=False) as session:
        payload = points.payload(session, *living(session, version_id))
        _check_written(session, generation.id)
        _report(session, held, "indexing", 0)
        total = _chunk_count(session, target)
        elsewhere = _stored_elsewhere(session, target)
    fence = Fence(held.id, held.attempt)
    if elsewhere and generation.id not in tools.store.generations():
        raise StoreUnavailable(
            f"The vector store has lost {generation.id}, which held other documents too. `ibid verify --repair` rebuilds it."
        )
    tools.store.create(generation.id, generation.dimensions)
    for rows in _stored_chunks(tools, target):
        batch = [
            points.point(row, np.frombuffer(vector, dtype=np.float32), bm25, payload) for row, vector in rows
        ]
        with tools.db.read() as session:
            if not claims.may_write(session, held.id, held.attempt):
                raise claims.LeaseLost(
                    f"Attempt {held.attempt} of job {held.id} is over; its points are not written."
                )
        _upsert(tools, target, batch, fence)
    stored = tools.store.count(generation.id, version_id=version_id)
    if stored != total:
        _remove_unknown(tools, target, fence)
        raise StoreUnavailable(
            f"The vector store holds {stored} of {total} chunks. The job will be tried again."
        )
    return stored


def _upsert(tools: Tools, target: Target, batch: Sequence[Point], fence: Fence) -> None:
    """Write points. A deletion ends its document's own job, and so fences that; a reindex it waits for."""
    if target.held.kind is not JobKind.REINDEX:
        tools.store.upsert(target.generation.id, batch, fence=fence)
        return
    with writing.points(tools.db, batch[0].payload.document_id):
        with tools.db.begin(durable=False) as session:
            living(session, target.version_id)
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


def record(tools: Tools, target: Target, counts: Counts, stored: int) -> None:
    """Say in SQL that the version is stored; if it or the generation is gone by now, its points go as well."""
    generation_id, version_id = target.generation.id, target.version_id
    row = Indexing(
        generation_id=generation_id,
        version_id=version_id,
        made=counts.made,
        embedded=counts.embedded,
        chunks=stored,
        created_at=now(),
    )
    try:
        with tools.db.begin(durable=False) as session:
            living(session, version_id)
            _check_written(session, generation_id)
            claims.check(session, target.held)
            session.merge(row)
    except VersionGone:
        tools.store.delete(generation_id, version_id=version_id)
        raise
    except GenerationGone:
        tools.store.drop(generation_id)
        raise


def living(session: Session, version_id: str) -> tuple[Version, Document]:
    """The version and its document, locked against a delete until the transaction ends; else `VersionGone`."""
    found = session.execute(
        select(Version, Document)
        .join(Document, Document.id == Version.document_id)
        .where(Version.id == version_id, Document.deleted_at.is_(None))
        .with_for_update(of=Document, read=True)
    ).one_or_none()
    if found is None:
        raise VersionGone("The document was deleted while it was being stored.")
    return found[0], found[1]


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of at most `size`."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _parse(session: Session, version_id: str) -> Parse:
    found = session.scalar(
        select(Parse).join(Version, Version.parse_key == Parse.key).where(Version.id == version_id)
    )
    if found is None:
        raise VersionGone("The document was deleted while it was being stored.")
    return found


def _check_written(session: Session, generation_id: str) -> None:
    """Hold the generation against being given up until the transaction ends; raises `GenerationGone` if it was.

    Locked in the order that everything keeps: collection, document, generation, job.
    """
    state = select(Generation.state).where(Generation.id == generation_id).with_for_update(read=True)
    if session.scalar(state) not in generations.WRITTEN:
        raise GenerationGone(f"Generation {generation_id} was given up; nothing is stored in it any more.")


def _stored_elsewhere(session: Session, target: Target) -> bool:
    """Whether SQL knows points of other versions in the generation."""
    others = select(Indexing.version_id).where(
        Indexing.generation_id == target.generation.id,
        Indexing.version_id != target.version_id,
        Indexing.chunks > 0,
    )
    return session.scalar(others.limit(1)) is not None


def _report(session: Session, held: Claim, stage: str, chunks: int) -> None:
    """Say how far an ingest is; a reindex counts documents, and does so itself."""
    if held.kind is JobKind.REINDEX:
        claims.check(session, held)
    else:
        claims.progress(session, held, stage, chunks, chunks, "chunks")


def _text(embedder: Embedder, made: Chunk) -> Text:
    text = encoder_text(made.heading_path, made.text)
    return Text(fingerprints.embedding_key(embedder.fingerprint, text), text)


def _add_languages(session: Session, tools: Tools, generation_id: str, languages: set[str]) -> None:
    """In one order, so that two that add the same wait for each other in one direction only."""
    if not languages:
        return
    rows = [{"generation_id": generation_id, "language": language} for language in sorted(languages)]
    if tools.db.sqlite:
        session.execute(sqlite.insert(GenerationLanguage).on_conflict_do_nothing(), rows)
    else:
        session.execute(postgresql.insert(GenerationLanguage).on_conflict_do_nothing(), rows)


def _row(target: Target, made: Chunk, key: str, told: Told) -> ChunkRow:
    return ChunkRow(
        id=fingerprints.point_id(target.generation.id, target.version_id, made.ordinal),
        generation_id=target.generation.id,
        version_id=target.version_id,
        ordinal=made.ordinal,
        start=made.start,
        end=made.end,
        page=made.page,
        heading=list(made.heading_path),
        tokens=made.tokens,
        language=told.of(made.text),
        text=made.text,
        embedding_key=key,
    )


def _insert_embeddings(session: Session, tools: Tools, keys: Sequence[str], vectors: np.ndarray) -> None:
    """Insert vectors that a chunk needs still; another worker may have made the same ones a moment ago.

    The chunks are held: a purge that takes them waits, and takes their vectors with them.
    """
    needed = (
        select(ChunkRow.embedding_key)
        .where(ChunkRow.embedding_key.in_(keys))
        .order_by(ChunkRow.id)
        .with_for_update(read=True, key_share=True)
    )
    wanted = set(session.scalars(needed))
    rows = [
        {"key": key, "vector": vector.astype(np.float32).tobytes()}
        for key, vector in zip(keys, vectors, strict=True)
        if key in wanted
    ]
    if not rows:
        return
    if tools.db.sqlite:
        session.execute(sqlite.insert(Embedding).on_conflict_do_nothing(), rows)
    else:
        session.execute(postgresql.insert(Embedding).on_conflict_do_nothing(), rows)


def _chunk_count(session: Session, target: Target) -> int:
    rows = (
        select(func.count())
        .select_from(ChunkRow)
        .where(ChunkRow.generation_id == target.generation.id, ChunkRow.version_id == target.version_id)
    )
    return session.scalar(rows) or 0


def _stored_chunks(tools: Tools, target: Target) -> Iterator[list[tuple[ChunkRow, bytes]]]:
    """Chunks with their vectors, in batches, each read in a transaction of its own."""
    after = -1
    while True:
        with tools.db.read() as session:
            rows = session.execute(
                select(ChunkRow, Embedding.vector)
                .join(Embedding, Embedding.key == ChunkRow.embedding_key)
                .where(
                    ChunkRow.generation_id == target.generation.id,
                    ChunkRow.version_id == target.version_id,
                    ChunkRow.ordinal > after,
                )
                .order_by(ChunkRow.ordinal)
                .limit(POINT_BATCH)
            ).all()
        if not rows:
            return
        yield [(row, vector) for row, vector in rows]
        after = rows[-1][0].ordinal
