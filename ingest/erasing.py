"""Removing what a deleted document left: points, rows and bytes; each step may be done twice, and is counted once."""

from collections.abc import Iterable
from datetime import timedelta

from sqlalchemy import ColumnElement, delete, exists, select, update
from sqlalchemy.orm import Session

from ibid import claims, families, fits, forgetting, removal, replies, resumable, strays, uploads, withdrawal
from ibid.claims import Claim
from ibid.db.tables import (
    AttachmentRow,
    ChunkRow,
    Document,
    Embedding,
    Indexing,
    RecognisedRow,
    Version,
)
from ibid.forgetting import Traces
from ibid.vectors.errors import GenerationMissing, StoreUnavailable
from ingest.tools import Tools

ROWS = 500


def erase(tools: Tools, held: Claim, traces: Traces, generations: Iterable[str]) -> None:
    """Remove everything of a deleted document; its own row stays, without its name, as proof of deletion.

    Points go first, so that a crash leaves rows by which the next attempt finds what remains. What is found through a
    row goes before the row or with it.
    """
    _erase_points(tools, held, traces.document_id, generations)
    forget_chunks(tools, held, ChunkRow.version_id.in_(traces.versions), traces.document_id)
    with tools.db.begin() as session:
        forgetting.count(session, held, traces.document_id, _erase_rows(tools, session, traces))
    erased = uploads.erase(tools.db, tools.blobs, set(traces.blobs))
    parts = resumable.remove(tools.db, tools.blobs, traces.uploads)
    stray = _erase_stray_bytes(tools, traces) if tools.settings.standalone else 0
    with tools.db.begin() as session:
        counts = {"blobs": erased + stray, "upload_parts": parts}
        forgetting.count(session, held, traces.document_id, counts)


def forget_chunks(
    tools: Tools, held: Claim, those: ColumnElement[bool], document_id: str | None = None
) -> dict[str, int]:
    """Remove chunks, and in the same transaction each vector that no other chunk needs: killed in between, none stays.

    An ingest that lost a vector this way makes it again. They count for the deletion of a document, if one is given.
    Raises `LeaseLost` once the attempt is over: by then the chunks may be those of another try.
    """
    removed = {"chunks": 0, "embeddings": 0}
    while True:
        with tools.db.begin() as session:
            claims.check(session, held)
            rows = session.execute(
                select(ChunkRow.id, ChunkRow.embedding_key).where(those).order_by(ChunkRow.id).limit(ROWS)
            ).all()
            if not rows:
                return removed
            session.execute(delete(ChunkRow).where(ChunkRow.id.in_([id_ for id_, _ in rows])))
            needed = exists().where(ChunkRow.embedding_key == Embedding.key)
            unused = delete(Embedding).where(Embedding.key.in_({key for _, key in rows}), ~needed)
            gone = len(session.scalars(unused.returning(Embedding.key)).all())
            if document_id is not None:
                counts = {"chunks": len(rows), "embeddings": gone}
                forgetting.count(session, held, document_id, counts)
        removed["embeddings"] += gone
        removed["chunks"] += len(rows)


def points_of(generation_id: str) -> str:
    """Under which name a generation's removed points are counted."""
    return f"points of {generation_id}"


def _erase_points(tools: Tools, held: Claim, document_id: str, generations: Iterable[str]) -> None:
    for generation_id in generations:
        points = _remove_points(tools, generation_id, document_id)
        with tools.db.begin() as session:
            forgetting.count(session, held, document_id, {points_of(generation_id): points})


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


def _erase_rows(tools: Tools, session: Session, traces: Traces) -> dict[str, int]:
    grace = None if tools.settings.standalone else timedelta(seconds=tools.settings.qdrant_timeout)
    inside = families.hold(session, [traces.document_id])  # what came in beside the delete
    removal.remove(session, [each for each in inside if each.parent_id == traces.document_id], grace=grace)
    counts = withdrawal.withdraw(session, [traces.document_id])[traces.document_id]
    versions = session.scalars(select(Version).where(Version.document_id == traces.document_id)).all()
    ids = [version.id for version in versions]
    session.execute(delete(Indexing).where(Indexing.version_id.in_(ids)))
    session.execute(delete(RecognisedRow).where(RecognisedRow.version_id.in_(ids)))
    session.execute(delete(Version).where(Version.id.in_(ids)))
    attached = session.scalars(
        select(AttachmentRow.parse_key).where(AttachmentRow.parse_key.in_(traces.texts))
    ).all()
    families.forget(session, traces.document_id)
    gone = {key for key in sorted(traces.texts) if strays.forget_text(session, key)}
    session.execute(
        update(Document)
        .where(Document.id == traces.document_id)
        .values(name="", identity=traces.document_id, external_id=None, meta={}, current_version_id=None)
    )
    return counts | {
        "versions": len(ids),
        "receipts": sum(bool(version.receipt) for version in versions),
        "texts": len(gone),
        "attachments": sum(key in gone for key in attached),
        "fit_questions": fits.forget_questions(session, traces.document_id),
        "saved_replies": replies.withdraw(session, {traces.document_id, *traces.uploads}),
    }


def _erase_stray_bytes(tools: Tools, traces: Traces) -> int:
    """Remove copies of the document's bytes that no row knows, so that nothing would ever look for them."""
    stray = []
    for digest in sorted(traces.contents):
        listed = list(
            tools.blobs.keys(f"{digest[:2]}/{digest}")
        )  # before the rows: a new one is written before its bytes
        with tools.db.read() as session:
            known = forgetting.blob_keys(session, traces)
        stray += [key for key in listed if key not in known]
    for key in stray:
        tools.blobs.delete(key)
    return len(stray)
