"""Cleaning up after a delete: readers stopped seeing it at its commit; here the rows, points and bytes go."""

from typing import Any

from sqlalchemy import ColumnElement, delete, exists, select, update
from sqlalchemy.orm import Session

from ibid import claims, uploads
from ibid.claims import Claim
from ibid.db.tables import (
    AttachmentRow,
    ChunkRow,
    Document,
    Embedding,
    Generation,
    Indexing,
    Parse,
    RecognisedRow,
    Version,
)
from ibid.types import JobState
from ibid.vectors.errors import GenerationMissing, StoreUnavailable
from ingest.tools import Tools

ROWS = 500


def purge(tools: Tools, held: Claim) -> None:
    """Remove what was deleted: a document, a generation, or a whole collection; then scan that nothing is left."""
    if held.generation_id is not None:
        statistics = _purge_generation(tools, held, held.generation_id)
    elif held.version_id is not None:
        statistics = _purge_version(tools, held, held.version_id)
    elif held.document_id is not None:
        statistics = _purge_document(tools, held, held.document_id)
    else:
        statistics = _purge_collection(tools, held)
    with tools.db.begin() as session:
        claims.finish(session, held, JobState.SUCCEEDED, {"removed": statistics})


def _purge_generation(tools: Tools, held: Claim, generation_id: str) -> dict[str, Any]:
    tools.store.drop(generation_id)
    with tools.db.begin() as session:
        claims.progress(session, held, "removing")
        session.execute(delete(Indexing).where(Indexing.generation_id == generation_id))
        session.execute(update(Generation).where(Generation.id == generation_id).values(state="dropped"))
    return {"generations": 1} | _forget_chunks(tools, ChunkRow.generation_id == generation_id)


def _purge_version(tools: Tools, held: Claim, version_id: str) -> dict[str, Any]:
    """Remove the passages of a superseded version; its text stays, so that answers which cite it can be read."""
    with tools.db.begin() as session:
        claims.progress(session, held, "removing")
        stored = session.scalars(
            select(Indexing.generation_id).where(Indexing.version_id == version_id)
        ).all()
    for generation_id in tools.store.generations().intersection(stored):
        tools.store.delete(generation_id, version_id=version_id)
    with tools.db.begin() as session:
        session.execute(delete(Indexing).where(Indexing.version_id == version_id))
    return dict(_forget_chunks(tools, ChunkRow.version_id == version_id))


def _purge_collection(tools: Tools, held: Claim) -> dict[str, Any]:
    with tools.db.begin() as session:
        claims.progress(session, held, "removing")
        generations = session.scalars(
            select(Generation.id).where(Generation.collection_id == held.collection_id)
        ).all()
        documents = session.scalars(
            select(Document.id).where(Document.collection_id == held.collection_id)
        ).all()
    for generation_id in generations:
        tools.store.drop(generation_id)
    removed = {"generations": len(generations), "documents": len(documents)}
    for document_id in documents:
        for name, count in _forget_document(tools, document_id).items():
            removed[name] = removed.get(name, 0) + count
    with tools.db.begin() as session:
        # Its access list stays: it says who may see this job.
        session.execute(update(Generation).where(Generation.id.in_(generations)).values(state="dropped"))
    return removed


def _purge_document(tools: Tools, held: Claim, document_id: str) -> dict[str, Any]:
    """Points first, so that a crash leaves rows by which the next attempt finds what remains."""
    with tools.db.begin() as session:
        claims.progress(session, held, "removing")
        generations = session.scalars(
            select(Generation.id).where(Generation.collection_id == held.collection_id)
        ).all()
    points = sum(_remove_points(tools, generation_id, document_id) for generation_id in generations)
    return {"points": points} | _forget_document(tools, document_id)


def _remove_points(tools: Tools, generation_id: str, document_id: str) -> int:
    try:
        found = tools.store.count(generation_id, document_id=document_id)
        tools.store.delete(generation_id, document_id=document_id)
        left = tools.store.count(generation_id, document_id=document_id)
    except GenerationMissing:
        return 0
    if left:
        raise StoreUnavailable(
            f"{left} points of the deleted document are still in the store. Tried again later."
        )
    return found


def _forget_document(tools: Tools, document_id: str) -> dict[str, int]:
    """Remove the rows and bytes of a deleted document; its own row stays, without its name, as proof of deletion.

    What is found through a row goes before the row or with it, so that a crash leaves a way to what remains; bytes
    are found by the orphan scan.
    """
    of_document = select(Version.id).where(Version.document_id == document_id)
    removed = _forget_chunks(tools, ChunkRow.version_id.in_(of_document))
    with tools.db.begin() as session:
        versions = session.scalars(select(Version).where(Version.document_id == document_id)).all()
        ids = [version.id for version in versions]
        blobs = {version.blob_id for version in versions}
        parses = {version.parse_key for version in versions if version.parse_key}
        attached = select(AttachmentRow.blob_id).where(AttachmentRow.parse_key.in_(parses))
        blobs |= {blob_id for blob_id in session.scalars(attached) if blob_id}
        session.execute(delete(Indexing).where(Indexing.version_id.in_(ids)))
        session.execute(delete(RecognisedRow).where(RecognisedRow.version_id.in_(ids)))
        session.execute(delete(Version).where(Version.id.in_(ids)))
        texts = sum(_forget_parse(session, key) for key in sorted(parses))
        session.execute(
            update(Document)
            .where(Document.id == document_id)
            .values(name="", identity=document_id, external_id=None, meta={}, current_version_id=None)
        )
    return removed | {
        "versions": len(ids),
        "texts": texts,
        "blobs": uploads.erase(tools.db, tools.blobs, blobs),
    }


def _forget_chunks(tools: Tools, those: ColumnElement[bool]) -> dict[str, int]:
    """Remove chunks, and in the same transaction each vector that no other chunk needs: killed in between, none stays.

    An ingest that lost a vector this way makes it again.
    """
    removed = {"chunks": 0, "embeddings": 0}
    while True:
        with tools.db.begin() as session:
            rows = session.execute(
                select(ChunkRow.id, ChunkRow.embedding_key).where(those).order_by(ChunkRow.id).limit(ROWS)
            ).all()
            if not rows:
                return removed
            session.execute(delete(ChunkRow).where(ChunkRow.id.in_([id_ for id_, _ in rows])))
            needed = exists().where(ChunkRow.embedding_key == Embedding.key)
            unused = delete(Embedding).where(Embedding.key.in_({key for _, key in rows}), ~needed)
            removed["embeddings"] += len(session.scalars(unused.returning(Embedding.key)).all())
            removed["chunks"] += len(rows)


def _forget_parse(session: Session, key: str) -> bool:
    """Remove a text unless a version refers to it; it is locked first, so a version that begins to refer waits."""
    row = session.scalar(select(Parse).where(Parse.key == key).with_for_update())
    if row is None or session.scalar(select(Version.id).where(Version.parse_key == key).limit(1)):
        return False
    session.execute(delete(AttachmentRow).where(AttachmentRow.parse_key == key))
    session.delete(row)
    return True
