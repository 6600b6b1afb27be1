"""Cleaning up after a delete: readers stopped seeing it at its commit; here the rows, points and bytes go."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import delete, exists, select, update
from sqlalchemy.orm import Session

from ibid import claims, uploads
from ibid.claims import Claim
from ibid.db.tables import (
    ChunkRow,
    CollectionGrant,
    Document,
    DocumentGrant,
    Embedding,
    Generation,
    Indexing,
    Parse,
    Version,
)
from ibid.types import JobState
from ibid.vectors.errors import GenerationMissing, StoreUnavailable
from ingest.indexing import batches
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
        keys = _chunk_keys(session, ChunkRow.generation_id == generation_id)
        session.execute(delete(ChunkRow).where(ChunkRow.generation_id == generation_id))
        session.execute(delete(Indexing).where(Indexing.generation_id == generation_id))
        session.execute(update(Generation).where(Generation.id == generation_id).values(state="dropped"))
    return {"generations": 1, "embeddings": _forget_embeddings(tools, keys)}


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
        keys = _chunk_keys(session, ChunkRow.version_id == version_id)
        for table in (ChunkRow, Indexing):
            session.execute(delete(table).where(table.version_id == version_id))
    return {"chunks": len(keys), "embeddings": _forget_embeddings(tools, keys)}


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
        session.execute(update(Generation).where(Generation.id.in_(generations)).values(state="dropped"))
        session.execute(delete(CollectionGrant).where(CollectionGrant.collection_id == held.collection_id))
    return removed


def _purge_document(tools: Tools, held: Claim, document_id: str) -> dict[str, Any]:
    """Points first, so that a crash leaves rows by which the next attempt finds what remains."""
    with tools.db.begin() as session:
        claims.progress(session, held, "removing")
        generations = session.scalars(
            select(Generation.id).where(
                Generation.collection_id == held.collection_id, Generation.state != "dropped"
            )
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
    """Remove the rows and bytes of a deleted document; its own row stays, without its name, as proof of deletion."""
    with tools.db.begin() as session:
        versions = session.scalars(select(Version).where(Version.document_id == document_id)).all()
        ids = [version.id for version in versions]
        blobs = {version.blob_id for version in versions}
        parses = {version.parse_key for version in versions if version.parse_key}
        keys = _chunk_keys(session, ChunkRow.version_id.in_(ids))
        for table in (ChunkRow, Indexing):
            session.execute(delete(table).where(table.version_id.in_(ids)))
        session.execute(delete(Version).where(Version.id.in_(ids)))
        session.execute(delete(DocumentGrant).where(DocumentGrant.document_id == document_id))
        session.execute(
            update(Document)
            .where(Document.id == document_id)
            .values(name="", identity=document_id, external_id=None, meta={}, current_version_id=None)
        )
    return {
        "versions": len(ids),
        "chunks": len(keys),
        "embeddings": _forget_embeddings(tools, keys),
        "texts": _forget_parses(tools, parses),
        "blobs": uploads.erase(tools.db, tools.blobs, blobs),
    }


def _chunk_keys(session: Session, rule: Any) -> list[str]:  # noqa: ANN401 - a column expression
    return list(session.scalars(select(ChunkRow.embedding_key).where(rule)))


def _forget_embeddings(tools: Tools, keys: Iterable[str]) -> int:
    """Remove vectors that no chunk needs any more; an ingest that lost one this way makes it again."""
    removed = 0
    for some in batches(sorted(set(keys)), ROWS):
        with tools.db.begin() as session:
            unused = Embedding.key.in_(some) & ~exists().where(ChunkRow.embedding_key == Embedding.key)
            removed += len(session.scalars(delete(Embedding).where(unused).returning(Embedding.key)).all())
    return removed


def _forget_parses(tools: Tools, keys: Iterable[str]) -> int:
    """Remove texts that no version refers to; rows are locked first, so a version that refers to one waits."""
    removed = 0
    for key in sorted(keys):
        with tools.db.begin() as session:
            row = session.scalar(select(Parse).where(Parse.key == key).with_for_update())
            used = session.scalar(select(Version.id).where(Version.parse_key == key).limit(1))
            if row is not None and used is None:
                session.delete(row)
                removed += 1
    return removed
