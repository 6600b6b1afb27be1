"""One worker process: what becomes of a batch that goes wrong, and the pulse that beats beside the work."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Event

import numpy as np
import pytest
from sqlalchemy import select

from ibid import claims, leases
from ibid.bootstrap import Parts, open_parts
from ibid.claims import TOGETHER
from ibid.db.session import DatabaseUnavailable
from ibid.db.tables import Job
from ibid.embedding.hashing import HashingEmbedder
from ibid.embedding.port import EmbedderUnavailable
from ibid.embedding.registry import EmbedderPool
from ibid.types import JobState, Scope
from tests.running import eventually
from tests.unit.shop import FACTS, Shop
from worker import housekeeping
from worker.crew import Crew


@pytest.fixture
def shop(parts: Parts, admin: Scope) -> Shop:
    """With a pulse that a test need not wait for."""
    settings = parts.settings.model_copy(update={"sweep_seconds": 0.05})
    return Shop(
        open_parts(settings, db=parts.db, store=parts.store, blobs=parts.blobs, nudge=parts.nudge), admin
    )


@pytest.fixture
def crew(shop: Shop) -> Crew:
    return Crew(shop.parts, shop.tools)


@contextmanager
def beating(crew: Crew) -> Iterator[None]:
    crew.start()
    try:
        yield
    finally:
        crew.stop()


def broken(text: str) -> None:
    if text.startswith("bad"):
        raise ZeroDivisionError


class TestTakeBatch:
    def test_of_nothing(self, crew: Crew) -> None:
        assert crew.take_batch() is False

    def test_of_several(self, shop: Shop, crew: Crew) -> None:
        accepted = [shop.upload(FACTS, f"{n}.txt") for n in range(3)]
        assert crew.take_batch() is True
        assert {shop.state(one.job_id) for one in accepted} == {JobState.SUCCEEDED}
        assert {shop.job(one.job_id).worker for one in accepted} == {crew.name}
        assert crew.take_batch() is False

    def test_calls_others_to_what_still_waits_before_it_works(self, shop: Shop) -> None:
        settings = shop.parts.settings.model_copy(update={"batch_documents": 2})
        crew = Crew(replace(shop.parts, settings=settings), shop.tools)
        for n in range(3):
            shop.upload(f"Note {n}.", f"{n}.txt")
        nudge = shop.parts.nudge
        called: list[int] = []
        shop.reader.before = lambda _: called.append(nudge.sent)
        before = nudge.sent
        assert crew.take_batch()
        assert called == [before + 1, before + 1]
        assert crew.take_batch()
        assert nudge.sent == before + 1, "nothing waits: nobody is called"

    def test_of_large_files_takes_one_and_leaves_the_next_for_the_other_hand(
        self, shop: Shop, crew: Crew
    ) -> None:
        sizes = [TOGETHER // 2 - 9, TOGETHER // 2 - 9, 40, TOGETHER + 9, 40]
        accepted = [shop.upload("A word. " * (size // 8), f"{n}.txt") for n, size in enumerate(sizes)]
        done = []
        while crew.take_batch():
            done.append([shop.state(one.job_id) == JobState.SUCCEEDED for one in accepted].count(True))
        assert done == [2, 3, 4, 5]
        assert not any(shop.job(one.job_id).alone for one in accepted[:-1])
        assert shop.job(accepted[-1].job_id).alone

    def test_a_bug_costs_the_others_nothing_but_time(self, shop: Shop, crew: Crew) -> None:
        shop.reader.before = broken
        good, bad = shop.upload(FACTS), shop.upload("bad", "bad.txt")
        assert crew.take_batch() is True
        for one in (good, bad):
            job = shop.job(one.job_id)
            assert (job.state, job.failures, job.alone) == (JobState.QUEUED, 0, True)
        for _ in range(1 + shop.parts.settings.max_attempts):
            shop.due_now()
            assert crew.take_batch() is True
        shop.due_now()
        assert crew.take_batch() is False
        assert (shop.state(good.job_id), shop.job(good.job_id).attempt) == (JobState.SUCCEEDED, 2)
        failed = shop.job(bad.job_id)
        assert (failed.state, failed.error_code) == (JobState.FAILED, "internal")
        assert failed.attempt == 1 + shop.parts.settings.max_attempts
        assert failed.retryable
        assert "ZeroDivisionError" not in (failed.error_message or "")

    def test_what_is_away_is_waited_for_and_nobody_is_blamed(self, shop: Shop) -> None:
        encoder = Encoder()
        crew = Crew(shop.parts, replace(shop.tools, encoders=EmbedderPool(lambda _: encoder)))
        accepted = [shop.upload(FACTS), shop.upload("Another text.", "another.txt")]
        assert crew.take_batch() is True
        for one in accepted:
            job = shop.job(one.job_id)
            assert (job.state, job.failures, job.alone) == (JobState.QUEUED, 0, False)
            assert job.error_code == "embedder_unavailable"
        encoder.away = False
        shop.due_now()
        assert crew.take_batch() is True
        assert {shop.state(one.job_id) for one in accepted} == {JobState.SUCCEEDED}


class TestTakeShift:
    @pytest.fixture
    def crew(self, shop: Shop) -> Crew:
        """Two documents a batch."""
        settings = shop.parts.settings.model_copy(update={"batch_documents": 2})
        return Crew(replace(shop.parts, settings=settings), shop.tools)

    def running(self, shop: Shop) -> set[str]:
        with shop.parts.db.read() as session:
            return set(session.scalars(select(Job.id).where(Job.state == JobState.RUNNING)))

    def test_of_nothing(self, crew: Crew) -> None:
        assert crew.take_shift() is False

    def test_takes_whatever_waits(self, shop: Shop, crew: Crew) -> None:
        accepted = [shop.upload(f"Note {n}.", f"{n}.txt") for n in range(9)]
        assert crew.take_shift() is True
        assert {shop.state(one.job_id) for one in accepted} == {JobState.SUCCEEDED}
        assert {shop.job(one.job_id).attempt for one in accepted} == {1}
        assert crew.take_shift() is False
        shop.agree()

    def test_a_second_batch_is_read_while_the_first_is_at_work(self, shop: Shop, crew: Crew) -> None:
        accepted = [shop.upload(f"Note {n}.", f"{n}.txt") for n in range(4)]
        wanted = {one.job_id for one in accepted}
        shop.reader.before = lambda _: eventually(
            lambda: self.running(shop) == wanted or shop.reader.parsed > 1, what="the other hand"
        )
        assert crew.take_shift() is True
        assert {shop.state(one.job_id) for one in accepted} == {JobState.SUCCEEDED}
        assert {shop.job(one.job_id).alone for one in accepted} == {False}

    def test_a_job_that_must_be_alone_is(self, shop: Shop, crew: Crew) -> None:
        suspects = [shop.upload(f"Suspect {n}.", f"{n}.txt") for n in range(2)]
        shop.claim()
        shop.expire_leases()
        with shop.parts.db.begin() as session:
            claims.sweep(session, max_failures=3)
        shop.due_now()
        others = [shop.upload(f"Note {n}.", f"note {n}.txt") for n in range(6)]
        seen: dict[str, set[str]] = {}
        shop.reader.before = lambda text: seen.update({text: self.running(shop)})
        assert crew.take_shift() is True
        for n, one in enumerate(suspects):
            assert seen[f"Suspect {n}."] == {one.job_id}
        assert {shop.state(one.job_id) for one in suspects + others} == {JobState.SUCCEEDED}

    def test_an_upload_while_the_other_hand_works_is_taken(self, shop: Shop, crew: Crew) -> None:
        first = [shop.upload(f"Note {n}.", f"{n}.txt") for n in range(2)]
        late: list[str | None] = []

        def before(text: str) -> None:
            if text == "Note 0.":
                late.append(shop.upload("A late note.", "late.txt").job_id)
                eventually(lambda: shop.state(late[0]) == JobState.SUCCEEDED, what="the other hand")

        shop.reader.before = before
        assert crew.take_shift() is True
        assert {shop.state(one.job_id) for one in first} == {JobState.SUCCEEDED}

    def test_a_bug_in_one_hand_costs_the_other_nothing(self, shop: Shop, crew: Crew) -> None:
        shop.reader.before = broken
        bad = [shop.upload(f"bad {n}", f"bad {n}.txt") for n in range(2)]
        good = [shop.upload(f"Note {n}.", f"{n}.txt") for n in range(2)]
        assert crew.take_shift() is True
        assert {shop.state(one.job_id) for one in good} == {JobState.SUCCEEDED}
        assert {shop.state(one.job_id) for one in bad} == {JobState.QUEUED}

    def test_one_that_was_beside_others_is_not_blamed_for_a_bug(self, shop: Shop, crew: Crew) -> None:
        for n in range(2):
            shop.upload(f"Note {n}.", f"{n}.txt")
        bad, met = shop.upload("bad", "bad.txt"), Event()

        def before(text: str) -> None:
            if text == "bad":
                met.set()
                raise ZeroDivisionError
            assert met.wait(30)

        shop.reader.before = before
        assert crew.take_shift() is True
        job = shop.job(bad.job_id)
        assert (job.state, job.failures, job.alone) == (JobState.QUEUED, 0, True)

    def test_ends_when_the_process_has_grown(self, shop: Shop) -> None:
        settings = shop.parts.settings.model_copy(update={"worker_memory_bytes": 1, "batch_documents": 1})
        crew = Crew(replace(shop.parts, settings=settings), shop.tools)
        accepted = [shop.upload(f"Note {n}.", f"{n}.txt") for n in range(4)]
        assert crew.take_shift() is True
        states = [shop.state(one.job_id) for one in accepted]
        assert 1 <= states.count(JobState.SUCCEEDED) <= 2
        assert set(states) == {JobState.SUCCEEDED, JobState.QUEUED}

    def test_is_held_while_others_are_called(self, shop: Shop, crew: Crew) -> None:
        for n in range(3):
            shop.upload(f"Note {n}.", f"{n}.txt")
        held: list[int] = []
        send = shop.parts.nudge.send
        shop.parts.nudge.send = lambda: held.append(len(crew._held)) or send()
        assert crew.take_batch() is True
        assert held == [2]

    def test_told_to_stop_both_hands_put_down_what_they_have(self, shop: Shop, crew: Crew) -> None:
        accepted = [shop.upload(f"Note {n}.", f"{n}.txt") for n in range(6)]
        shop.reader.before = lambda _: crew.drain()
        assert crew.take_shift() is True
        jobs = [shop.job(one.job_id) for one in accepted]
        assert {(job.state, job.failures, job.alone) for job in jobs} == {(JobState.QUEUED, 0, False)}

    def test_a_database_that_is_away_is_told(
        self, shop: Shop, crew: Crew, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(*_: object, **__: object) -> None:
            raise DatabaseUnavailable("It is away.")

        monkeypatch.setattr(claims, "claim", away)
        with pytest.raises(DatabaseUnavailable):
            crew.take_shift()


class Encoder(HashingEmbedder):
    """One that is away."""

    away = True

    def encode(self, texts: list[str]) -> np.ndarray:
        if self.away:
            raise EmbedderUnavailable("The encoder's file is away.")
        return super().encode(texts)


class TestPulse:
    def test_renews_the_lease_while_its_job_is_worked_on(self, shop: Shop, crew: Crew) -> None:
        accepted = shop.upload(FACTS)

        def lease() -> datetime:
            until = shop.job(accepted.job_id).lease_until
            assert until is not None
            return until

        def wait(_text: str) -> None:
            first = lease()
            eventually(lambda: lease() > first, what="another lease")

        shop.reader.before = wait
        with beating(crew):
            assert crew.take_batch() is True
        assert (shop.state(accepted.job_id), shop.job(accepted.job_id).attempt) == (JobState.SUCCEEDED, 1)

    def test_announces_what_waits(self, shop: Shop, crew: Crew) -> None:
        shop.upload(FACTS)
        before = shop.parts.nudge.sent
        with beating(crew):
            eventually(lambda: shop.parts.nudge.sent > before, what="a nudge")

    def test_finds_the_jobs_of_lost_workers(self, shop: Shop, crew: Crew) -> None:
        id_ = shop.lose()
        with beating(crew):
            eventually(lambda: shop.state(id_) == JobState.QUEUED, what="the sweep")

    def test_leaves_sweeping_to_whoever_does_it(self, shop: Shop, crew: Crew) -> None:
        id_ = shop.lose()
        shop.upload("Another text.", "another.txt")
        with shop.parts.db.begin() as session:
            assert leases.take(session, "sweep", "another worker", timedelta(hours=1))
        before = shop.parts.nudge.sent
        with beating(crew):
            eventually(lambda: shop.parts.nudge.sent > before + 2, what="three beats")
        assert shop.state(id_) == JobState.RUNNING

    def test_goes_on_after_an_error(self, shop: Shop, crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
        sweep = housekeeping.sweep

        def fail_once(*_: object) -> None:
            monkeypatch.setattr(housekeeping, "sweep", sweep)
            raise ZeroDivisionError

        id_ = shop.lose()
        monkeypatch.setattr(housekeeping, "sweep", fail_once)
        with beating(crew):
            eventually(lambda: shop.state(id_) == JobState.QUEUED, what="the next sweep")
        assert housekeeping.sweep is sweep


class TestDrain:
    def test_takes_no_more(self, shop: Shop, crew: Crew) -> None:
        one = shop.upload(FACTS)
        crew.drain()
        assert crew.take_batch() is False
        assert shop.state(one.job_id) == JobState.QUEUED

    def test_puts_down_what_is_in_hand_at_its_next_step(self, shop: Shop, crew: Crew) -> None:
        shop.reader.before = lambda _: crew.drain()
        accepted = [shop.upload(f"Note {n}.", f"{n}.txt") for n in range(3)]
        assert crew.take_batch() is True
        jobs = [shop.job(one.job_id) for one in accepted]
        assert {(job.state, job.failures, job.alone) for job in jobs} == {(JobState.QUEUED, 0, False)}
        assert shop.reader.parsed == 1
        shop.reader.before = lambda _: None
        Crew(shop.parts, replace(shop.tools, stopping=Event())).take_batch()
        assert {shop.state(one.job_id) for one in accepted} == {JobState.SUCCEEDED}
        assert shop.reader.parsed == 3, "what was read before the stop is kept"
        shop.agree()
