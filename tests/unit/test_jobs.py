"""The job queue: claims, leases, fencing, fairness, and what becomes of jobs whose worker is gone."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from ibid import claims, jobs, queue
from ibid.claims import Claim, LeaseLost
from ibid.clock import now
from ibid.db.session import Database
from ibid.db.tables import Job
from ibid.jobs import JobEnded, JobNotFound, JobNotRetryable, Those
from ibid.queue import QueueFull, QueueView
from ibid.types import JobKind, JobState, Scope

LEASE = timedelta(seconds=20)


def add(db: Database, collection: str = "col_a", kind: JobKind = JobKind.INGEST) -> str:
    with db.begin() as session:
        return jobs.enqueue(session, kind, collection).id


def claim(db: Database, worker: str = "w1", limit: int = 16, *, beside: bool = False) -> list[Claim]:
    with db.begin() as session:
        return claims.claim(session, worker, lease=LEASE, limit=limit, beside=beside)


def job(db: Database, id_: str) -> Job:
    with db.read() as session:
        return session.get_one(Job, id_)


def expire(db: Database, id_: str) -> None:
    with db.begin() as session:
        session.execute(update(Job).where(Job.id == id_).values(lease_until=now() - LEASE))


def sweep(db: Database) -> int:
    with db.begin() as session:
        return claims.sweep(session, max_failures=3)


def due_now(db: Database) -> None:
    with db.begin() as session:
        session.execute(update(Job).values(not_before=now()))


class TestEnqueue:
    def test_workers_are_told_after_the_commit_only(self, db: Database) -> None:
        told: list[bool] = []
        db.on_work = lambda: told.append(True)
        with pytest.raises(ZeroDivisionError), db.begin() as session:
            1 / (jobs.enqueue(session, JobKind.INGEST, "col_a").attempt or 0)
        assert told == []
        add(db)
        assert told == [True]


class TestClaim:
    def test_nothing_waits(self, db: Database) -> None:
        assert claim(db) == []

    def test_a_job_is_claimed_once(self, db: Database) -> None:
        id_ = add(db)
        assert [c.id for c in claim(db)] == [id_]
        assert claim(db, "w2") == []
        assert job(db, id_).state == JobState.RUNNING

    def test_ingests_share_a_batch(self, db: Database) -> None:
        ids = [add(db) for _ in range(5)]
        assert [c.id for c in claim(db, limit=3)] == ids[:3]

    def test_other_kinds_are_alone(self, db: Database) -> None:
        first = add(db, kind=JobKind.PURGE)
        add(db)
        assert [c.id for c in claim(db)] == [first]

    def test_beside_others_nothing_is_claimed_that_must_be_alone(self, db: Database) -> None:
        add(db, kind=JobKind.PURGE)
        add(db)
        assert claim(db, beside=True) == []
        (purge,) = claim(db)
        assert purge.alone
        (ingest,) = claim(db, beside=True)
        assert (ingest.alone, job(db, ingest.id).alone) == (False, False)

    def test_beside_others_one_job_is_not_alone_and_is_not_blamed(self, db: Database) -> None:
        id_ = add(db)
        claim(db, beside=True)
        expire(db, id_)
        sweep(db)
        assert (job(db, id_).state, job(db, id_).failures, job(db, id_).alone) == (JobState.QUEUED, 0, True)
        assert claim(db, beside=True) == []
        assert [c.id for c in claim(db)] == [id_]

    def test_one_that_must_be_alone_stays_so_when_something_else_was_away(self, db: Database) -> None:
        ids = {add(db) for _ in range(2)}
        claim(db)
        for id_ in ids:
            expire(db, id_)
        sweep(db)
        (suspect,) = claim(db)
        with db.begin() as session:
            claims.put_back(session, suspect, wait=timedelta(), reason=("store_unavailable", "It is away."))
        assert job(db, suspect.id).alone
        assert {len(claim(db)), len(claim(db, "w2"))} == {1}, "neither shares a batch"

    def test_one_that_was_alone_by_chance_need_not_be(self, db: Database) -> None:
        id_ = add(db)
        (held,) = claim(db)
        with db.begin() as session:
            claims.put_back(session, held, wait=timedelta())
        assert (held.alone, held.suspect, job(db, id_).alone) == (True, False, False)

    def test_collections_take_turns(self, db: Database) -> None:
        many = [add(db, "col_many") for _ in range(10)]
        one = add(db, "col_one")
        assert {c.id for c in claim(db, limit=2)} == {many[0], one}

    def test_running_jobs_count_against_their_collection(self, db: Database) -> None:
        for _ in range(4):
            add(db, "col_many")
        claim(db, limit=2)
        one = add(db, "col_one")
        assert [c.id for c in claim(db, "w2", limit=1)] == [one]

    def test_a_job_waits_for_its_time(self, db: Database) -> None:
        with db.begin() as session:
            jobs.enqueue(session, JobKind.INGEST, "col_a", not_before=now() + timedelta(hours=1))
        assert claim(db) == []


class TestFence:
    def test_the_holder_may_write(self, db: Database) -> None:
        add(db)
        (held,) = claim(db)
        with db.begin() as session:
            claims.progress(session, held, "parsing", 1, 2, "pages")
            assert claims.may_write(session, held.id, held.attempt)
        assert job(db, held.id).stage == "parsing"

    def test_a_former_attempt_may_not(self, db: Database) -> None:
        add(db)
        (old,) = claim(db)
        expire(db, old.id)
        assert sweep(db) == 1
        due_now(db)
        (new,) = claim(db, "w2")
        assert new.attempt == old.attempt + 1
        with db.begin() as session:
            assert not claims.may_write(session, old.id, old.attempt)
            with pytest.raises(LeaseLost):
                claims.finish(session, old, JobState.SUCCEEDED)
            claims.finish(session, new, JobState.SUCCEEDED)
        assert job(db, new.id).state == JobState.SUCCEEDED

    def test_heartbeats_tell_what_is_over(self, db: Database) -> None:
        ids = [add(db) for _ in range(3)]
        held = claim(db)
        with db.begin() as session:
            jobs.cancel(session, Scope("k", "admin"), ids[1])
            claims.finish(session, held[2], JobState.SUCCEEDED)
        with db.begin() as session:
            assert claims.heartbeat(session, held, lease=LEASE) == set(ids[1:])


class TestSweep:
    def test_live_leases_are_left_alone(self, db: Database) -> None:
        add(db)
        claim(db)
        assert sweep(db) == 0

    def test_queued_jobs_are_never_taken_for_stalled(self, db: Database) -> None:
        id_ = add(db)
        with db.begin() as session:
            session.execute(update(Job).values(created_at=now() - timedelta(days=30)))
        assert sweep(db) == 0
        assert jobs.shown(job(db, id_)) == JobState.QUEUED

    def test_innocents_of_a_batch_are_retried_alone_and_nothing_is_counted(self, db: Database) -> None:
        ids = [add(db) for _ in range(3)]
        claim(db)
        for id_ in ids:
            expire(db, id_)
            assert jobs.shown(job(db, id_)) == JobState.STALLED
        assert sweep(db) == 3
        assert [len(claim(db)) for _ in ids] == [1, 1, 1]
        assert [job(db, id_).failures for id_ in ids] == [0, 0, 0]

    def test_poison_fails_after_three_lone_attempts(self, db: Database) -> None:
        id_ = add(db)
        for _ in range(3):
            due_now(db)
            assert len(claim(db)) == 1
            expire(db, id_)
            sweep(db)
        poisoned = job(db, id_)
        assert (poisoned.state, poisoned.error_code) == (JobState.FAILED, "worker_lost")
        assert claim(db) == []

    def test_a_cancelled_job_of_a_lost_worker_ends_cancelled(self, db: Database) -> None:
        id_ = add(db)
        claim(db)
        with db.begin() as session:
            jobs.cancel(session, Scope("k", "admin"), id_)
        expire(db, id_)
        sweep(db)
        assert job(db, id_).state == JobState.CANCELLED


class TestRelease:
    """A server knows when one of its workers has ended, and need not wait for leases."""

    @pytest.mark.parametrize(("blame", "failures"), [(True, 1), (False, 0)])
    def test_of_a_lone_job(self, db: Database, failures: int, *, blame: bool) -> None:
        mine, others = add(db), add(db)
        claim(db, claims.worker_name(17, 18), limit=1)
        claim(db, claims.worker_name(171, 171), limit=1)
        with db.begin() as session:
            claims.release(session, 17, blame=blame, max_failures=3)
        assert [job(db, id_).state for id_ in (mine, others)] == [JobState.QUEUED, JobState.RUNNING]
        assert job(db, mine).failures == failures

    def test_of_a_job_to_be_cancelled(self, db: Database, admin: Scope) -> None:
        id_ = add(db)
        claim(db, claims.worker_name(17, 17))
        with db.begin() as session:
            jobs.cancel(session, admin, id_)
            claims.release(session, 17, blame=False, max_failures=3)
        assert job(db, id_).state == JobState.CANCELLED


class TestCancelAndRetry:
    def test_a_queued_job_is_cancelled_at_once(self, db: Database, admin: Scope) -> None:
        id_ = add(db)
        with db.begin() as session:
            assert jobs.cancel(session, admin, id_).state == JobState.CANCELLED
        with db.begin() as session, pytest.raises(JobEnded):
            jobs.cancel(session, admin, id_)

    def test_a_failed_job_is_tried_again(self, db: Database, admin: Scope) -> None:
        id_ = add(db)
        (held,) = claim(db)
        with db.begin() as session:
            claims.fail(session, held, "unreadable", "It cannot be read.", retryable=False)
        with db.begin() as session:
            assert jobs.retry(session, admin, id_).state == JobState.QUEUED
        assert len(claim(db)) == 1

    def test_a_running_job_is_not(self, db: Database, admin: Scope) -> None:
        id_ = add(db)
        claim(db)
        with db.begin() as session, pytest.raises(JobNotRetryable):
            jobs.retry(session, admin, id_)

    def test_other_peoples_jobs_are_invisible(self, db: Database) -> None:
        id_ = add(db)
        other = Scope("k", "editor", frozenset({"key:k"}), frozenset({"col_other"}))
        with db.begin() as session, pytest.raises(JobNotFound):
            jobs.cancel(session, other, id_)


class TestView:
    def test_position_in_the_queue(self, db: Database) -> None:
        ids = [add(db) for _ in range(3)]
        with db.read() as session:
            assert [jobs.view(session, session.get_one(Job, id_)).queue_position for id_ in ids] == [1, 2, 3]

    def test_positions_are_the_order_of_claims(self, db: Database) -> None:
        ids = [add(db, collection) for collection in ("col_a", "col_a", "col_a", "col_b", "col_c", "col_b")]
        running = claim(db, limit=1)
        assert [c.id for c in running] == ids[:1]
        with db.read() as session:
            views = jobs.views(session, [session.get_one(Job, id_) for id_ in ids])
        positions = {view.id: view.queue_position for view in views}
        assert positions.pop(ids[0]) is None
        expected = sorted(positions, key=lambda id_: positions[id_] or 0)
        assert expected == [one.id for one in claim(db)]
        assert expected[0] == ids[3]


class TestQueue:
    def test_is_empty(self, db: Database, admin: Scope) -> None:
        with db.read() as session:
            assert queue.view(session, admin) == QueueView(0, 0, 0, None)

    def test_counts_and_age(self, db: Database, admin: Scope) -> None:
        ids = [add(db) for _ in range(4)]
        claim(db, limit=2)
        expire(db, ids[0])
        with db.begin() as session:
            waited = update(Job).where(Job.id == ids[3]).values(not_before=now() - timedelta(minutes=5))
            session.execute(waited)
        with db.read() as session:
            found = queue.view(session, admin)
        assert (found.queued, found.running, found.stalled) == (2, 1, 1)
        assert 300 <= (found.oldest_queued_seconds or 0) < 400

    def test_shows_no_jobs_of_others(self, db: Database) -> None:
        add(db)
        other = Scope("k", "editor", frozenset({"key:k"}), frozenset({"col_other"}))
        with db.read() as session:
            assert queue.view(session, other) == QueueView(0, 0, 0, None)

    def test_has_room_until_it_is_full(self, db: Database) -> None:
        for _ in range(2):
            add(db)
        add(db, "col_other")
        with db.read() as session:
            queue.check_room(session, "col_a", 3)
            with pytest.raises(QueueFull) as refused:
                queue.check_room(session, "col_a", 2)
        assert refused.value.retry_after > 0
        claim(db, limit=1)
        with db.read() as session:
            queue.check_room(session, "col_a", 2)


class TestDeadLetters:
    @pytest.fixture
    def dead(self, db: Database) -> list[str]:
        """Two that were at fault, one that was lost, one that is well and one that waits."""
        ids = [add(db) for _ in range(5)]
        codes = ["unreadable", "unreadable", "worker_lost"]
        held = claim(db, limit=4)
        with db.begin() as session:
            for one, code in zip(held, codes, strict=False):
                claims.fail(session, one, code, "So it is.", retryable=False)
            claims.finish(session, held[3], JobState.SUCCEEDED)
        return ids[:3]

    def test_are_listed(self, db: Database, admin: Scope, dead: list[str]) -> None:
        with db.read() as session:
            found = jobs.listing(session, admin, Those(JobState.FAILED), after=None, limit=9)
            lost = jobs.listing(
                session, admin, Those(JobState.FAILED, error_code="worker_lost"), after=None, limit=9
            )
        assert [job.id for job in found] == dead[::-1]
        assert [job.id for job in lost] == dead[2:]

    def test_are_tried_again_together(self, db: Database, admin: Scope, dead: list[str]) -> None:
        with db.begin() as session:
            assert jobs.retry_failed(session, admin, Those(error_code="unreadable")) == dead[:2]
            assert jobs.retry_failed(session, admin, Those(), limit=1) == dead[2:]
            assert jobs.retry_failed(session, admin, Those()) == []
        assert {job(db, id_).state for id_ in dead} == {JobState.QUEUED}

    def test_of_others_are_left_alone(self, db: Database, dead: list[str]) -> None:
        other = Scope("k", "editor", frozenset({"key:k"}), frozenset({"col_other"}))
        with db.begin() as session:
            assert jobs.retry_failed(session, other, Those()) == []
        assert {job(db, id_).state for id_ in dead} == {JobState.FAILED}
