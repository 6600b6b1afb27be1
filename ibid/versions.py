"""Superseded versions: their passages are kept for readers of the past for the retention time, their text for good."""

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from ibid import jobs
from ibid.clock import now
from ibid.db.tables import Document, Indexing, Job, Version
from ibid.types import JobKind, JobState

AT_ONCE = 100


def expire(session: Session, *, kept: timedelta) -> int:
    """Queue the removal of passages of versions that were superseded long enough ago; gives how many versions."""
    stored = select(Indexing.version_id).where(Indexing.version_id == Version.id)
    under_way = select(Job.id).where(
        Job.version_id == Version.id,
        Job.kind == JobKind.PURGE,
        Job.state.in_([JobState.QUEUED, JobState.RUNNING]),
    )
    old = session.execute(
        select(Version.id, Document.id, Document.collection_id)
        .join(Document, Document.id == Version.document_id)
        .where(Version.live_to < now() - kept, stored.exists(), ~under_way.exists())
        .limit(AT_ONCE)
    ).all()
    for version_id, document_id, collection_id in old:
        jobs.enqueue(session, JobKind.PURGE, collection_id, document_id=document_id, version_id=version_id)
    return len(old)
