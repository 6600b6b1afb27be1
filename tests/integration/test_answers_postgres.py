"""What SQLite's one writer hides: an answer's sentence and the deletion of its document at the same time."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from sqlalchemy import select, text

from ibid import documents
from ibid.clock import now
from ibid.db.tables import Answer, AnswerCitation, AnswerSentence
from retrieval import answers, records, views
from retrieval.search import search
from retrieval.verification import Evidence, Judged, Support
from tests.running import eventually
from tests.services import postgres_database
from tests.unit.shelf import ADMIN, ANN, BOB, Shelf

LEAVE = "Employees receive 20 days of paid leave each year. Unused leave is not paid out."
QUESTION = "How many days of paid leave do employees receive?"

pytestmark = pytest.mark.service

# Of this database only: other tests use the same server.
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    with postgres_database() as url:
        made = Shelf(tmp_path, url=url)
        yield made
        made.close()


def start(shelf: Shelf) -> str:
    with shelf.db.begin() as session:
        return records.start(session, ADMIN, "shelf", QUESTION, shelf.settings)


def sentence(shelf: Shelf) -> Judged:
    hit = search(shelf.kit, ADMIN, "shelf", QUESTION, 1).hits[0]
    place = Evidence(hit.document_id, hit.version_id, 0, 50, LEAVE[:50], None, ())
    return Judged(LEAVE[:50], Support.VERIFIED, (place,))


def blocked(shelf: Shelf) -> bool:
    """Whether a transaction waits for another one's lock."""
    with shelf.db.read() as session:
        return bool(session.scalar(text(WAITING)))


class TestSearch:
    def test_checks_against_sql(self, shelf: Shelf):
        open_one = shelf.add("leave.txt", LEAVE)
        closed = shelf.add("secret.txt", "Secret leave for Ann.", grants=["user:ann"])
        deleted = shelf.add("old.txt", LEAVE)
        shelf.delete(deleted)
        seen = {
            scope.actor: {hit.document_id for hit in search(shelf.kit, scope, "shelf", "leave", 5).hits}
            for scope in (ANN, BOB)
        }
        assert seen == {"ann": {open_one, closed}, "bob": {open_one}}


class TestRun:
    def test_answers_and_is_read_as_on_sqlite(self, shelf: Shelf):
        shelf.add("leave.txt", LEAVE)
        answer_id = start(shelf)
        anyio.run(answers.run, shelf.kit, ADMIN, answer_id)
        with shelf.db.read() as session:
            seen = views.view(session, ADMIN, answer_id)
            events = views.events_after(session, ADMIN, answer_id, 0)
        assert seen.status == "completed"
        assert seen.citations[0].quote == LEAVE[:50]
        assert events[-1].type == "answer.completed"


class TestDelete:
    def test_waits_for_a_sentence_that_is_being_written_and_withdraws_it(self, shelf: Shelf):
        document_id, answer_id = shelf.add("leave.txt", LEAVE), start(shelf)
        judged = sentence(shelf)
        deleting = threading.Thread(target=shelf.delete, args=(document_id,))
        with shelf.db.begin() as session:
            records.running(session, answer_id)
            assert records.citable(session, ADMIN, judged)
            records.release(session, answer_id, judged, "extractive")
            deleting.start()
            eventually(lambda: blocked(shelf))
        deleting.join()
        with shelf.db.read() as session:
            (row,) = session.scalars(select(AnswerSentence)).all()
            assert (row.text, row.withdrawn) == ("", True)

    def test_under_way_keeps_a_sentence_from_being_written(self, shelf: Shelf):
        document_id, answer_id = shelf.add("leave.txt", LEAVE), start(shelf)
        judged = sentence(shelf)
        found: list[bool] = []

        def write() -> None:
            with shelf.db.begin() as session:
                records.running(session, answer_id)
                found.append(records.citable(session, ADMIN, judged))

        writing = threading.Thread(target=write)
        with shelf.db.begin() as session:
            documents.delete(session, ADMIN, document_id, grace=None)
            writing.start()
            eventually(lambda: blocked(shelf))
        writing.join()
        assert found == [False]
        with shelf.db.read() as session:
            assert session.scalars(select(AnswerCitation)).all() == []


class TestLease:
    def test_is_kept_by_the_databases_clock(self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch):
        """A machine whose clock is wrong neither loses its answers to the sweeper nor keeps them for good."""
        for hours in (-1, 1):
            for module in (records, views):
                wrong = now() + timedelta(hours=hours)
                monkeypatch.setattr(module, "now", lambda wrong=wrong: wrong, raising=False)
            answer_id = start(shelf)
            with shelf.db.begin() as session:
                views.touch_watched(session, answer_id)
                assert records.end_interrupted(session) == 0
                answer = session.get_one(Answer, answer_id)
                least = now() + timedelta(seconds=shelf.settings.lease_seconds - 10)
                assert least < answer.lease_until < least + timedelta(seconds=20)
                assert abs(answer.watched_at - now()) < timedelta(seconds=10)
            answers._beat(shelf.kit, answer_id)


class TestNumbers:
    def test_of_events_are_unbroken_when_two_write_at_once(self, shelf: Shelf):
        shelf.add("leave.txt", LEAVE)
        answer_id, judged = start(shelf), sentence(shelf)
        moved = [
            replace(judged, evidence=(replace(judged.evidence[0], start=n, quote=LEAVE[n:50]),))
            for n in range(8)
        ]

        def write(one: Judged) -> None:
            with shelf.db.begin() as session:
                records.running(session, answer_id)
                records.release(session, answer_id, one, "extractive")

        writers = [threading.Thread(target=write, args=(one,)) for one in moved]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        with shelf.db.read() as session:
            seen = views.events_after(session, ADMIN, answer_id, 0)
            assert session.get_one(Answer, answer_id).status == "running"
        assert [event.seq for event in seen] == list(range(1, 18))
        assert sorted(event.data["n"] for event in seen if event.type == "citation.added") == list(
            range(1, 9)
        )
