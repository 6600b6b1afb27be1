"""The audit trail: each action leaves one row that names who, for whom, and the thing; a refused one leaves none."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from httpx2 import Response
from sqlalchemy import select

from ibid import keys
from ibid.db.tables import Audit
from tests.door import LEAVE, QUESTION, Door

NUMBERS = count()
ANN = {"Ibid-User": "ann", "Ibid-Groups": "staff"}


@pytest.fixture(scope="module")
def collection(door: Door) -> str:
    id_ = door.collection()
    door.text(id_)
    door.work()
    return id_


@pytest.fixture(scope="module")
def agent(door: Door) -> str:
    """A key that may do everything, for itself and for users."""
    return door.key("admin", may_act_for=True)


@dataclass
class Asking:
    """Requests of one key, for itself or a user, whose rows are found again by the request's id."""

    door: Door
    key: str
    collection: str
    headers: dict[str, str]
    request_id: str = field(default_factory=lambda: f"audited-{next(NUMBERS)}")

    def send(self, method: str, path: str, **body: Any) -> Response:
        headers = self.headers | {"X-Request-Id": self.request_id}
        return self.door.call(method, path, key=self.key, headers=headers, **body)

    def done(self, method: str, path: str, **body: Any) -> Any:
        response = self.send(method, path, **body)
        assert response.is_success, response.text
        return response.json()

    def rows(self) -> list[Audit]:
        self.door.get("/v1/audit")  # which takes rows of reads into the table
        with self.door.parts.db.read() as session:
            return list(session.scalars(select(Audit).where(Audit.request_id == self.request_id)))


def search(asking: Asking) -> str:
    asking.done("POST", "/v1/search", json={"collection": asking.collection, "query": QUESTION})
    return asking.collection


def explain(asking: Asking) -> str:
    id_ = asking.door.text(asking.collection, name=f"{next(NUMBERS)}.txt")["id"]
    asked = {"collection": asking.collection, "query": QUESTION, "document_id": id_}
    asking.done("POST", "/v1/search/explain", json=asked)
    return id_


def answer(asking: Asking) -> str:
    question = {"collection": asking.collection, "question": QUESTION}
    return asking.done("POST", "/v1/answers", json=question)["id"]


def stop(asking: Asking) -> str:
    question = {"collection": asking.collection, "question": QUESTION}
    id_ = asking.door.post("/v1/answers", json=question, key=asking.key, headers=asking.headers).json()["id"]
    asking.done("POST", f"/v1/answers/{id_}/stop")
    return id_


def upload(asking: Asking) -> str:
    body = {"name": f"{next(NUMBERS)}.txt", "text": LEAVE}
    path = f"/v1/collections/{asking.collection}/documents"
    return asking.done("POST", path, json=body)["documents"][0]["id"]


def delete_document(asking: Asking) -> str:
    id_ = asking.door.text(asking.collection, name=f"{next(NUMBERS)}.txt")["id"]
    return asking.done("DELETE", f"/v1/documents/{id_}")["id"]


def create_collection(asking: Asking) -> str:
    return asking.done("POST", "/v1/collections", json={"name": f"new {next(NUMBERS)}"})["id"]


def delete_collection(asking: Asking) -> str:
    name = f"old {next(NUMBERS)}"
    id_ = asking.door.collection(name)
    asking.done("DELETE", f"/v1/collections/{name}")
    return id_


def create_key(asking: Asking) -> str:
    return asking.done("POST", "/v1/api-keys", json={"name": "k", "role": "reader"})["id"]


def revoke_key(asking: Asking) -> str:
    made = asking.door.post("/v1/api-keys", json={"name": "k", "role": "reader"}).json()
    return asking.done("DELETE", f"/v1/api-keys/{made['id']}")["id"]


ACTIONS: dict[str, Callable[[Asking], str]] = {
    "search": search,
    "search.explain": explain,
    "answer": answer,
    "answer.stop": stop,
    "document.upload": upload,
    "document.delete": delete_document,
    "collection.create": create_collection,
    "collection.delete": delete_collection,
    "api_key.create": create_key,
    "api_key.revoke": revoke_key,
}


@pytest.mark.parametrize("action", ACTIONS)
class TestRow:
    def written(self, door: Door, asking: Asking, action: str, actor: str) -> None:
        resource = ACTIONS[action](asking)
        (row,) = asking.rows()
        with door.parts.db.read() as session:
            key_id = keys.holder(session, asking.key).id
        assert (row.action, row.key_id, row.actor, row.resource) == (
            action,
            key_id,
            actor.format(key_id),
            resource,
        )
        assert not any(text in str(row.detail) for text in (QUESTION, LEAVE.split("\n")[0]))

    def test_names_the_key_and_the_thing(self, door: Door, collection: str, agent: str, action: str) -> None:
        self.written(door, Asking(door, agent, collection, {}), action, "key:{}")

    def test_names_the_user_beside_the_key(
        self, door: Door, collection: str, agent: str, action: str
    ) -> None:
        self.written(door, Asking(door, agent, collection, ANN), action, "user:ann")


class TestNoRow:
    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("POST", "/v1/search", {"collection": "none", "query": "x"}),
            ("POST", "/v1/answers", {"collection": "none", "question": "x"}),
            ("POST", "/v1/collections/none/documents", {"name": "a.txt", "text": "A."}),
            ("DELETE", "/v1/documents/none", None),
            ("DELETE", "/v1/collections/none", None),
            ("DELETE", "/v1/api-keys/none", None),
        ],
    )
    def test_of_what_was_refused(
        self, door: Door, agent: str, method: str, path: str, body: dict[str, str] | None
    ) -> None:
        asking = Asking(door, agent, "none", {})
        assert asking.send(method, path, json=body).status_code == 404
        assert asking.rows() == []

    def test_of_a_repetition(self, door: Door, collection: str, agent: str) -> None:
        asking = Asking(door, agent, collection, {"Idempotency-Key": "audited once"})
        assert answer(asking) == answer(asking)
        assert len(asking.rows()) == 1
