"""The job queue as workers know it: claims with a lease and an attempt number that fences late writers.

A job is claimed under a lease, kept by heartbeats, and ends in a terminal state. Whoever holds a claim passes it to
every write; a write whose attempt is over raises `LeaseLost` and changes nothing. A message on a broker only says
that it is worth looking here.
"""

import random
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate
from typing import Any, Final, cast

from sqlalchemy import ColumnElement, CursorResult, and_, select, update
from sqlalchemy.orm import Session

from ibid import lifecycle, outbox
from ibid.clock import now
from ibid.db.session import moment
from ibid.db.tables import Job, Version
from ibid.errors import Conflict
from ibid.jobs import KILLS, end, turns, without_kills
from ibid.types import JobKind, JobState

TOGETHER: Final = 128 * 1024
"""Bytes of the files that are claimed together."""


class LeaseLost(Conflict):
    """The attempt is over: the lease expired, the job was cancelled, or another worker has it."""

    code = "lease_lost"


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on a job, as long as `attempt` is the job's current one.

    `alone`: nothing else is in hand in this process. `suspect`: nothing else may be.
    """

    id: str
    kind: JobKind
    attempt: int
    collection_id: str
    document_id: str | None
    version_id: str | None
    generation_id: str | None
    request_id: str | None = None
    alone: bool = False
    suspect: bool = False


def claim(
    session: Session, worker: str, *, lease: timedelta, limit: int, beside: bool = False
) -> list[Claim]:
    """Claim waiting jobs, fairest collection first: up to `limit` small ingests together, anything else alone.

    `beside` others that the process has in hand, none is alone: those that must be are left for later.
    """
    ids = _candidates(session, limit)
    if not ids:
        return []
    waiting = (
        select(Job).where(Job.id.in_(ids), Job.state == JobState.QUEUED).with_for_update(skip_locked=True)
    )
    rows = {job.id: job for job in session.scalars(waiting)}
    ordered = [rows[id_] for id_ in ids if id_ in rows]
    sharing = _batch(ordered, beside=beside)
    batch = _small(session, sharing)
    at = moment(session)
    suspects = {job.id for job in batch if job.alone}
    for job in batch:
        lifecycle.move(job, JobState.RUNNING)
        job.worker, job.attempt = worker, job.attempt + 1
        job.started_at = job.started_at or at
        job.heartbeat_at, job.lease_until = at, at + lease
        job.alone = len(sharing) == 1 and not beside
        job.error_code = job.error_message = None
    return [
        Claim(
            j.id,
            JobKind(j.kind),
            j.attempt,
            j.collection_id,
            j.document_id,
            j.version_id,
            j.generation_id,
            j.request_id,
            j.alone,
            j.id in suspects,
        )
        for j in batch
    ]


def _candidates(session: Session, limit: int) -> list[str]:
    """Ids of due jobs, in the order of their turns."""
    line = turns()
    due = select(line.c.id).where(line.c.not_before <= moment(session))
    return list(session.scalars(due.order_by(line.c.turn, line.c.id).limit(limit)))


def _batch(ordered: Sequence[Job], *, beside: bool) -> list[Job]:
    """The first job alone if it must be; else the ingests that may share a batch with it."""
    if not ordered:
        return []
    first = ordered[0]
    if first.alone or first.kind != JobKind.INGEST:
        return [] if beside else [first]
    return [job for job in ordered if job.kind == JobKind.INGEST and not job.alone]


def _small(session: Session, sharing: list[Job]) -> list[Job]:
    """The first of them whose files are small together, and at least one.

    A large one fills the encoder by itself: the next is read beside it, and it is found as soon as it is stored.
    """
    if len(sharing) < 2:
        return sharing
    read = select(Version.id, Version.size).where(Version.id.in_([job.version_id for job in sharing]))
    sizes = {row.id: row.size for row in session.execute(read)}
    totals = accumulate(sizes.get(job.version_id, 0) for job in sharing)
    return [job for job, total in zip(sharing, totals, strict=True) if total <= TOGETHER] or sharing[:1]


def heartbeat(session: Session, claims: Sequence[Claim], *, lease: timedelta) -> set[str]:
    """Renew the leases of claims still held; gives the ids of those that are lost or to be cancelled."""
    at = moment(session)
    over = set()
    for held in sorted(claims, key=lambda claim: claim.id):  # one order for all who lock several jobs
        renewed = _fenced(session, held, {"heartbeat_at": at, "lease_until": at + lease})
        if not renewed or session.scalar(select(Job.cancel_requested).where(Job.id == held.id)):
            over.add(held.id)
    return over


def check(session: Session, held: Claim) -> Job:
    """The claim's job, locked until the transaction ends; raises `LeaseLost` if the attempt is over or cancelled."""
    job = session.scalar(
        select(Job)
        .where(_holds(held), Job.cancel_requested.is_(False))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if job is None:
        raise LeaseLost(f"Attempt {held.attempt} of job {held.id} is over; its work is dropped.")
    return job


def may_write(session: Session, job_id: str, attempt: int) -> bool:
    """Whether this attempt is the job's current one and not cancelled: what a store's owner asks before it writes."""
    current = select(Job.id).where(
        Job.id == job_id,
        Job.attempt == attempt,
        Job.state == JobState.RUNNING,
        Job.cancel_requested.is_(False),
    )
    return session.scalar(current) is not None


def progress(session: Session, held: Claim, stage: str, done: int = 0, total: int = 0, unit: str = "") -> Job:
    """Say how far the job is. Progress proves that earlier lost attempts were not its own fault."""
    job = check(session, held)
    if job.kind in {JobKind.REINDEX, JobKind.UNPACK} and done > job.progress_done:
        job.failures = 0
    job.stage, job.progress_done, job.progress_total, job.progress_unit = stage, done, total, unit
    job.revision += 1
    return job


def acquit(session: Session, held: Claim) -> None:
    """Forget lost attempts that were counted against the job: it got further since, so they were not its own fault."""
    job = check(session, held)
    job.failures, job.statistics = 0, without_kills(job.statistics)


def count_kill(session: Session, held: Claim) -> int:
    """Note that somebody killed the process that read the job's document and no other; gives how often, since it got further."""
    job = check(session, held)
    kills = int(job.statistics.get(KILLS, 0)) + 1
    job.statistics = job.statistics | {KILLS: kills}
    return kills


def show(session: Session, claims: Sequence[Claim], stage: str, done: int, total: int, unit: str) -> int:
    """Say how far jobs of a batch are whose work is shared; gives how many of them still go on."""
    values = {"stage": stage, "progress_done": done, "progress_total": total, "progress_unit": unit}
    return sum(
        _fenced(session, held, values | {"revision": Job.revision + 1}, Job.cancel_requested.is_(False))
        for held in sorted(claims, key=lambda claim: claim.id)
    )


def finish(session: Session, held: Claim, state: JobState, statistics: dict[str, Any] | None = None) -> None:
    """End the job well."""
    job = check(session, held)
    end(session, job, state)
    job.statistics = statistics or job.statistics


def fail(session: Session, held: Claim, code: str, message: str, *, retryable: bool) -> None:
    """End the job badly, with a code for programs and a sentence for a person."""
    job = check(session, held)
    job.error_code, job.error_message, job.retryable = code, message, retryable
    end(session, job, JobState.FAILED)


def cancelled(session: Session, held: Claim, *, asked: bool = True) -> bool:
    """End the job as cancelled if the attempt is still ours and, with `asked`, somebody asked for it."""
    rules = (Job.cancel_requested.is_(True),) if asked else ()
    values = lifecycle.moved(JobState.RUNNING, JobState.CANCELLED)
    ended = _fenced(session, held, values | {"lease_until": None, "finished_at": now()}, *rules)
    if ended:
        outbox.announce_job(session, session.get_one(Job, held.id, populate_existing=True))
    return ended


def put_back(
    session: Session,
    held: Claim,
    *,
    wait: timedelta,
    reason: tuple[str, str] | None = None,
    counts: bool = False,
    alone: bool = False,
) -> None:
    """Queue the job again after `wait`, next time `alone` if it is, or was before, under suspicion.

    `counts` says whether this attempt was the document's own fault; `reason` is a code and a sentence.
    """
    job = check(session, held)
    lifecycle.move(job, JobState.QUEUED)
    job.lease_until, job.not_before = None, moment(session) + wait
    job.failures += counts
    job.alone = alone or counts or held.suspect
    job.error_code, job.error_message = reason or (None, None)


def sweep(session: Session, *, max_failures: int) -> int:
    """Take jobs from workers that are gone; gives how many.

    A job that shared a batch is tried again alone and nothing is counted; one that ran alone has a failure counted
    and, after `max_failures`, fails.
    """
    at = moment(session)
    lost = session.scalars(
        select(Job)
        .where(Job.state == JobState.RUNNING, Job.lease_until <= at)
        .with_for_update(skip_locked=True)
    ).all()
    for job in lost:
        job.failures += job.alone
        job.alone = True
        if job.cancel_requested:
            end(session, job, JobState.CANCELLED)
        elif job.failures >= max_failures and job.kind != JobKind.PURGE:  # what is deleted goes, in the end
            job.error_code, job.retryable = "worker_lost", True
            job.error_message = (
                f"The worker died {job.failures} times while it worked on this alone. The document may be too large "
                "or harmful for the machine; try again with more memory, or remove it."
            )
            end(session, job, JobState.FAILED)
        else:
            lifecycle.move(job, JobState.QUEUED)
            job.lease_until, job.not_before = None, at + backoff(job.failures)
            session.info["work"] = True
    return len(lost)


def worker_name(worker: int, process: int) -> str:
    """What a process of a worker of this machine is called in the jobs it has claimed."""
    return f"{socket.gethostname()}:{worker}/{process}"


def release(
    session: Session, worker: int, *, blame: bool, max_failures: int, process: int | None = None
) -> None:
    """Take back what a worker of this machine had that has ended, or one process of a worker.

    `blame` says that its end may have been the fault of what it worked on: then it counts as for any lost worker.
    """
    theirs = Job.worker.startswith(worker_name(worker, 0)[:-1], autoescape=True)
    if process is not None:
        theirs = Job.worker == worker_name(worker, process)
    if not blame:
        hand_back(session, theirs)
    running = _locked(session, Job.state == JobState.RUNNING, theirs)
    session.execute(update(Job).where(Job.id.in_(running)).values(lease_until=moment(session)))
    sweep(session, max_failures=max_failures)


def hand_back(session: Session, *those: ColumnElement[bool]) -> None:
    """Queue running jobs again and count nothing: whoever calls knows that it was no job that ended their workers."""
    waiting = lifecycle.moved(JobState.RUNNING, JobState.QUEUED)
    waiting |= {"lease_until": None, "not_before": moment(session)}
    running = _locked(session, Job.state == JobState.RUNNING, Job.cancel_requested.is_(False), *those)
    session.execute(update(Job).where(Job.id.in_(running)).values(waiting))
    session.info["work"] = True


def _locked(session: Session, *those: ColumnElement[bool]) -> list[str]:
    """Ids of the jobs, which are locked in their order, as everywhere."""
    return list(session.scalars(select(Job.id).where(*those).order_by(Job.id).with_for_update()))


def backoff(failures: int) -> timedelta:
    """Wait before the next attempt: 1, 2, 4 … 60 seconds with up to half of it as jitter; none before the first."""
    if failures == 0:
        return timedelta()
    return timedelta(seconds=min(60.0, 2.0 ** (failures - 1)) * random.uniform(1.0, 1.5))  # noqa: S311 - jitter


def waiting(session: Session) -> bool:
    """Whether a job is due."""
    due = select(Job.id).where(Job.state == JobState.QUEUED, Job.not_before <= moment(session)).limit(1)
    return session.scalar(due) is not None


def _holds(held: Claim) -> ColumnElement[bool]:
    return and_(Job.id == held.id, Job.attempt == held.attempt, Job.state == JobState.RUNNING)


def _fenced(session: Session, held: Claim, values: dict[str, Any], *rules: ColumnElement[bool]) -> bool:
    done = session.execute(update(Job).where(_holds(held), *rules).values(**values))
    return cast("CursorResult[Any]", done).rowcount == 1
