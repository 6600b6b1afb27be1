"""A worker that is suspended in a call to the store, and goes on when others have done its work and more.

The store here refuses nobody, as a server does not.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from ibid import claims, generations, integrity, jobs, versions
from ibid.bootstrap import Parts
from ibid.claims import Claim
from ibid.clock import now
from ibid.db.tables import ChunkRow, Embedding, Generation, Indexing, Lease
from ibid.types import ChunkerConfig, JobKind, JobState, Parsed, Scope
from ibid.vectors.errors import StoreUnavailable
from ibid.vectors.memory import MemoryVectorStore
from ibid.vectors.port import Fence, Point, PointPayload
from ingest import indexing, storing
from ingest.work import work
from tests.unit.shop import FACTS, Shop

LONG = "\n\n".join(f"Part {n}: " + " ".join(f"word{n}x{k}" for k in range(60)) for n in range(4))
ANN, BOB = ("user:ann",), ("user:bob",)


class Slow(MemoryVectorStore):
    """The next call of a name that is in `meanwhile` goes through after that was done; or before it, if in `after`."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: dict[str, Callable[[], None]] = {}
        self.after: dict[str, Callable[[], None]] = {}

    def upsert(self, generation: str, points: Sequence[Point], *, fence: Fence | None = None) -> None:
        self.meanwhile.pop("upsert", nothing)()
        super().upsert(generation, points, fence=fence)
        self.after.pop("upsert", nothing)()

    def delete(self, generation: str, **those: Any) -> None:
        super().delete(generation, **those)
        self.after.pop("delete", nothing)()


def nothing() -> None:
    pass


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def shop(parts: Parts, admin: Scope, slow: Slow, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(storing, "POINT_BATCH", 2)
    return Shop(replace(parts, store=slow), admin)


def others_do_it(shop: Shop) -> None:
    """The suspended worker has lost what it had, and others work until nothing is due."""
    shop.expire_leases()
    with shop.parts.db.begin() as session:
        session.execute(update(Lease).values(until=now()))
        claims.sweep(session, max_failures=3)
    shop.due_now()
    shop.work()


def deleted(shop: Shop, document_id: str) -> Callable[[], None]:
    def meanwhile() -> None:
        shop.delete(document_id)
        others_do_it(shop)
        assert shop.points() == 0

    return meanwhile


def given_to(shop: Shop, document_id: str, grants: tuple[str, ...]) -> None:
    with shop.parts.db.begin() as session:
        versions.describe(session, shop.scope, document_id, metadata=None, grants=grants)


def payloads(slow: Slow) -> list[PointPayload]:
    return [point.payload for one in slow._generations.values() for point in one.points.values()]


def cancel(shop: Shop, job_id: str | None) -> None:
    with shop.parts.db.begin() as session:
        jobs.cancel(session, shop.scope, job_id or "")


def retry(shop: Shop, job_id: str | None) -> None:
    with shop.parts.db.begin() as session:
        jobs.retry(session, shop.scope, job_id or "")


def start_reindex(shop: Shop) -> None:
    recipe = replace(shop.parts.recipe(), chunker=ChunkerConfig(max_tokens=64))
    with shop.parts.db.begin() as session:
        generations.start_reindex(session, shop.scope, shop.collection, recipe)


def reindexing(shop: Shop) -> Claim:
    start_reindex(shop)
    (held,) = shop.claim()
    return held


@pytest.mark.parametrize("text", [FACTS, LONG], ids=["in one call", "in several"])
class TestDeleted:
    def test_beside_an_ingest(self, shop: Shop, slow: Slow, text: str) -> None:
        accepted = shop.upload(text)
        late = shop.claim()
        slow.meanwhile["upsert"] = deleted(shop, accepted.document_id)
        work(shop.tools, late)
        assert shop.points() == 0

    def test_beside_a_reindex(self, shop: Shop, slow: Slow, text: str) -> None:
        accepted = shop.upload(text)
        shop.work()
        late = reindexing(shop)
        slow.meanwhile["upsert"] = deleted(shop, accepted.document_id)
        work(shop.tools, [late])
        assert shop.points() == 0

    def test_beside_an_ingest_into_two_generations(self, shop: Shop, slow: Slow, text: str) -> None:
        """What it wrote into the first goes too, although it is over when it comes to the second."""
        shop.upload("Another.", "another.txt")
        shop.work()
        reindexing(shop)
        accepted = shop.upload(text)
        late = shop.claim()

        def meanwhile() -> None:
            shop.delete(accepted.document_id)
            others_do_it(shop)
            assert slow.count(first, document_id=accepted.document_id) == 0

        (first, _) = sorted(slow.generations() | {generation.id for generation in written(shop)})
        slow.meanwhile["upsert"] = meanwhile
        work(shop.tools, late)
        assert {payload.document_id for payload in payloads(slow)}.isdisjoint({accepted.document_id})


def written(shop: Shop) -> list[Generation]:
    with shop.parts.db.read() as session:
        return generations.written(session, shop.collection)


@pytest.mark.parametrize("text", [FACTS, LONG], ids=["in one call", "in several"])
class TestGivenUp:
    def test_beside_an_ingest(self, shop: Shop, slow: Slow, text: str) -> None:
        accepted = shop.upload(text)
        late = shop.claim()

        def meanwhile() -> None:
            cancel(shop, accepted.job_id)
            others_do_it(shop)
            assert shop.state(accepted.job_id) == JobState.CANCELLED
            with shop.parts.db.begin() as session:
                assert versions.clear_cancelled(session) == 1
            shop.work()
            assert (shop.points(), shop.count(ChunkRow)) == (0, 0)

        slow.meanwhile["upsert"] = meanwhile
        work(shop.tools, late)
        shop.work()
        assert shop.points() == 0
        retry(shop, accepted.job_id)
        shop.work()
        assert shop.state(accepted.job_id) == JobState.SUCCEEDED
        shop.agree()


class TestDescribed:
    def test_beside_an_ingest(self, shop: Shop, slow: Slow) -> None:
        accepted = shop.upload(FACTS, grants=ANN)
        late = shop.claim()

        def meanwhile() -> None:
            others_do_it(shop)
            given_to(shop, accepted.document_id, BOB)
            shop.work()
            assert shop.state(accepted.job_id) == JobState.SUCCEEDED

        slow.meanwhile["upsert"] = meanwhile
        work(shop.tools, late)
        assert {payload.access for payload in payloads(slow)} == {BOB}
        shop.agree()

    @pytest.mark.parametrize("loses", [False, True], ids=["that goes on", "that is over"])
    def test_beside_a_reindex(self, shop: Shop, slow: Slow, *, loses: bool) -> None:
        accepted = shop.upload(LONG, grants=ANN)
        shop.work()
        late = reindexing(shop)

        def meanwhile() -> None:
            if loses:
                others_do_it(shop)
            given_to(shop, accepted.document_id, BOB)
            shop.work()
            assert shop.state(accepted.job_id) == JobState.SUCCEEDED

        slow.meanwhile["upsert"] = meanwhile
        work(shop.tools, [late])
        assert shop.state(late.id) == JobState.SUCCEEDED
        assert {payload.access for payload in payloads(slow)} == {BOB}
        shop.agree()

    def test_beside_a_repair(self, shop: Shop, slow: Slow) -> None:
        accepted = shop.upload(FACTS, grants=ANN)
        shop.work()
        (generation_id,) = slow.generations()
        slow.delete(generation_id, document_id=accepted.document_id)

        def meanwhile() -> None:
            given_to(shop, accepted.document_id, BOB)
            shop.work()
            assert shop.state(accepted.job_id) == JobState.SUCCEEDED

        slow.meanwhile["upsert"] = meanwhile
        integrity.verify(shop.parts, shop.scope, shop.collection, repair=True)
        assert {payload.access for payload in payloads(slow)} == {BOB}
        shop.agree()


class TestSuperseded:
    @pytest.mark.parametrize("loses", [False, True], ids=["that goes on", "that is over"])
    def test_beside_a_reindex(self, shop: Shop, slow: Slow, *, loses: bool) -> None:
        shop.upload(FACTS)
        shop.work()
        late = reindexing(shop)

        def meanwhile() -> None:
            if loses:
                others_do_it(shop)
            newer = shop.upload("Another text.")
            shop.work()
            assert shop.state(newer.job_id) == JobState.SUCCEEDED

        slow.meanwhile["upsert"] = meanwhile
        work(shop.tools, [late])
        shop.due_now()
        shop.work()
        assert shop.state(late.id) == JobState.SUCCEEDED
        shop.agree()


class TestClearing:
    """A worker that removes what was left of a cancelled version, which is tried again meanwhile."""

    def half_way(self, shop: Shop, slow: Slow) -> tuple[str, Claim]:
        """Cancelled when its points were written; gives its job, and the one that removes them."""
        accepted = shop.upload(FACTS)
        slow.after["upsert"] = lambda: cancel(shop, accepted.job_id)
        shop.work()
        assert (shop.state(accepted.job_id), shop.points()) == (JobState.CANCELLED, 1)
        with shop.parts.db.begin() as session:
            assert versions.clear_cancelled(session) == 1
        (clearing,) = shop.claim()
        return accepted.job_id or "", clearing

    def test_late_takes_nothing_of_the_other_try(self, shop: Shop, slow: Slow) -> None:
        job_id, clearing = self.half_way(shop, slow)

        def meanwhile() -> None:
            others_do_it(shop)
            retry(shop, job_id)
            shop.work()
            assert shop.state(job_id) == JobState.SUCCEEDED

        slow.after["delete"] = meanwhile
        work(shop.tools, [clearing])
        assert [shop.count(table) for table in (ChunkRow, Embedding, Indexing)] == [1, 1, 1]
        shop.agree()

    def test_may_be_late_and_the_other_try_waits_for_it(self, shop: Shop, slow: Slow) -> None:
        job_id, clearing = self.half_way(shop, slow)

        def meanwhile() -> None:
            shop.expire_leases()
            with shop.parts.db.begin() as session:
                claims.sweep(session, max_failures=3)
            shop.due_now()
            shop.work()
            assert shop.state(clearing.id) == JobState.SUCCEEDED
            retry(shop, job_id)
            shop.work()
            waiting = shop.job(job_id)
            assert (waiting.state, waiting.error_code) == (JobState.QUEUED, "still_cleared")

        slow.after["delete"] = meanwhile
        work(shop.tools, [clearing])
        shop.due_now()
        shop.work()
        assert shop.state(job_id) == JobState.SUCCEEDED
        shop.agree()

    def test_killed_before_it_said_so_the_other_try_stores_it_anew(self, shop: Shop, slow: Slow) -> None:
        """The version was stored in one of two generations, and SQL had that."""
        accepted = shop.upload(FACTS)

        def another_generation() -> None:
            start_reindex(shop)
            slow.meanwhile["upsert"] = away

        slow.after["upsert"] = another_generation
        work(shop.tools, shop.claim())
        assert (shop.state(accepted.job_id), shop.count(Indexing)) == (JobState.QUEUED, 1)
        cancel(shop, accepted.job_id)
        with shop.parts.db.begin() as session:
            assert versions.clear_cancelled(session) == 1
        (clearing,) = [found for _ in range(2) for found in shop.claim() if found.kind is JobKind.PURGE]
        slow.after["delete"] = lambda: slow.after.update(delete=killed)  # there are two generations
        with pytest.raises(KeyboardInterrupt):
            work(shop.tools, [clearing])
        retry(shop, accepted.job_id)
        others_do_it(shop)
        assert shop.state(accepted.job_id) == JobState.SUCCEEDED
        shop.agree()


def killed() -> None:
    raise KeyboardInterrupt


def away(*_: object) -> None:
    raise StoreUnavailable("The store is away.")


class TestLateAttempt:
    """A worker that lost its lease goes on where no store's owner refuses it, as on a server."""

    def others_do_it(self, shop: Shop) -> None:
        shop.expire_leases()
        with shop.parts.db.begin() as session:
            claims.sweep(session, max_failures=3)
        shop.due_now()
        shop.work()

    def test_does_not_bring_back_an_old_access_list(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shop.upload(FACTS, grants=list(ANN))
        late = shop.claim()
        describe = shop.parts.store.describe

        def suspended(*arguments: object, **named: object) -> None:
            monkeypatch.undo()
            shop.upload(FACTS, grants=list(BOB))
            self.others_do_it(shop)
            describe(*arguments, **named)

        monkeypatch.setattr(shop.parts.store, "describe", suspended)
        work(shop.tools, late)
        assert {payload.access for payload in payloads(shop.parts.store)} == {BOB}

    def test_removes_no_points_of_a_newer_one(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        """The newer one is of an Ibid that cuts otherwise, so that the numbers differ."""
        accepted = shop.upload(FACTS)
        late = shop.claim()
        count, cut = shop.parts.store.count, indexing.chunk

        def finer(parsed: Parsed, config: ChunkerConfig, count_tokens: object) -> object:
            return cut(parsed, replace(config, max_tokens=12, min_tokens=2), count_tokens)

        def suspended(*arguments: object, **named: object) -> int:
            monkeypatch.undo()
            monkeypatch.setattr(indexing, "chunk", finer)
            self.others_do_it(shop)
            return count(*arguments, **named)

        monkeypatch.setattr(shop.parts.store, "count", suspended)
        work(shop.tools, late)
        assert shop.state(accepted.job_id) == JobState.SUCCEEDED
        assert shop.points() > 1
        shop.agree()

    def test_points_that_an_attempt_before_an_upgrade_left_are_removed(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        accepted = shop.upload(FACTS)
        cut = indexing.chunk
        monkeypatch.setattr(
            indexing, "chunk", lambda p, c, n: cut(p, replace(c, max_tokens=12, min_tokens=2), n)
        )
        monkeypatch.setattr(storing, "record", away)
        shop.work()
        assert shop.points() > 1
        monkeypatch.undo()
        for _ in range(2):
            shop.due_now()
            shop.work()
        assert shop.state(accepted.job_id) == JobState.SUCCEEDED
        assert shop.points() == 1
        shop.agree()
