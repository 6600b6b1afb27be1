"""A deletion beside a reindex or a repair that is writing points of its document at that very moment."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import ValidationError
from sqlalchemy import select, update

from ibid import generations, integrity, writing
from ibid.bootstrap import Parts
from ibid.clock import now
from ibid.db.tables import Job, Lease
from ibid.settings import Settings
from ibid.types import JobKind, JobState, Scope
from ibid.vectors.memory import MemoryVectorStore
from ibid.vectors.port import Fence, Point
from ibid.vectors.remote import TIMEOUT
from ingest.work import work
from tests.unit.shop import FACTS, Shop

PATIENCE = 30.0


class Killed(BaseException):
    """What `kill -9` leaves: nothing is caught."""


class Gate(MemoryVectorStore):
    """Once it is closed, the next writer waits before its points are written, and may be killed after it wrote them."""

    def __init__(self) -> None:
        super().__init__()
        self.closed, self.kills = False, False
        self.reached, self.opened = threading.Event(), threading.Event()

    def upsert(self, generation: str, points: Sequence[Point], *, fence: Fence | None = None) -> None:
        if not self.closed:
            super().upsert(generation, points, fence=fence)
            return
        self.closed = False
        self.reached.set()
        assert self.opened.wait(PATIENCE)
        super().upsert(generation, points, fence=fence)
        if self.kills:
            raise Killed


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def shop(parts: Parts, admin: Scope, gate: Gate) -> Shop:
    return Shop(replace(parts, store=gate), admin)


@contextmanager
def held_while_it_writes(gate: Gate, write: Callable[[], object]) -> Iterator[None]:
    """The block runs while the write stands at the gate; at its end the write goes on."""

    def run() -> None:
        with suppress(Killed):
            write()

    gate.closed = True
    writer = threading.Thread(target=run)
    writer.start()
    try:
        assert gate.reached.wait(PATIENCE)
        yield
    finally:
        gate.opened.set()
        writer.join(PATIENCE)


def purge(shop: Shop) -> Job:
    """The deletion's job."""
    with shop.parts.db.read() as session:
        return session.scalars(select(Job).where(Job.kind == JobKind.PURGE)).one()


def forgotten_in_the_end(shop: Shop) -> None:
    """What was killed has run out; nothing of the document is left, nor found later."""
    shop.expire_leases()
    with shop.parts.db.begin() as session:
        session.execute(update(Lease).values(until=now()))
    shop.due_now()
    shop.work()
    assert purge(shop).state == JobState.SUCCEEDED
    assert shop.points() == 0
    shop.agree()


@pytest.mark.parametrize("kills", [False, True], ids=["that goes on", "that is killed"])
class TestDeletionBeside:
    def test_a_reindex(self, shop: Shop, gate: Gate, *, kills: bool) -> None:
        accepted = shop.upload(FACTS)
        shop.work()
        with shop.parts.db.begin() as session:
            generations.start_reindex(session, shop.scope, shop.collection, shop.parts.recipe())
        gate.kills = kills
        claimed = shop.claim()
        with held_while_it_writes(gate, lambda: work(shop.tools, claimed)):
            shop.delete(accepted.document_id)
            shop.work()
            waiting = purge(shop)
            assert (waiting.state, waiting.error_code) == (JobState.QUEUED, "still_written")
        forgotten_in_the_end(shop)

    def test_a_repair(self, shop: Shop, gate: Gate, *, kills: bool) -> None:
        accepted = shop.upload(FACTS)
        shop.work()
        for generation_id in gate.generations():
            gate.drop(generation_id)
        gate.kills = kills
        with held_while_it_writes(
            gate, lambda: integrity.verify(shop.parts, shop.scope, shop.collection, repair=True)
        ):
            shop.delete(accepted.document_id)
            shop.work()
            waiting = purge(shop)
            assert (waiting.state, waiting.error_code) == (JobState.QUEUED, "still_written")
        forgotten_in_the_end(shop)


class TestLease:
    def test_is_longer_than_two_calls_of_any_client(self) -> None:
        assert timedelta(seconds=2 * TIMEOUT) < writing.LONGEST
        with pytest.raises(ValidationError):
            Settings(qdrant_timeout=TIMEOUT + 1)


class TestWriterBesideADeletion:
    def test_that_was_before_it_writes_nothing(
        self, shop: Shop, gate: Gate, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A reindex has read the passages; the document is deleted and forgotten before it begins to write."""
        accepted = shop.upload(FACTS)
        shop.work()
        with shop.parts.db.begin() as session:
            generations.start_reindex(session, shop.scope, shop.collection, shop.parts.recipe())
        claimed = shop.claim()
        create, written = gate.create, []

        def deleted_first(*arguments: object) -> None:
            shop.delete(accepted.document_id)
            create(*arguments)

        monkeypatch.setattr(gate, "create", deleted_first)
        upsert = gate.upsert
        monkeypatch.setattr(gate, "upsert", lambda *a, **n: (written.append(a), upsert(*a, **n)))
        work(shop.tools, claimed)
        assert written == []
        shop.work()
        assert purge(shop).state == JobState.SUCCEEDED
