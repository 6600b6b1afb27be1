"""Versions: listed, read, restored, described otherwise, and superseded.

Passages of superseded ones are kept for readers of the past for the retention time, their text for good.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.orm import Session

from ibid import access, documents, jobs, uploads, writing
from ibid.clock import now
from ibid.db.tables import ChunkRow, Document, Indexing, Job, Parse, Version
from ibid.errors import Conflict
from ibid.types import TERMINAL, JobKind, JobState, Json, ReadBy, Scope
from ibid.uploads import Kept

AT_ONCE = 100


class TextNotReady(Conflict):
    """The version has no canonical text: it is still being read, or could not be."""

    code = "text_not_ready"
    retryable = True


def listing(session: Session, scope: Scope, document_id: str) -> list[Version]:
    """All versions of a visible document, newest first."""
    document = access.document(session, scope, document_id)
    return list(
        session.scalars(
            select(Version).where(Version.document_id == document.id).order_by(Version.number.desc())
        )
    )


def text(session: Session, scope: Scope, document_id: str, number: int) -> str:
    """The canonical text of a version, or `TextNotReady`."""
    _, version = access.version(session, scope, document_id, number)
    found = session.get(Parse, version.parse_key) if version.parse_key else None
    if found is None:
        raise TextNotReady(
            f"Version {number} has no text yet. GET /v1/jobs/{version.job_id} tells how far it is."
        )
    return found.text


def expire(session: Session, *, kept: timedelta) -> int:
    """Queue the removal of passages of versions that were superseded long enough ago; gives how many versions."""
    stored = exists().where(Indexing.version_id == Version.id)
    cut = exists().where(ChunkRow.version_id == Version.id)  # they go last
    return len(_clear(session, Version.live_to < now() - kept, or_(stored, cut)))


def clear_cancelled(session: Session) -> int:
    """Queue the removal of passages of versions whose job was cancelled half way; gives how many versions.

    Those of a failed one wait for another try, or for a repair.
    """
    cancelled = exists().where(Job.id == Version.job_id, Job.state == JobState.CANCELLED)
    cut = exists().where(ChunkRow.version_id == Version.id)
    return len(_clear(session, Version.live_from.is_(None), cancelled, cut))


def clear_given_up(session: Session, chunk_ids: Sequence[str]) -> set[str]:
    """Queue the removal of passages of those versions with these chunks that were given up; gives their ids."""
    cut = exists().where(ChunkRow.version_id == Version.id, ChunkRow.id.in_(chunk_ids))
    _clear(session, given_up(), cut)
    return set(session.scalars(select(Version.id).where(given_up(), cut)))


def clear_late(session: Session, version_id: str) -> None:
    """Queue the removal of what a late writer may have left of a version, if that was given up: also beside another one."""
    owner = (
        select(Document)
        .join(Version, Version.document_id == Document.id)
        .where(Version.id == version_id, given_up(), Document.deleted_at.is_(None))
    )
    if (found := session.scalar(owner)) is not None:
        jobs.enqueue(session, JobKind.PURGE, found.collection_id, document_id=found.id, version_id=version_id)


def given_up() -> ColumnElement[bool]:
    """Predicate on `Version`: nobody ever saw it, and its job has ended. One that is being read or reindexed is not."""
    ended = exists().where(Job.id == Version.job_id, Job.state.in_(TERMINAL))
    return and_(Version.live_from.is_(None), ended)


def is_being_cleared(session: Session, version_id: str | None) -> bool:
    """Whether a worker is removing the version's passages, or one whose attempt is over may yet be removing points."""
    clearing = select(Job.id).where(
        Job.version_id == version_id, Job.kind == JobKind.PURGE, Job.state == JobState.RUNNING
    )
    if session.scalar(clearing.limit(1)) is not None:
        return True
    return version_id is not None and writing.under_way(session, version_id)


def _clear(session: Session, *those: ColumnElement[bool]) -> set[str]:
    under_way = exists().where(
        Job.version_id == Version.id,
        Job.kind == JobKind.PURGE,
        Job.state.in_([JobState.QUEUED, JobState.RUNNING]),
    )
    found = session.execute(
        select(Version.id, Document.id, Document.collection_id)
        .join(Document, Document.id == Version.document_id)
        .where(Document.deleted_at.is_(None), *those, ~under_way)
        .limit(AT_ONCE)
    ).all()
    for version_id, document_id, collection_id in found:
        jobs.enqueue(session, JobKind.PURGE, collection_id, document_id=document_id, version_id=version_id)
    return {version_id for version_id, _, _ in found}


def describe(
    session: Session,
    scope: Scope,
    document_id: str,
    *,
    metadata: Mapping[str, Json] | None,
    grants: Sequence[str] | None,
) -> Document:
    """Give the document other metadata or another access list; None leaves what it has. Nothing is embedded for it.

    It holds for readers at once, and is brought to the points by the newest version's job.
    """
    document = documents.locked(session, scope, document_id)
    described = documents.redescribe(session, document, metadata, grants)
    if described.anything:
        document.updated_at = now()
    if described.points:
        documents.again(session, document, documents.existing(session, document.id), described)
    return document


def recognise(session: Session, version: Version) -> Version | None:
    """Add the version that has the same bytes read by OCR; None if that is done, or there is newer content.

    A version of its own, since what was cited stays as it was cited: `docs/decisions/0009-ocr.md`.
    """
    kept = Kept(version.blob_id, version.sha256, version.size)
    uploads.refer(session, kept)  # bytes are locked before documents, as by an upload
    living = select(Document).where(Document.id == version.document_id, Document.deleted_at.is_(None))
    document = session.scalar(living.with_for_update().execution_options(populate_existing=True))
    if document is None or documents.existing(session, document.id).id != version.id:
        return None
    upload = documents.Upload(version.filename, version.media_type, kept)
    return documents.add_version(session, document, upload, version.number + 1, ReadBy.OCR)


def restore(session: Session, scope: Scope, document_id: str, number: int) -> documents.Accepted:
    """Make the content of an older version the newest one's again, as a version of its own: history stays as it was.

    Its text, chunks and vectors are those that were made before. Nothing changes where the newest has this content.
    """
    _, old = access.version(session, scope, document_id, number)
    kept = Kept(old.blob_id, old.sha256, old.size)
    uploads.refer(session, kept)  # bytes are locked before documents, as by an upload
    document = documents.locked(session, scope, document_id)
    newest = documents.existing(session, document.id)
    less = (old.read_by, newest.read_by) == (ReadBy.OCR, ReadBy.TEXT)
    if (newest.sha256, newest.filename) == (old.sha256, old.filename) and not less:
        return documents.again(session, document, newest, documents.Described(points=False, anything=False))
    upload = documents.Upload(old.filename, old.media_type, kept)
    read_by = ReadBy(old.read_by)
    version = documents.add_version(session, document, upload, newest.number + 1, read_by)
    if old.parse_key and session.get(Parse, old.parse_key, with_for_update={"read": True}) is not None:
        version.parse_key = old.parse_key
    return documents.Accepted(document.id, document.name, version.number, version.job_id, "updated")
