"""A server's worker as real processes: started once the server is ready, replaced when it dies, stopped in order."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest
from sqlalchemy import func, select

from ibid.bootstrap import Parts, open_parts
from ibid.db.session import Database
from ibid.db.tables import Base, Job
from ibid.errors import Unavailable
from ibid.settings import Settings
from ibid.types import JobState, Scope
from ibid.vectors.memory import MemoryVectorStore
from tests.running import eventually
from tests.unit.shop import FACTS, Shop
from worker.supervisor import Supervisor

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, admin: Scope) -> Iterator[Shop]:
    """What a server has, and what its worker reads from the environment."""
    values = {"IBID_DATA_DIR": str(tmp_path), "IBID_EMBEDDER": "hashing", "IBID_SWEEP_SECONDS": "0.5"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    db = Database(settings.sql_url)
    Base.metadata.create_all(db.engine)
    parts = open_parts(settings, db=db, store=MemoryVectorStore())
    yield Shop(parts, admin)
    parts.close()


def ready() -> None:
    """At once."""


@contextmanager
def supervised(parts: Parts, **given: object) -> Iterator[Supervisor]:
    """Stopped at the end, whatever happened."""
    supervisor = Supervisor(parts, **({"wait_ready": ready} | given))
    supervisor.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()


def worker_of(supervisor: Supervisor) -> psutil.Process:
    return psutil.Process(eventually(lambda: supervisor.pids, what="a worker")[0])


def family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def await_end(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert alive == []


def succeeded(shop: Shop, job_id: str | None) -> bool:
    return shop.state(job_id) == JobState.SUCCEEDED


class TestStart:
    def test_waits_until_the_server_is_ready(self, shop: Shop) -> None:
        asked = threading.Semaphore(0)
        is_ready = threading.Event()

        def wait_ready() -> None:
            asked.release()
            if not is_ready.is_set():
                raise Unavailable("The encoder is being loaded.")

        with supervised(shop.parts, wait_ready=wait_ready) as supervisor:
            assert asked.acquire(timeout=30)
            assert asked.acquire(timeout=30)
            assert supervisor.pids == []
            is_ready.set()
            worker_of(supervisor)

    def test_is_not_prevented_by_a_bug(self, shop: Shop) -> None:
        errors = [ZeroDivisionError()]

        def wait_ready() -> None:
            if errors:
                raise errors.pop()

        with supervised(shop.parts, wait_ready=wait_ready) as supervisor:
            worker_of(supervisor)
        assert errors == []


class TestWorker:
    def test_that_dies_is_replaced_and_its_successor_goes_on(self, shop: Shop) -> None:
        with supervised(shop.parts) as supervisor:
            first = worker_of(supervisor)
            one = shop.upload(FACTS)
            eventually(lambda: succeeded(shop, one.job_id), what="the first document")
            members = family(first)
            for member in members:
                member.kill()
            await_end(members)
            other = shop.upload("A tower is 12 metres high.", "tower.txt")
            second = worker_of(supervisor)
            assert second.pid != first.pid
            eventually(lambda: succeeded(shop, other.job_id), what="the second document")
            shop.agree()

    def test_that_is_killed_takes_nothing_from_the_others(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("IBID_WORKER_PROCESSES", "2")
        settings = shop.parts.settings.model_copy(update={"worker_processes": 2})
        with supervised(replace(shop.parts, settings=settings)) as supervisor:
            eventually(lambda: len(supervisor.pids) == 2, what="two workers")
            one = shop.upload(FACTS)
            eventually(lambda: succeeded(shop, one.job_id), what="the first document")
            dead = psutil.Process(supervisor.pids[0])
            dead.kill()
            await_end([dead])
            other = shop.upload("A tower is 12 metres high.", "tower.txt")
            eventually(lambda: succeeded(shop, other.job_id), what="the second document")
            eventually(lambda: len(supervisor.pids) == 2, what="a successor")

    def test_that_has_grown_too_large_is_replaced_after_its_batch(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("IBID_WORKER_MEMORY_BYTES", "1000000")
        with supervised(shop.parts) as supervisor:
            first = worker_of(supervisor)
            for n in range(2):
                one = shop.upload(FACTS + str(n), f"{n}.txt")
                eventually(partial(succeeded, shop, one.job_id), what="a document")
            await_end([first])


class TestStop:
    def test_leaves_no_process_and_blames_no_document(self, shop: Shop) -> None:
        with supervised(shop.parts) as supervisor:
            worker = worker_of(supervisor)
            accepted = [shop.upload(FACTS + str(n), f"{n}.txt") for n in range(40)]
            eventually(lambda: count(shop, JobState.RUNNING), what="work in progress")
            members = family(worker)
            supervisor.stop()
            assert supervisor.pids == []
            await_end(members)
            assert count(shop, JobState.RUNNING) == 0
            jobs = [shop.job(one.job_id) for one in accepted]
            assert {job.state for job in jobs} <= {JobState.QUEUED, JobState.SUCCEEDED}
            assert {job.failures for job in jobs} == {0}

    def test_while_the_server_is_not_ready_yet(self, shop: Shop) -> None:
        def wait_ready() -> None:
            raise Unavailable("Never.")

        with supervised(shop.parts, wait_ready=wait_ready) as supervisor:
            supervisor.stop()
            assert supervisor.pids == []


def count(shop: Shop, state: JobState) -> int:
    with shop.parts.db.read() as session:
        return session.scalar(select(func.count()).where(Job.state == state)) or 0
