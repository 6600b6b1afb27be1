"""Jobs as people know them: queued, looked at, cancelled and tried again. How workers hold them is in `claims`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, true
from sqlalchemy.orm import Session

from ibid import access, logs, outbox
from ibid.clock import new_id, now
from ibid.db.tables import Collection, Document, Job
from ibid.errors import Conflict, NotFound
from ibid.types import TERMINAL, JobKind, JobState, Scope


class JobNotFound(NotFound):
    """No job of this id is visible to the asker."""

    code = "job_not_found"


class JobEnded(Conflict):
    """The job has ended, so it cannot be cancelled."""

    code = "job_ended"


class JobNotRetryable(Conflict):
    """Only a failed or cancelled job whose document still exists can be tried again."""

    code = "job_not_retryable"


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as people see it; `state` is `stalled` when a running job's lease has expired."""

    id: str
    kind: str
    state: JobState
    stage: str
    collection_id: str
    document_id: str | None
    progress: dict[str, Any]
    attempt: int
    queue_position: int | None
    worker: str
    heartbeat_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: dict[str, Any] | None
    statistics: dict[str, Any]
    request_id: str | None
    revision: int


def enqueue(
    session: Session,
    kind: JobKind,
    collection_id: str,
    *,
    document_id: str | None = None,
    version_id: str | None = None,
    generation_id: str | None = None,
    not_before: datetime | None = None,
) -> Job:
    """A queued job; workers are nudged once the session's transaction has been committed."""
    moment = now()
    job = Job(
        id=new_id("job"),
        kind=kind,
        state=JobState.QUEUED,
        stage="",
        collection_id=collection_id,
        document_id=document_id,
        version_id=version_id,
        generation_id=generation_id,
        not_before=not_before or moment,
        request_id=logs.current_request(),
        statistics={},
        created_at=moment,
    )
    session.add(job)
    session.flush()
    session.info["work"] = True
    return job


def being_read(session: Session, scope: Scope, collection_id: str) -> int:
    """How many documents of the collection that the asker may see wait to be read or are being read."""
    under_way = select(func.count()).where(
        Job.collection_id == collection_id,
        Job.kind == JobKind.INGEST,
        Job.state.in_([JobState.QUEUED, JobState.RUNNING]),
        _visible(scope),
    )
    return session.scalar(under_way) or 0


def get(session: Session, scope: Scope, job_id: str) -> Job:
    """The job, if the asker may see its collection and document (an admin for nobody: every job)."""
    job = session.scalar(select(Job).where(Job.id == job_id, _visible(scope)))
    if job is None:
        raise JobNotFound(f"There is no job {job_id!r}.")
    return job


def listing(session: Session, scope: Scope, *, state: str | None, after: str | None, limit: int) -> list[Job]:
    """Newest first, those the asker may see."""
    query = select(Job).where(_visible(scope)).order_by(Job.id.desc()).limit(limit)
    if state:
        query = query.where(Job.state == state)
    if after:
        query = query.where(Job.id < after)
    return list(session.scalars(query))


def moving(session: Session, scope: Scope, collection_ids: Iterable[str], since: datetime) -> list[Job]:
    """Those of the collections' jobs that have not ended, and then those that ended since, in the order they did."""
    here = (Job.collection_id.in_(list(collection_ids)), _visible(scope))
    waiting = select(Job).where(*here, Job.state.in_([JobState.QUEUED, JobState.RUNNING])).order_by(Job.id)
    ended = select(Job).where(*here, Job.finished_at >= since).order_by(Job.finished_at, Job.id)
    return [*session.scalars(waiting), *session.scalars(ended)]


def several(session: Session, scope: Scope, ids: Sequence[str]) -> list[Job]:
    """Those of the jobs that the asker may see, in the order of the ids."""
    found = {job.id: job for job in session.scalars(select(Job).where(Job.id.in_(ids), _visible(scope)))}
    return [found[id_] for id_ in ids if id_ in found]


def cancel(session: Session, scope: Scope, job_id: str) -> Job:
    """Cancel at once when queued, at the next step when running."""
    get(session, scope, job_id)
    job = session.scalars(select(Job).where(Job.id == job_id).with_for_update()).one()
    if job.state in TERMINAL:
        raise JobEnded(f"Job {job_id} has already ended as {job.state}.")
    if job.kind == JobKind.PURGE:
        raise JobEnded("A deletion cannot be cancelled: its document is already gone for readers.")
    job.cancel_requested = True
    job.revision += 1
    if job.state == JobState.QUEUED:
        end(session, job, JobState.CANCELLED)
    return job


def retry(session: Session, scope: Scope, job_id: str) -> Job:
    """Queue a failed or cancelled job again, with its count of failures forgotten."""
    seen = get(session, scope, job_id)
    # Locked before the job, as everywhere: a deletion beside this either waits, or is seen here.
    owner = select(Document).where(Document.id == seen.document_id).with_for_update(read=True)
    document = session.scalar(owner.execution_options(populate_existing=True))
    job = session.scalars(
        select(Job).where(Job.id == job_id).with_for_update().execution_options(populate_existing=True)
    ).one()
    deleted = document is not None and document.deleted_at is not None
    if job.state not in {JobState.FAILED, JobState.CANCELLED} or (deleted and job.kind != JobKind.PURGE):
        raise JobNotRetryable(f"Job {job_id} is {job.state}; only failed or cancelled jobs are tried again.")
    if job.kind == JobKind.REINDEX:
        raise JobNotRetryable("A reindex that ended is started anew: POST /v1/collections/{c}/reindexes.")
    requeue(session, job)
    return job


def requeue(session: Session, job: Job) -> None:
    """Make an ended job wait again."""
    job.state, job.failures, job.alone, job.cancel_requested = JobState.QUEUED, 0, False, False
    job.error_code = job.error_message = job.finished_at = job.lease_until = None
    job.retryable = False
    job.request_id = logs.current_request() or job.request_id
    job.not_before = now()
    job.revision += 1
    session.info["work"] = True


def cancel_for(session: Session, *, collection_id: str, document_id: str | None = None) -> datetime | None:
    """End all ingests of a document or a whole collection; gives when the last running lease will have ended."""
    jobs = select(Job).where(
        Job.collection_id == collection_id,
        Job.kind != JobKind.PURGE,
        Job.state.in_([JobState.QUEUED, JobState.RUNNING]),
    )
    if document_id is not None:
        jobs = jobs.where(Job.document_id == document_id)
    leases = []
    for job in session.scalars(jobs.order_by(Job.id).with_for_update()):
        if job.lease_until is not None:
            leases.append(job.lease_until)
        end(session, job, JobState.CANCELLED)
        job.revision += 1
    return max(leases, default=None)


def view(session: Session, job: Job, *, place: bool = True) -> JobView:
    """The job as people see it; its place in the queue has to be counted, and may be left out."""
    state = shown(job)
    position = None
    if place and state == JobState.QUEUED:
        ahead = select(func.count()).where(Job.state == JobState.QUEUED, Job.id < job.id)
        position = (session.scalar(ahead) or 0) + 1
    error = {"code": job.error_code, "message": job.error_message, "retryable": job.retryable}
    return JobView(
        id=job.id,
        kind=job.kind,
        state=state,
        stage=job.stage,
        collection_id=job.collection_id,
        document_id=job.document_id,
        progress={"done": job.progress_done, "total": job.progress_total, "unit": job.progress_unit},
        attempt=job.attempt,
        queue_position=position,
        worker=job.worker,
        heartbeat_at=job.heartbeat_at,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        error=error if job.error_code else None,
        statistics=job.statistics,
        request_id=job.request_id,
        revision=job.revision,
    )


def shown(job: Job) -> JobState:
    """`stalled` for a running job whose lease has expired; else its state."""
    if job.state == JobState.RUNNING and job.lease_until is not None and job.lease_until < now():
        return JobState.STALLED
    return JobState(job.state)


def end(session: Session, job: Job, state: JobState) -> None:
    """Put the job into a terminal state, and tell of it; its lease is over. Why it failed is set before."""
    job.state, job.lease_until, job.finished_at = state, None, now()
    job.revision += 1
    outbox.announce_job(session, job)


def _visible(scope: Scope) -> ColumnElement[bool]:
    """Predicate on `Job`: its document, or else its collection, is visible; for a deletion, was within reach."""
    if scope.principals is None and scope.collections is None:
        return true()
    deletion = Job.kind == JobKind.PURGE
    rules = (
        (~deletion, access.sees_document(scope), access.sees_collection(scope)),
        (deletion, access.reaches_document(scope), access.reaches_collection(scope)),
    )
    return or_(*(and_(kind, _of(document, collection)) for kind, document, collection in rules))


def _of(document: ColumnElement[bool], collection: ColumnElement[bool]) -> ColumnElement[bool]:
    """Predicate on `Job`: what it is about meets the predicate on documents or, without one, that on collections."""
    documents = select(Document.id).join(Collection, Collection.id == Document.collection_id).where(document)
    collections = select(Collection.id).where(collection)
    return or_(
        Job.document_id.in_(documents),
        and_(Job.document_id.is_(None), Job.collection_id.in_(collections)),
    )
