"""PostgreSQL locks rows: collection, document, generation, job, in this order everywhere, so that nobody waits in a ring."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from ibid import collections, documents, generations, jobs
from ibid.blobs.memory import MemoryBlobStore
from ibid.bootstrap import open_parts
from ibid.db.session import Database
from ibid.db.tables import Base, Document
from ibid.nudge.memory import MemoryNudge
from ibid.settings import Settings
from ibid.types import JobState, Scope
from ibid.vectors.memory import MemoryVectorStore
from ingest.work import work
from tests.running import eventually
from tests.services import postgres_database
from tests.unit.shop import FACTS, Shop
from tests.unit.test_archives import zipped
from tests.unit.test_unpacking import send

pytestmark = pytest.mark.service

# Of this database only: other tests use the same server.
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with postgres_database() as url:
        db = Database(url)
        Base.metadata.create_all(db.engine)
        settings = Settings(data_dir=tmp_path, embedder="hashing", sample=False)
        parts = open_parts(
            settings, db=db, store=MemoryVectorStore(), blobs=MemoryBlobStore(), nudge=MemoryNudge()
        )
        yield Shop(parts, Scope(key_id="key_admin", role="admin"))
        db.dispose()


def blocked(shop: Shop) -> bool:
    with shop.parts.db.read() as session:
        return bool(session.scalar(text(WAITING)))


@contextmanager
def beside_work(shop: Shop, lock: Callable[[Session], object]) -> Iterator[Session]:
    """A transaction that holds a lock which the worker waits for; what it does next may not wait for the worker."""
    worker = threading.Thread(target=work, args=(shop.tools, shop.claim()))
    with shop.parts.db.begin() as session:
        lock(session)
        worker.start()
        eventually(lambda: blocked(shop), what="the worker's wait")
        session.execute(text("SET LOCAL lock_timeout = '300ms'"))
        yield session
    worker.join()


def locked_document(session: Session, document_id: str) -> Document:
    return session.scalars(select(Document).where(Document.id == document_id).with_for_update()).one()


class TestDelete:
    def test_of_a_document_that_is_being_read(self, shop: Shop) -> None:
        accepted = shop.upload(FACTS)
        with beside_work(shop, lambda session: locked_document(session, accepted.document_id)) as session:
            documents.delete(session, shop.scope, accepted.document_id, grace=None)
        shop.work()
        assert shop.state(accepted.job_id) == JobState.CANCELLED
        assert shop.points() == 0

    def test_of_a_collection_that_is_being_reindexed(self, shop: Shop) -> None:
        shop.upload(FACTS)
        shop.work()
        with shop.parts.db.begin() as session:
            generations.start_reindex(session, shop.scope, shop.collection, shop.parts.recipe())
        with beside_work(
            shop, lambda session: generations.lock_collection(session, shop.collection)
        ) as session:
            collections.delete(session, shop.scope, shop.collection, grace=None)
        shop.work()
        assert shop.parts.store.generations() == set()


class TestUnpack:
    def test_into_a_collection_that_is_being_deleted(self, shop: Shop) -> None:
        job_id = send(shop, zipped(("a.txt", b"x"), ("b.txt", b"y")))
        with beside_work(
            shop, lambda session: generations.lock_collection(session, shop.collection)
        ) as session:
            collections.delete(session, shop.scope, shop.collection, grace=None)
        shop.work()
        assert shop.state(job_id) == JobState.CANCELLED
        assert shop.count(Document) == 0


class TestUpload:
    def test_again_while_it_is_read(self, shop: Shop) -> None:
        accepted = shop.upload(FACTS)
        with beside_work(shop, lambda session: locked_document(session, accepted.document_id)) as session:
            jobs.cancel_for(session, collection_id=shop.collection, document_id=accepted.document_id)
        assert shop.state(accepted.job_id) == JobState.CANCELLED
