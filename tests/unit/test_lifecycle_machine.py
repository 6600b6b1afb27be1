"""Jobs under everything that can happen to them, in any order: a state machine that Hypothesis drives.

Workers claim, work, die, are suspended and come back to write late; messages come twice or out of order (they only make
somebody claim); clocks jump; people cancel, retry and delete.
"""

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from ibid import claims, clock, jobs
from ibid.claims import Claim, LeaseLost
from ibid.db.session import Database
from ibid.db.tables import Arrival, Base, Job
from ibid.jobs import JobEnded, JobNotRetryable
from ibid.lifecycle import TRANSITIONS
from ibid.types import TERMINAL, JobKind, JobState, Scope

LEASE = timedelta(seconds=20)
ADMIN = Scope("key_admin", "admin")
LEGAL = {(step.before, step.after) for step in TRANSITIONS}
MOST = 3


End = Callable[[Session, Claim], None]
ENDS: list[End] = [
    lambda session, one: claims.finish(session, one, JobState.SUCCEEDED),
    lambda session, one: claims.finish(session, one, JobState.PARTIALLY_SUCCEEDED),
    lambda session, one: claims.fail(session, one, "unreadable", "It cannot be read.", retryable=False),
    lambda session, one: claims.put_back(session, one, wait=timedelta()),
    lambda session, one: claims.put_back(session, one, wait=timedelta(seconds=1), counts=True),
    lambda session, one: claims.put_back(session, one, wait=timedelta(seconds=1), alone=True),
]


class Jobs(RuleBasedStateMachine):
    """What the rules do to the real tables, and what must hold after each."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.db = Database(f"sqlite:///{Path(self.folder.name) / 'jobs.db'}")
        event.listen(self.db.engine, "connect", lambda made, _: made.execute("PRAGMA synchronous=OFF"))
        Base.metadata.create_all(self.db.engine)
        self.patch = pytest.MonkeyPatch()
        self.time = datetime(2026, 1, 1, tzinfo=UTC)
        self.patch.setattr(clock, "datetime", SimpleNamespace(now=lambda _zone: self.time))
        self.seen: dict[str, tuple[JobState, int, int]] = {}

    def teardown(self) -> None:
        self.settle()
        self.patch.undo()
        self.db.dispose()
        self.folder.cleanup()

    @initialize()
    def begin(self) -> None:
        self.add("col_a", JobKind.INGEST)

    @rule(collection=st.sampled_from(["col_a", "col_b"]), kind=st.sampled_from(JobKind))
    def add(self, collection: str, kind: JobKind) -> None:
        with self.db.begin() as session:
            job = jobs.enqueue(session, kind, collection)
            if kind in {JobKind.UNPACK, JobKind.FETCH}:
                session.add(self.arrival(job))

    def arrival(self, job: Job) -> Arrival:
        """What such a job is to bring in."""
        return Arrival(
            job_id=job.id,
            collection_id=job.collection_id,
            key_id=ADMIN.key_id,
            actor="",
            role=ADMIN.role,
            name="",
            url="https://example.org/",
            restricted=False,
            taken=0,
        )

    @rule(target=held, worker=st.sampled_from([1, 2]), limit=st.integers(1, 4))
    def message_arrives(self, worker: int, limit: int) -> Any:
        with self.db.begin() as session:
            batch = claims.claim(session, claims.worker_name(worker, worker), lease=LEASE, limit=limit)
        assert len({one.id for one in batch}) == len(batch)
        assert len(batch) < 2 or {one.kind for one in batch} == {JobKind.INGEST}
        return multiple(*batch)

    @rule(one=held, done=st.integers(0, 9))
    def progress(self, one: Claim, done: int) -> None:
        self.written(one, lambda session: claims.progress(session, one, "parsing", done, 9, "pages"))

    @rule(one=held)
    def heartbeat(self, one: Claim) -> None:
        current = self.is_current(one)
        with self.db.begin() as session:
            over = claims.heartbeat(session, [one], lease=LEASE)
        assert current or over == {one.id}

    @rule(one=held)
    def ask_whether_points_may_be_written(self, one: Claim) -> None:
        with self.db.read() as session:
            allowed = claims.may_write(session, one.id, one.attempt)
        assert not allowed or self.is_current(one)

    @rule(one=held, end=st.sampled_from(ENDS))
    def finish(self, one: Claim, end: End) -> None:
        self.written(one, lambda session: end(session, one))

    @rule(one=consumes(held))
    def worker_dies(self, one: Claim) -> None:
        """Nothing is said to anybody."""

    @rule(worker=st.sampled_from([1, 2]), blame=st.booleans())
    def its_server_notices(self, worker: int, *, blame: bool) -> None:
        with self.db.begin() as session:
            claims.release(session, worker, blame=blame, max_failures=MOST)

    @rule()
    def server_stops_in_order(self) -> None:
        with self.db.begin() as session:
            claims.hand_back(session)

    @rule(seconds=st.sampled_from([0, 1, 25, 90, 3600, -5, -3600]))
    def time_passes_and_somebody_sweeps(self, seconds: int) -> None:
        """Also in jumps, as when a laptop wakes up or a clock is set."""
        self.time += timedelta(seconds=seconds)
        with self.db.begin() as session:
            claims.sweep(session, max_failures=MOST)

    @rule(index=st.integers(0, 9), retry=st.booleans())
    def somebody_cancels_or_retries(self, index: int, *, retry: bool) -> None:
        rows = self.rows()
        job = rows[index % len(rows)]
        try:
            with self.db.begin() as session:
                (jobs.retry if retry else jobs.cancel)(session, ADMIN, job.id)
        except (JobEnded, JobNotRetryable):
            assert self.row(job.id).revision == job.revision

    @precondition(lambda self: len(self.seen) > 2)
    @rule(collection=st.sampled_from(["col_a", "col_b"]))
    def collection_is_deleted(self, collection: str) -> None:
        with self.db.begin() as session:
            jobs.cancel_for(session, collection_id=collection)

    @invariant()
    def every_step_was_legal_and_ended_means_ended(self) -> None:
        for job in self.rows():
            self.is_whole(job)
            now = (JobState(job.state), job.attempt, job.revision)
            before = self.seen.get(job.id, (JobState.QUEUED, 0, 1))
            assert now == before or now[2] > before[2], "a change that no watcher is told of"
            assert now[1] >= before[1], "an attempt number that comes twice fences nobody"
            assert now[0] == before[0] or reaches(before[0], now[0]), (before, now)
            self.seen[job.id] = now

    def is_whole(self, job: Job) -> None:
        assert (job.state in TERMINAL) == (job.finished_at is not None)
        assert (job.state == JobState.RUNNING) == (job.lease_until is not None)

    def settle(self) -> None:
        """Whatever has happened: let time pass, and one honest worker ends everything."""
        for _ in range(300):
            self.time_passes_and_somebody_sweeps(7200)
            with self.db.begin() as session:
                batch = claims.claim(session, "w3", lease=LEASE, limit=16)
                for one in batch:
                    if not claims.cancelled(session, one):
                        claims.finish(session, one, JobState.SUCCEEDED)
            if all(job.state in TERMINAL for job in self.rows()):
                return
        raise AssertionError("a job does not end")

    def written(self, one: Claim, write: Any) -> None:
        """A write of a current attempt is kept; one of any other changes nothing."""
        before, current = self.row(one.id), self.is_current(one)
        try:
            with self.db.begin() as session:
                write(session)
        except LeaseLost:
            after = self.row(one.id)
            assert (before.state, before.revision) == (after.state, after.revision)
            assert not current or before.cancel_requested
        else:
            assert current

    def is_current(self, one: Claim) -> bool:
        job = self.row(one.id)
        return job.state == JobState.RUNNING and job.attempt == one.attempt

    def row(self, job_id: str) -> Job:
        with self.db.read() as session:
            return session.get_one(Job, job_id)

    def rows(self) -> list[Job]:
        with self.db.read() as session:
            return list(session.scalars(select(Job).order_by(Job.id)))


def reaches(before: JobState, after: JobState) -> bool:
    """In one step, or in the two that one transaction may make: a lost job is queued and cancelled, or so."""
    between = {state for begin, state in LEGAL if begin == before}
    return (before, after) in LEGAL or any((state, after) in LEGAL for state in between)


Jobs.TestCase.settings = settings(
    max_examples=30, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestJobs = Jobs.TestCase
