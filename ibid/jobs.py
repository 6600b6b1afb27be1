"""Jobs as people know them: queued, looked at, cancelled and tried again. How workers hold them is in `claims`."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Subquery, and_, func, or_, select, true
from sqlalchemy.orm import Session

from ibid import access, holders, lifecycle, logs, outbox
from ibid.clock import new_id, now
from ibid.db.session import moment
from ibid.db.tables import Arrival, Collection, Document, Job, Version
from ibid.errors import Conflict, NotFound
from ibid.types import TERMINAL, JobKind, JobState, Scope

RETRIED_AT_ONCE: Final = 1000
STARTED_ANEW: Final = {JobKind.REINDEX: "reindexes", JobKind.FIT: "fits"}
"""Kinds that are not tried again once they have ended, and where another one is begun."""
KILLS: Final = "parser_kills"
"""The statistic of a job under way that says how often its parser was killed, most likely from outside."""
NOBODY: Final = Scope(key_id="", role="reader", collections=frozenset())


class JobNotFound(NotFound):
    """No job of this id is visible to the asker."""

    code = "job_not_found"


class JobEnded(Conflict):
    """The job has ended, so it cannot be cancelled."""

    code = "job_ended"


class AlreadyLive(Conflict):
    """Readers have what the job has read, so it is too late to cancel it."""

    code = "already_live"


class JobNotRetryable(Conflict):
    """Only a failed or cancelled job whose document still exists can be tried again."""

    code = "job_not_retryable"


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as people see it; `state` is `stalled` when a running job's lease has expired.

    `queue_position` counts from 1 in the order in which jobs are claimed, in which collections take turns. `failures`
    are the attempts that count against its document.
    """

    id: str
    kind: str
    state: JobState
    stage: str
    collection_id: str
    document_id: str | None
    progress: dict[str, Any]
    attempt: int
    failures: int
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
    job = Job(
        id=new_id("job"),
        kind=kind,
        state=JobState.QUEUED,
        stage="",
        collection_id=collection_id,
        document_id=document_id,
        version_id=version_id,
        generation_id=generation_id,
        not_before=not_before or moment(session),
        request_id=logs.current_request(),
        statistics={},
        created_at=now(),
    )
    session.add(job)
    session.flush()
    session.info["work"] = True
    return job


def get(session: Session, scope: Scope, job_id: str) -> Job:
    """The job, if the asker may see its collection and document (an admin for nobody: every job)."""
    job = session.scalar(select(Job).where(Job.id == job_id, visible(scope)))
    if job is None:
        raise JobNotFound(f"There is no job {job_id!r}.")
    return job


@dataclass(frozen=True, slots=True)
class Those:
    """Which jobs: all that meet what is given. The dead letters are those whose state is `failed`."""

    state: JobState | None = None
    collection: str | None = None
    kind: JobKind | None = None
    error_code: str | None = None

    def rules(self, session: Session, scope: Scope) -> list[ColumnElement[bool]]:
        """Predicates on `Job`; raises `CollectionNotFound` as any other look at a collection does."""
        rules = [visible(scope)]
        if self.state is JobState.STALLED:
            rules += [Job.state == JobState.RUNNING, Job.lease_until < moment(session)]
        elif self.state is not None:
            rules.append(Job.state == self.state)
        if self.collection is not None:
            rules.append(Job.collection_id == access.collection(session, scope, self.collection).id)
        if self.kind is not None:
            rules.append(Job.kind == self.kind)
        if self.error_code is not None:
            rules.append(Job.error_code == self.error_code)
        return rules


def listing(session: Session, scope: Scope, those: Those, *, after: str | None, limit: int) -> list[Job]:
    """Newest first, those the asker may see."""
    query = select(Job).where(*those.rules(session, scope)).order_by(Job.id.desc()).limit(limit)
    if after:
        query = query.where(Job.id < after)
    return list(session.scalars(query))


def moving(session: Session, scope: Scope, collection_ids: Iterable[str], since: datetime) -> list[Job]:
    """Those of the collections' jobs that have not ended, and then those that ended since, in the order they did."""
    here = (Job.collection_id.in_(list(collection_ids)), visible(scope))
    waiting = select(Job).where(*here, Job.state.in_([JobState.QUEUED, JobState.RUNNING])).order_by(Job.id)
    ended = select(Job).where(*here, Job.finished_at >= since).order_by(Job.finished_at, Job.id)
    return [*session.scalars(waiting), *session.scalars(ended)]


def several(session: Session, scope: Scope, ids: Sequence[str]) -> list[Job]:
    """Those of the jobs that the asker may see, in the order of the ids."""
    found = {job.id: job for job in session.scalars(select(Job).where(Job.id.in_(ids), visible(scope)))}
    return [found[id_] for id_ in ids if id_ in found]


def cancel(session: Session, scope: Scope, job_id: str) -> Job:
    """Cancel at once when queued, at the next step when running; raises `AlreadyLive` once readers have the version."""
    get(session, scope, job_id)
    job = session.scalars(select(Job).where(Job.id == job_id).with_for_update()).one()
    if job.state in TERMINAL:
        raise JobEnded(f"Job {job_id} has already ended as {job.state}.")
    if job.kind == JobKind.PURGE:
        raise JobEnded("A deletion cannot be cancelled: its document is already gone for readers.")
    if job.kind == JobKind.INGEST and session.scalar(_live_from(job.version_id)) is not None:
        raise AlreadyLive(
            "Readers have this version already. Delete the document, or restore the version before it."
        )
    job.cancel_requested = True
    job.revision += 1
    if job.state == JobState.QUEUED:  # a running one ends at its next step
        end(session, job, JobState.CANCELLED)
    return job


def retry_failed(session: Session, scope: Scope, those: Those, *, limit: int = RETRIED_AT_ONCE) -> list[str]:
    """Queue failed jobs again, the oldest first; gives the ids of those that could be."""
    failed = replace(those, state=JobState.FAILED)
    rules = [*failed.rules(session, scope), Job.kind.not_in(STARTED_ANEW)]
    wanted = session.execute(
        select(Job.id, Job.document_id).where(*rules).order_by(Job.id).limit(limit)
    ).all()
    # All documents before all jobs, by id, as everywhere.
    owners = select(Document.id).where(Document.id.in_({document_id for _, document_id in wanted}))
    session.execute(owners.order_by(Document.id).with_for_update(read=True)).all()
    theirs = select(Job.id).where(Job.id.in_([job_id for job_id, _ in wanted])).order_by(Job.id)
    session.execute(theirs.with_for_update()).all()
    retried = []
    for job_id, _ in wanted:
        with suppress(JobNotRetryable):  # its document was deleted, or somebody else was quicker
            retried.append(retry(session, scope, job_id).id)
    return retried


def retry(session: Session, scope: Scope, job_id: str) -> Job:
    """Queue a failed or cancelled job again, with its count of failures forgotten.

    Also one that read its document without the pictures in it: they are read if OCR was installed since.
    """
    seen = get(session, scope, job_id)
    # Locked before the job, as everywhere: a deletion beside this either waits, or is seen here.
    owner = select(Document).where(Document.id == seen.document_id).with_for_update(read=True)
    document = session.scalar(owner.execution_options(populate_existing=True))
    job = session.scalars(
        select(Job).where(Job.id == job_id).with_for_update().execution_options(populate_existing=True)
    ).one()
    deleted = document is not None and document.deleted_at is not None
    again = job.state in {JobState.FAILED, JobState.CANCELLED} or _left_pictures(session, job)
    if not again or (deleted and job.kind != JobKind.PURGE):
        raise JobNotRetryable(
            f"Job {job_id} is {job.state}; only failed or cancelled jobs are tried again, and those that left pictures "
            "unread in what is still the newest version."
        )
    if job.kind in STARTED_ANEW:
        raise JobNotRetryable(
            f"A {job.kind} that ended is started anew: POST /v1/collections/{{c}}/{STARTED_ANEW[JobKind(job.kind)]}."
        )
    if job.kind in {JobKind.UNPACK, JobKind.FETCH}:
        arrival = session.get_one(Arrival, job.id)
        if arrival.blob_id is None and arrival.url is None:
            raise JobNotRetryable("What this job was to bring in is no longer kept. Send it again.")
    requeue(session, job)
    return job


def _left_pictures(session: Session, job: Job) -> bool:
    """Whether pages wait to be recognised in the job's version, and it is the document's newest."""
    if job.state != JobState.PARTIALLY_SUCCEEDED or job.kind != JobKind.INGEST:
        return False
    version = session.scalar(select(Version).where(Version.id == job.version_id))
    if version is None or not version.receipt.get("pages", {}).get("waiting"):
        return False
    newer = select(Version.id).where(
        Version.document_id == version.document_id, Version.number > version.number
    )
    return session.scalar(newer.limit(1)) is None


def requeue(session: Session, job: Job) -> None:
    """Make an ended job wait again."""
    lifecycle.move(job, JobState.QUEUED)
    job.failures, job.alone, job.cancel_requested, job.retryable = 0, False, False, False
    job.statistics = without_kills(job.statistics)
    job.error_code = job.error_message = job.finished_at = job.lease_until = None
    job.not_before = moment(session)
    job.request_id = logs.current_request() or job.request_id
    session.info["work"] = True


def without_kills(statistics: dict[str, Any]) -> dict[str, Any]:
    """The statistics of a job that starts afresh: how often its parser was killed is forgotten."""
    return {name: value for name, value in statistics.items() if name != KILLS}


def _live_from(version_id: str | None) -> Select[datetime | None]:
    return select(Version.live_from).where(Version.id == version_id)


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
    return max(leases, default=None)


def view(session: Session, job: Job, scope: Scope = NOBODY) -> JobView:
    """The job as the asker sees it."""
    return views(session, [job], scope)[0]


def views(
    session: Session, jobs: Sequence[Job], scope: Scope = NOBODY, *, placed: bool = True
) -> list[JobView]:
    """The jobs as the asker sees them; their places in the queue have to be counted, and may be left out.

    What a certificate names beside its own document is named to those who may see it.
    """
    queued = [job.id for job in jobs if placed and job.state == JobState.QUEUED]
    positions = _positions(session, queued)
    statistics = holders.shown(session, scope, [job.statistics for job in jobs])
    return [
        replace(_view(job, positions.get(job.id)), statistics=told)
        for job, told in zip(jobs, statistics, strict=True)
    ]


def turns() -> Subquery:
    """Queued jobs with their `turn`: each collection's n-th waiting job counts as its n-th after those it has running."""
    running = (
        select(Job.collection_id, func.count().label("n"))
        .where(Job.state == JobState.RUNNING)
        .group_by(Job.collection_id)
        .subquery()
    )
    # By the moment they are due: one that is tried again does not come first whenever a worker starts.
    turn = func.row_number().over(partition_by=Job.collection_id, order_by=(Job.not_before, Job.id))
    return (
        select(Job.id, Job.not_before, (turn + func.coalesce(running.c.n, 0)).label("turn"))
        .outerjoin(running, running.c.collection_id == Job.collection_id)
        .where(Job.state == JobState.QUEUED)
        .subquery()
    )


def _positions(session: Session, ids: Sequence[str]) -> dict[str, int]:
    """How many jobs will be claimed before each of these, and itself."""
    if not ids:
        return {}
    line = turns()
    place = func.row_number().over(order_by=(line.c.turn, line.c.id))
    placed = select(line.c.id, place.label("place")).subquery()
    found = session.execute(select(placed.c.id, placed.c.place).where(placed.c.id.in_(ids)))
    return {row.id: row.place for row in found}


def _view(job: Job, position: int | None) -> JobView:
    error = {"code": job.error_code, "message": job.error_message, "retryable": job.retryable}
    return JobView(
        id=job.id,
        kind=job.kind,
        state=shown(job),
        stage=job.stage,
        collection_id=job.collection_id,
        document_id=job.document_id,
        progress={"done": job.progress_done, "total": job.progress_total, "unit": job.progress_unit},
        attempt=job.attempt,
        failures=job.failures,
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
    lifecycle.move(job, state)
    job.lease_until, job.finished_at = None, now()
    outbox.announce_job(session, job)


def visible(scope: Scope) -> ColumnElement[bool]:
    """Predicate on `Job`: its document, or else its collection, is visible; for a deletion, was within reach."""
    if scope.principals is None and scope.collections is None:
        return true()
    deletion = Job.kind == JobKind.PURGE
    rules = (
        (~deletion, access.sees_document(scope), access.sees_collection(scope)),
        (deletion, access.reaches_document(scope), access.reaches_collection(scope)),
    )
    about = or_(*(and_(kind, _of(document, collection)) for kind, document, collection in rules))
    return and_(access.sees_arrival(scope), about)


def _of(document: ColumnElement[bool], collection: ColumnElement[bool]) -> ColumnElement[bool]:
    """Predicate on `Job`: what it is about meets the predicate on documents or, without one, that on collections."""
    documents = select(Document.id).join(Collection, Collection.id == Document.collection_id).where(document)
    collections = select(Collection.id).where(collection)
    return or_(
        Job.document_id.in_(documents),
        and_(Job.document_id.is_(None), Job.collection_id.in_(collections)),
    )
