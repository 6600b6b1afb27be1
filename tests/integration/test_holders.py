"""The certificate of a deletion names what still holds the same bytes, to those who may see it, and to nobody else."""

from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from ibid import arrivals, collections, documents, families, holders, jobs
from ibid.arrivals import Link
from ibid.db.tables import Blob, Document, Job, Version
from ibid.types import JobState, Scope
from ingest import unpacking
from ingest.work import work
from tests.integration import test_forgetting
from tests.shops import ADMIN
from tests.unit.shop import MailReader, Shop
from tests.unit.test_archives import zipped
from tests.unit.test_unpacking import send

shop = test_forgetting.shop

BOB = Scope(key_id="key_bob", role="reader", principals=frozenset({"user:bob"}), actor="bob")
SECRET = "The keys are in the safe."


def deleted(shop: Shop, document_id: str) -> str:
    job_id = test_forgetting.delete(shop, document_id)
    shop.work()
    assert shop.state(job_id) == JobState.SUCCEEDED
    return job_id


def held_by(shop: Shop, job_id: str, scope: Scope = ADMIN) -> list[dict[str, Any]]:
    with shop.parts.db.read() as session:
        statistics = jobs.view(session, session.get_one(Job, job_id), scope).statistics
    assert statistics["held_by_more"] == 0
    return statistics["held_by"]


def inside(shop: Shop, document_id: str) -> Document:
    with shop.parts.db.read() as session:
        (child,) = families.inside(session, document_id)
    return child


def upload_to(shop: Shop, collection: str, content: str, **described: object) -> str:
    here, shop.collection = shop.collection, collection
    made = shop.upload(content, **described)
    shop.collection = here
    return made.document_id


def copy_rows(session: Session, copies: int, document_id: str) -> None:
    """Make so many documents with the bytes of this one, by rows alone."""
    numbers = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < :copies) "
    given = {"copies": copies, "document_id": document_id}
    for table, where, changed in (
        (Document, "id", {"id": "'doc_' || n", "identity": "'copy:' || n", "current_version_id": "NULL"}),
        (Version, "document_id", {"id": "'ver_' || n", "document_id": "'doc_' || n"}),
    ):
        names = [column.name for column in table.__table__.columns]
        values = ", ".join(changed.get(name, f"t.{name}") for name in names)
        source = f"SELECT {values} FROM {table.__tablename__} t, n WHERE t.{where} = :document_id"
        into = f"INSERT INTO {table.__tablename__} ({', '.join(names)}) "
        postgres = session.get_bind().dialect.name == "postgresql"
        session.execute(text(numbers + into + source if postgres else into + numbers + source), given)


def stop_after_first(shop: Shop, monkeypatch: pytest.MonkeyPatch, job_id: str) -> None:
    """Unpack one file and cancel the job, so that the archive is kept for another try."""
    real = unpacking._accept

    def once(*given: Any) -> None:
        real(*given)
        with shop.parts.db.begin() as session:
            jobs.cancel(session, shop.scope, job_id)

    monkeypatch.setattr(unpacking, "_accept", once)
    work(shop.tools, [claim for claim in shop.claim() if claim.id == job_id])
    monkeypatch.undo()
    assert shop.state(job_id) == JobState.CANCELLED


class TestInside:
    def test_its_documents_are_named_with_what_to_do(self, shop: Shop) -> None:
        shop.use(MailReader())
        mail = shop.upload(f"Mail.\n\na.txt: B. / in.txt: {SECRET}", "mail.txt")
        shop.work()
        outer = inside(shop, mail.document_id)
        job_id = deleted(shop, inside(shop, outer.id).id)
        found = held_by(shop, job_id)
        assert [(each["document_id"], each["name"], each["why"]) for each in found] == [
            (mail.document_id, "mail.txt", holders.INSIDE),
            (outer.id, "a.txt", holders.INSIDE),
        ]
        assert all(f"DELETE /v1/documents/{each['document_id']}" in each["what_to_do"] for each in found)
        assert "mail.txt" not in str(shop.job(job_id).statistics)

    def test_a_dropped_version_of_its_document_holds_it_too(self, shop: Shop) -> None:
        shop.use(MailReader())
        mail = shop.upload(f"Mail.\n\na.txt: {SECRET}", "mail.txt")
        shop.work()
        child = inside(shop, mail.document_id)
        shop.upload("Nothing.", "mail.txt")
        (held,) = shop.claim()
        job_id = test_forgetting.delete(shop, child.id)
        work(shop.tools, [held])
        shop.work()
        assert [each["document_id"] for each in held_by(shop, job_id)] == [mail.document_id]

    def test_nothing_is_left_once_all_is_deleted(self, shop: Shop) -> None:
        shop.use(MailReader())
        mail = shop.upload(f"Mail.\n\na.txt: {SECRET}", "mail.txt")
        shop.work()
        first = deleted(shop, inside(shop, mail.document_id).id)
        assert held_by(shop, deleted(shop, mail.document_id)) == []
        assert held_by(shop, first) == [holders.ELSEWHERE]


class TestSameBytes:
    def test_in_another_collection_and_another_row_are_named_to_who_may_see_them(self, shop: Shop) -> None:
        with shop.parts.db.begin() as session:
            recipe = shop.parts.recipe()
            other = collections.create(
                session, name="safe", description="", grants=["user:ann"], recipe=recipe
            ).id
        mine = shop.upload(SECRET)
        with shop.parts.db.begin() as session:
            session.query(Blob).update({"dead": True})
        theirs = upload_to(shop, other, SECRET, name="hidden.txt")
        with shop.parts.db.begin() as session:
            session.query(Blob).update({"dead": False})
        shop.work()
        assert shop.count(Blob) == 2
        job_id = deleted(shop, mine.document_id)
        (seen,) = held_by(shop, job_id)
        assert (seen["document_id"], seen["name"], seen["why"]) == (theirs, "hidden.txt", holders.SAME)
        for scope in (BOB, jobs.NOBODY):
            assert held_by(shop, job_id, scope) == [holders.ELSEWHERE]

    def test_how_many_there_are_where_one_may_not_look_is_not_told(self, shop: Shop) -> None:
        with shop.parts.db.begin() as session:
            recipe = shop.parts.recipe()
            other = collections.create(
                session, name="board", description="", grants=["user:ann"], recipe=recipe
            ).id
        upload_to(shop, other, SECRET)
        mine, own = shop.upload(SECRET, "guess.txt"), shop.upload(SECRET, "own.txt")
        shop.work()
        with shop.parts.db.begin() as session:
            copy_rows(session, 200, own.document_id)
        told = []
        for document_id in (mine.document_id, own.document_id):
            job_id = deleted(shop, document_id)
            told.append([each["name"] for each in held_by(shop, job_id, jobs.NOBODY)])
            (*seen, last) = held_by(shop, job_id, BOB)
            assert {each["name"] for each in seen} == {"own.txt"}
            assert last == holders.ELSEWHERE
            assert shop.job(job_id).statistics["held_by_more"] > 0
        assert told == [["elsewhere"], ["elsewhere"]]

    def test_inside_another_document_are_found(self, shop: Shop) -> None:
        shop.use(MailReader())
        mine = shop.upload(SECRET, "own.txt")
        mail = shop.upload(f"Mail.\n\na.txt: {SECRET}", "mail.txt")
        shop.work()
        child = inside(shop, mail.document_id)
        found = held_by(shop, deleted(shop, mine.document_id))
        assert [(each["document_id"], each["why"]) for each in found] == [
            (child.id, holders.SAME),
            (mail.document_id, holders.INSIDE),
        ]

    def test_in_more_documents_than_a_statement_takes_values(self, shop: Shop) -> None:
        mine = shop.upload(SECRET)
        shop.work()
        with shop.parts.db.begin() as session:
            copy_rows(session, 70_000, mine.document_id)
        job_id = deleted(shop, mine.document_id)
        statistics = shop.job(job_id).statistics
        assert (len(statistics["held_by"]), statistics["held_by_more"]) == (
            holders.MOST,
            70_000 - holders.MOST,
        )

    def test_of_a_file_inside_are_said_by_the_deletion_of_that(self, shop: Shop) -> None:
        shop.use(MailReader())
        one = shop.upload("First.\n\nlogo.txt: Logo.", "one.txt")
        two = shop.upload("Second.\n\nlogo.txt: Logo.", "two.txt")
        shop.work()
        child, other = inside(shop, one.document_id), inside(shop, two.document_id)
        assert held_by(shop, deleted(shop, one.document_id)) == []
        with shop.parts.db.read() as session:
            own = session.scalars(
                select(Job.id).where(Job.document_id == child.id, Job.kind == "purge")
            ).one()
        assert [(each["document_id"], each["why"]) for each in held_by(shop, own)] == [
            (other.id, holders.SAME),
            (two.document_id, holders.INSIDE),
        ]

    def test_outside_a_deleted_collection(self, shop: Shop) -> None:
        with shop.parts.db.begin() as session:
            other = collections.create(
                session, name="b", description="", grants=None, recipe=shop.parts.recipe()
            ).id
        theirs = upload_to(shop, other, SECRET)
        shop.upload(SECRET)
        shop.upload("Something else.", "else.txt")
        shop.work()
        with shop.parts.db.begin() as session:
            job_id = collections.delete(session, ADMIN, shop.collection, grace=None).id
        shop.work()
        assert [each["document_id"] for each in held_by(shop, job_id)] == [theirs]


class TestArchive:
    def test_of_an_earlier_batch(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        content = zipped(("a.txt", SECRET.encode()), ("b.txt", b"B."))
        earlier = send(shop, content, "earlier.zip")
        stop_after_first(shop, monkeypatch, earlier)
        later = send(shop, content, "later.zip")
        shop.work()
        assert shop.state(later) == JobState.SUCCEEDED
        with shop.parts.db.read() as session:
            listed = documents.listing(session, ADMIN, shop.collection, after=None, limit=9)
        (mine,) = [each for each in listed if each.name == "a.txt"]
        assert mine.batch_id == later
        job_id = deleted(shop, mine.id)
        (found,) = held_by(shop, job_id)
        assert (found["job_id"], found["name"], found["why"]) == (earlier, "earlier.zip", holders.ARCHIVE)
        assert "arrivals" in {each["table"] for each in shop.job(job_id).statistics["kept"]}

    def test_that_its_document_came_in(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        shop.use(MailReader())
        content = zipped(("mail.txt", f"Mail.\n\na.txt: {SECRET}".encode()), ("b.txt", b"B."))
        archive = send(shop, content, "mails.zip", grants=["user:ann"])
        stop_after_first(shop, monkeypatch, archive)
        shop.work()
        with shop.parts.db.read() as session:
            (mail,) = documents.listing(session, ADMIN, shop.collection, after=None, limit=9, batch=archive)
        job_id = deleted(shop, inside(shop, mail.id).id)
        assert [each["document_id"] or each["job_id"] for each in held_by(shop, job_id)] == [mail.id, archive]
        assert held_by(shop, job_id, BOB) == [holders.ELSEWHERE]


class TestAddress:
    ADDRESS = "https://example.com/merger.txt"

    def fetching(self, shop: Shop, **described: Any) -> str:
        with shop.parts.db.begin() as session:
            return arrivals.fetch(session, ADMIN, shop.collection, Link(self.ADDRESS, **described)).job_id

    @pytest.mark.parametrize("external_id", [None, "merger"])
    def test_that_waits_or_is_kept_for_another_try(self, shop: Shop, external_id: str | None) -> None:
        mine = shop.upload(SECRET, external_id=external_id or self.ADDRESS)
        shop.work()
        waiting = self.fetching(shop, name="merger.txt", external_id=external_id, grants=["user:ann"])
        self.fetching(shop, external_id="other")
        job_id = test_forgetting.delete(shop, mine.document_id)
        shop.work()  # addresses are not fetched unless the operator wants it
        assert shop.state(waiting) == JobState.FAILED
        (found,) = held_by(shop, job_id)
        assert (found["job_id"], found["name"], found["why"]) == (waiting, "merger.txt", holders.ADDRESS)
        assert waiting not in str(held_by(shop, job_id, BOB))
        assert "arrivals" in {each["table"] for each in shop.job(job_id).statistics["kept"]}
        assert "example.com" not in str(shop.job(job_id).statistics)
