"""The sweeper: takes over from whoever is gone, lets go of what was kept long enough, and leaves the rest alone."""

import io
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from ibid import generations, keys, leases, replies, uploads, writing
from ibid.bootstrap import Parts, open_parts
from ibid.clock import now
from ibid.db.tables import Answer, Blob, Generation, Job, Lease, Reindex, SavedReply, WebToken
from ibid.types import JobKind, JobState, Scope
from ibid.vectors.errors import StoreUnavailable
from retrieval import records
from tests.unit.shop import FACTS, Shop
from worker import housekeeping

DAY_LATER = timedelta(hours=25)


@pytest.fixture
def shop(parts: Parts, admin: Scope) -> Shop:
    return Shop(parts, admin)


@pytest.fixture
def impatient(parts: Parts, admin: Scope) -> Shop:
    """One that keeps former versions and generations for no time at all."""
    settings = parts.settings.model_copy(
        update={"version_retention_days": 0.0, "generation_retention_hours": 0.0}
    )
    return Shop(
        open_parts(settings, db=parts.db, store=parts.store, blobs=parts.blobs, nudge=parts.nudge), admin
    )


def sweep(shop: Shop, later: timedelta = timedelta()) -> None:
    housekeeping.sweep(shop.parts, now() + later)


def purges(shop: Shop) -> int:
    with shop.parts.db.read() as session:
        return session.scalar(select(func.count()).where(Job.kind == JobKind.PURGE)) or 0


def supersede(shop: Shop) -> None:
    for text in (FACTS, "Another bridge."):
        shop.upload(text)
        shop.work()


def reindex(shop: Shop) -> str:
    with shop.parts.db.begin() as session:
        return generations.start_reindex(session, shop.scope, shop.collection, shop.parts.recipe()).id


def orphan(shop: Shop, age: timedelta) -> str:
    """The key of bytes that no document refers to."""
    kept = uploads.keep(shop.parts.db, shop.parts.blobs, io.BytesIO(b"uploaded, and then the server died"))
    with shop.parts.db.begin() as session:
        session.execute(update(Blob).where(Blob.id == kept.blob_id).values(touched_at=now() - age))
        return session.get_one(Blob, kept.blob_id).key


def answering(shop: Shop) -> str:
    """An answer that is running."""
    with shop.parts.db.begin() as session:
        return records.start(session, shop.scope, shop.collection, "How long is it?", shop.parts.settings)


class TestLost:
    def test_a_job_is_queued_again_and_announced(self, shop: Shop) -> None:
        id_ = shop.lose()
        before = shop.parts.nudge.sent
        sweep(shop)
        assert shop.state(id_) == JobState.QUEUED
        assert shop.parts.nudge.sent == before + 1

    def test_a_job_is_found_whatever_else_goes_wrong(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise RuntimeError("a bug in the rest of the sweep")

        id_ = shop.lose()
        monkeypatch.setattr(records, "end_interrupted", fail)
        with pytest.raises(RuntimeError):
            sweep(shop)
        assert shop.state(id_) == JobState.QUEUED

    def test_a_job_fails_after_as_many_attempts_as_the_setting_says(self, shop: Shop) -> None:
        id_ = shop.lose()
        for _ in range(shop.parts.settings.max_attempts - 1):
            sweep(shop)
            shop.due_now()
            shop.claim()
            shop.expire_leases()
        sweep(shop)
        assert shop.job(id_).error_code == "worker_lost"

    def test_an_answer_ends_as_interrupted(self, shop: Shop) -> None:
        id_ = answering(shop)
        sweep(shop)
        with shop.parts.db.read() as session:
            assert session.get_one(Answer, id_).status == "running"
        with shop.parts.db.begin() as session:
            session.get_one(Answer, id_).lease_until = now() - timedelta(seconds=1)
        sweep(shop)
        with shop.parts.db.read() as session:
            assert session.get_one(Answer, id_).reason == "interrupted"

    def test_a_generation_whose_reindex_ended_is_given_up(self, shop: Shop) -> None:
        id_ = reindex(shop)
        with shop.parts.db.begin() as session:
            session.get_one(Job, session.get_one(Reindex, id_).job_id).state = JobState.FAILED
        sweep(shop)
        with shop.parts.db.read() as session:
            assert session.get_one(Reindex, id_).state == JobState.FAILED
        assert purges(shop) == 1


class TestKeptLongEnough:
    def test_passages_of_a_former_version_go(self, impatient: Shop) -> None:
        supersede(impatient)
        before = impatient.points()
        sweep(impatient)
        sweep(impatient)
        assert purges(impatient) == 1
        impatient.work()
        assert 0 < impatient.points() < before
        impatient.agree()

    def test_a_former_generation_goes(self, impatient: Shop) -> None:
        impatient.upload(FACTS)
        impatient.work()
        reindex(impatient)
        impatient.work()
        assert len(impatient.parts.store.generations()) == 2
        sweep(impatient)
        sweep(impatient)
        assert purges(impatient) == 1
        impatient.work()
        assert len(impatient.parts.store.generations()) == 1
        impatient.agree()

    def test_replies_links_and_sessions_go(self, shop: Shop) -> None:
        with shop.parts.db.begin() as session:
            admin_key = keys.ensure_admin(session, shop.parts.settings)
            keys.new_link(session)
            keys.new_session(session, keys.holder(session, admin_key or ""))
            replies.reserve(session, "key", "an idempotency key", "hash")
        sweep(shop)
        assert (shop.count(WebToken), shop.count(SavedReply)) == (2, 1)
        sweep(shop, DAY_LATER)
        assert (shop.count(WebToken), shop.count(SavedReply)) == (0, 0)

    def test_bytes_without_a_document_go(self, shop: Shop) -> None:
        key = orphan(shop, timedelta(hours=2))
        sweep(shop)
        assert shop.count(Blob) == 0
        assert not shop.parts.blobs.exists(key)

    def test_rights_to_write_points_go_that_nobody_gave_back(self, shop: Shop) -> None:
        """Of a writer that was killed, or lost the store; those of processes are taken over by the next one."""
        with shop.parts.db.begin() as session:
            leases.take(session, "sweep", "w", length=timedelta(hours=1))
        with pytest.raises(StoreUnavailable), writing.points(shop.parts.db, "doc_1"):
            raise StoreUnavailable("The store is away.")
        sweep(shop)
        assert shop.count(Lease) == 2
        with shop.parts.db.begin() as session:
            session.execute(update(Lease).values(until=now()))
        sweep(shop)
        with shop.parts.db.read() as session:
            assert session.scalars(select(Lease.name)).all() == ["sweep"]


class TestYoung:
    def test_versions_and_generations_stay(self, shop: Shop) -> None:
        supersede(shop)
        reindex(shop)
        shop.work()
        sweep(shop)
        assert purges(shop) == 0
        with shop.parts.db.read() as session:
            states = session.scalars(select(Generation.state)).all()
        assert sorted(states) == ["active", "standby"]

    def test_bytes_that_are_being_uploaded_stay(self, shop: Shop) -> None:
        key = orphan(shop, timedelta(minutes=30))
        sweep(shop)
        assert shop.parts.blobs.exists(key)

    def test_bytes_of_a_document_stay_however_old(self, shop: Shop) -> None:
        shop.upload(FACTS)
        with shop.parts.db.begin() as session:
            session.execute(update(Blob).values(touched_at=now() - timedelta(days=30)))
        sweep(shop)
        assert shop.count(Blob) == 1
