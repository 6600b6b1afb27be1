"""PostgreSQL locks rows: collection, documents, then generation and jobs everywhere, so that nobody waits in a ring."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from ibid import claims, collections, deletions, documents, families, generations, jobs
from ibid.blobs.memory import MemoryBlobStore
from ibid.bootstrap import open_parts
from ibid.claims import Claim
from ibid.db.session import Database
from ibid.db.tables import AnswerSentence, AnswerSource, Base, Document, Job, Version
from ibid.jobs import Those
from ibid.nudge.memory import MemoryNudge
from ibid.settings import Settings
from ibid.types import JobState, Scope, Support
from ibid.vectors.memory import MemoryVectorStore
from ingest.work import work
from retrieval import records
from tests.running import eventually
from tests.services import postgres_database
from tests.unit.shop import FACTS, LEASE, MailReader, Shop
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


@contextmanager
def beside(shop: Shop, other: Callable[[], object], lock: Callable[[Session], object]) -> Iterator[Session]:
    """A transaction that holds a lock which another waits for; what it does next may not wait for the other."""
    thread = threading.Thread(target=other)
    with shop.parts.db.begin() as session:
        lock(session)
        thread.start()
        eventually(lambda: blocked(shop), what="the other's wait")
        session.execute(text("SET LOCAL lock_timeout = '300ms'"))
        yield session
    thread.join()


def deleting(shop: Shop, ids: list[str]) -> Callable[[], object]:
    def delete() -> None:
        with shop.parts.db.begin() as session:
            deletions.delete(session, shop.scope, ids, grace=None)

    return delete


def retrying(shop: Shop) -> Callable[[], object]:
    def retry() -> None:
        with shop.parts.db.begin() as session:
            jobs.retry_failed(session, shop.scope, Those())

    return retry


def beating(held: Claim) -> Callable[[Session], object]:
    return lambda session: claims.heartbeat(session, [held], lease=LEASE)


def locked_job(job_id: str | None) -> Callable[[Session], object]:
    return lambda session: session.scalars(select(Job).where(Job.id == job_id).with_for_update()).one()


def emptied(answer_id: str) -> Callable[[Session], object]:
    """What a deletion does to the sentences of an answer."""
    sentences = update(AnswerSentence).where(AnswerSentence.answer_id == answer_id)
    return lambda session: session.execute(sentences.values(text="", withdrawn=True))


def told(session: Session, shop: Shop, sources: list[str]) -> str:
    """An answer made from the documents; gives its id."""
    answer = records.start(session, shop.scope, shop.collection, "What?", shop.parts.settings)
    session.add(
        AnswerSentence(answer_id=answer, ordinal=0, text="Words.", support=Support.UNSUPPORTED, citations=[])
    )
    session.add_all(AnswerSource(answer_id=answer, document_id=document_id) for document_id in sources)
    return answer


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

    def test_of_many_documents_beside_heartbeats(self, shop: Shop) -> None:
        """The older document has the younger job, and heartbeats lock jobs by id."""
        first = shop.upload(FACTS)
        shop.work()
        second = shop.upload("Other.", name="other.txt")
        newer = shop.upload(FACTS + " More.")
        held = {claim.id: claim for claim in shop.claim()}
        assert second.job_id < newer.job_id
        ids = [first.document_id, second.document_id]
        with beside(shop, deleting(shop, ids), beating(held[second.job_id])) as session:
            beating(held[newer.job_id])(session)
        assert shop.state(newer.job_id) == JobState.CANCELLED

    def test_of_some_beside_a_delete_of_others_in_the_same_answers(self, shop: Shop) -> None:
        """Two deletions may have to empty the same sentences."""
        names = ("a.txt", "b.txt", "c.txt", "d.txt")
        made = [shop.upload(f"{FACTS} {name}", name=name).document_id for name in names]
        shop.work()
        with shop.parts.db.begin() as session:
            older, younger = (told(session, shop, some) for some in (made[1:3], [made[0], made[3]]))
        with beside(shop, deleting(shop, made[:2]), emptied(older)) as session:
            emptied(younger)(session)

    def test_rows_are_erased_beside_a_retry(self, shop: Shop) -> None:
        """A retry locks the document and then the job."""
        accepted = shop.upload(FACTS)
        shop.work()
        shop.delete(accepted.document_id)
        with beside_work(shop, lambda session: locked_document(session, accepted.document_id)) as session:
            locked_job(accepted.job_id)(session)
        shop.work()
        assert shop.count(Version) == 0

    def test_of_a_file_inside_a_document_that_goes_live(self, shop: Shop) -> None:
        """Going live, its parent may replace it; a heartbeat holds jobs of both."""
        shop.use(MailReader())
        mail = shop.upload("Mail.\n\na.txt: First.", "mail.txt")
        shop.work()
        with shop.parts.db.read() as session:
            (child,) = families.inside(session, mail.document_id)
        newer = shop.upload("Mail.\n\nb.txt: Second.", "mail.txt")
        with beside_work(shop, lambda session: locked_document(session, child.id)) as session:
            locked_job(newer.job_id)(session)
        shop.work()
        assert shop.live(mail.document_id) == 2


class TestRetry:
    def test_of_many_beside_a_delete(self, shop: Shop) -> None:
        """The older document has the younger job, and deletes lock documents by id."""
        first, second = shop.upload(FACTS), shop.upload("Other.", name="other.txt")
        newer = shop.upload(FACTS + " More.")
        with shop.parts.db.begin() as session:
            for job_id in (first.job_id, second.job_id, newer.job_id):
                session.get_one(Job, job_id).state = JobState.FAILED
        held = second.document_id
        with beside(shop, retrying(shop), lambda session: locked_document(session, held)) as session:
            for job_id in (first.job_id, second.job_id, newer.job_id):
                locked_job(job_id)(session)


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
