"""`Idempotency-Key`: one effect, one reply, and no reply that outlives what it quotes."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from httpx2 import Response
from sqlalchemy import delete, func, select, update

from ibid import replies
from ibid.clock import now
from ibid.db.tables import Answer, ApiKey, Collection, Document, SavedReply
from tests.door import LEAVE, QUESTION, Door, made

NUMBERS = count()


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with made(tmp_path_factory.mktemp("once")) as running:
        yield running


@pytest.fixture
def once(door: Door) -> dict[str, str]:
    """A header with a key that no other test uses; replies saved before are forgotten."""
    with door.parts.db.begin() as session:
        session.execute(delete(SavedReply))
    return {"Idempotency-Key": f"key {next(NUMBERS)}"}


@pytest.fixture
def name() -> str:
    return f"collection {next(NUMBERS)}"


def rows(door: Door, table: type) -> int:
    with door.parts.db.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def saved(door: Door) -> list[SavedReply]:
    with door.parts.db.read() as session:
        return list(session.scalars(select(SavedReply)))


def create(door: Door, name: str, once: dict[str, str], **more: Any) -> Response:
    return door.post("/v1/collections", json={"name": name}, headers=once, **more)


class TestRepeat:
    def test_gives_the_same_reply_and_no_second_effect(
        self, door: Door, name: str, once: dict[str, str]
    ) -> None:
        before = rows(door, Collection)
        first, again = create(door, name, once), create(door, name, once)
        assert (first.status_code, again.status_code) == (201, 201)
        assert again.json() == first.json()
        assert "idempotent-replayed" not in first.headers
        assert again.headers["idempotent-replayed"] == "true"
        assert rows(door, Collection) == before + 1

    def test_with_another_request_is_refused(self, door: Door, name: str, once: dict[str, str]) -> None:
        create(door, name, once)
        before = rows(door, Collection)
        assert door.code(create(door, name + " b", once)) == (422, "idempotency_key_reused")
        assert rows(door, Collection) == before

    def test_of_another_key_is_another_request(self, door: Door, name: str, once: dict[str, str]) -> None:
        create(door, name, once)
        assert create(door, name + " b", once, key=door.key("editor")).status_code == 201

    def test_after_a_refusal_runs_again(self, door: Door, name: str, once: dict[str, str]) -> None:
        door.collection(name)
        assert create(door, name, once).status_code == 409
        assert saved(door) == []
        assert create(door, name + " b", once).status_code == 201

    def test_while_the_first_runs_is_told_to_wait(self, door: Door, name: str, once: dict[str, str]) -> None:
        die_between(door, name, once, lease=timedelta(seconds=30))
        waiting = create(door, name, once)
        assert door.code(waiting) == (409, "idempotency_in_progress")
        assert int(waiting.headers["retry-after"]) >= 1

    def test_after_a_crash_runs_once_the_lease_is_over(
        self, door: Door, name: str, once: dict[str, str]
    ) -> None:
        die_between(door, name, once, lease=timedelta(seconds=-1))
        assert create(door, name, once).status_code == 201

    @pytest.mark.parametrize("key", ["", "x" * 256])
    def test_key_must_be_usable(self, door: Door, name: str, key: str) -> None:
        assert door.code(create(door, name, {"Idempotency-Key": key})) == (422, "bad_idempotency_key")


def die_between(door: Door, name: str, once: dict[str, str], lease: timedelta) -> None:
    """What a process leaves that dies between its reservation and its effect."""
    id_ = create(door, name, once).json()["id"]
    with door.parts.db.begin() as session:
        session.get_one(Collection, id_).deleted_at = now()
        session.execute(update(SavedReply).values(status=None, body=None, lease_until=now() + lease))


class TestSlowFirst:
    def test_loses_to_who_took_over(self, door: Door) -> None:
        with door.parts.db.begin() as session:
            slow = replies.reserve(session, "key", "k", "hash")
            assert isinstance(slow, replies.Reservation)
            session.execute(update(SavedReply).values(lease_until=now() - timedelta(seconds=1)))
        with door.parts.db.begin() as session:
            quick = replies.reserve(session, "key", "k", "hash")
            assert isinstance(quick, replies.Reservation)
            replies.save(session, quick, 201, {"by": "quick"})
        with pytest.raises(replies.InProgress), door.parts.db.begin() as session:
            replies.save(session, slow, 201, {"by": "slow"})
        with door.parts.db.begin() as session:
            kept = replies.reserve(session, "key", "k", "hash")
        assert kept == replies.Reply(201, {"by": "quick"})


class TestExpire:
    def test_forgets_after_a_day(self, door: Door, name: str, once: dict[str, str]) -> None:
        create(door, name, once)
        with door.parts.db.begin() as session:
            replies.expire(session, now())
        assert len(saved(door)) == 1
        with door.parts.db.begin() as session:
            replies.expire(session, now() + timedelta(hours=25))
        assert saved(door) == []


class TestUploads:
    @pytest.fixture
    def path(self, door: Door, name: str) -> str:
        return f"/v1/collections/{door.collection(name)}/documents"

    def test_repeated_are_one_document(self, door: Door, path: str, once: dict[str, str]) -> None:
        before = rows(door, Document)
        files = [("files", ("a.txt", b"One.")), ("files", ("b.txt", b"Two."))]
        first = door.post(path, files=files, headers=once)
        again = door.post(path, files=files, headers=once)
        assert again.headers["idempotent-replayed"] == "true"
        assert again.json() == first.json()
        assert [entry["outcome"] for entry in again.json()["documents"]] == ["created", "created"]
        assert rows(door, Document) == before + 2

    def test_of_other_bytes_under_the_same_key_are_refused(
        self, door: Door, path: str, once: dict[str, str]
    ) -> None:
        door.post(path, files=[("files", ("a.txt", b"One."))], headers=once)
        other = door.post(path, files=[("files", ("a.txt", b"Two."))], headers=once)
        assert door.code(other) == (422, "idempotency_key_reused")

    def test_that_are_refused_may_be_corrected(self, door: Door, path: str, once: dict[str, str]) -> None:
        assert door.post(path, files=[("files", ("a.txt", b""))], headers=once).status_code == 422
        assert door.post(path, files=[("files", ("a.txt", b"One."))], headers=once).status_code == 202


class TestAnswers:
    @pytest.fixture
    def asked(self, door: Door, name: str, once: dict[str, str]) -> dict[str, Any]:
        collection = door.collection(name)
        document = door.text(collection)
        door.work()
        return {"collection": collection, "document": document["id"], "once": once}

    def ask(self, door: Door, asked: dict[str, Any], **more: Any) -> Any:
        body = {"collection": asked["collection"], "question": QUESTION, **more}
        return door.post("/v1/answers", json=body, headers=asked["once"])

    def test_repeated_are_one_answer(self, door: Door, asked: dict[str, Any]) -> None:
        before = rows(door, Answer)
        first, again = self.ask(door, asked), self.ask(door, asked)
        assert first.json()["status"] == "completed"
        assert again.json() == first.json()
        assert again.headers["idempotent-replayed"] == "true"
        assert rows(door, Answer) == before + 1

    def test_saved_reply_holds_no_text(self, door: Door, asked: dict[str, Any]) -> None:
        answer = self.ask(door, asked).json()
        assert [row.body for row in saved(door)] == [{"answer_id": answer["id"]}]

    def test_streamed_again_are_the_same_events(self, door: Door, asked: dict[str, Any]) -> None:
        first, again = self.ask(door, asked, stream=True), self.ask(door, asked, stream=True)
        assert first.text == again.text
        assert again.headers["idempotent-replayed"] == "true"

    def test_that_cite_a_deleted_document_are_gone(self, door: Door, asked: dict[str, Any]) -> None:
        answer = self.ask(door, asked).json()
        door.delete(f"/v1/documents/{asked['document']}")
        again = self.ask(door, asked)
        assert door.code(again) == (410, "source_deleted")
        assert "20 days" not in again.text
        seen = door.get(f"/v1/answers/{answer['id']}")
        assert "20 days" not in seen.text
        assert seen.json()["sentences"][0]["withdrawn"] is True
        assert "20 days" not in door.get(f"/v1/answers/{answer['id']}/events").text


class TestSearches:
    def test_repeated_search_again(self, door: Door, name: str, once: dict[str, str]) -> None:
        collection = door.collection(name)
        body = {"collection": collection, "query": QUESTION}
        assert door.post("/v1/search", json=body, headers=once).json()["hits"] == []
        door.text(collection)
        door.work()
        assert door.post("/v1/search", json=body, headers=once).json()["hits"][0]["text"] == LEAVE.strip()
        assert saved(door) == []


class TestKeys:
    def test_repeated_are_one_key_whose_text_is_not_kept(self, door: Door, once: dict[str, str]) -> None:
        before = rows(door, ApiKey)
        body = {"name": "k", "role": "reader"}
        first = door.post("/v1/api-keys", json=body, headers=once)
        again = door.post("/v1/api-keys", json=body, headers=once)
        assert (again.status_code, again.json()["key"]) == (201, None)
        assert again.json()["id"] == first.json()["id"]
        text = first.json()["key"]
        assert door.get("/v1/session", key=text).status_code == 200
        assert all(text not in str(row.body) for row in saved(door))
        assert rows(door, ApiKey) == before + 1
