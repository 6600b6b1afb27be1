"""Every operation of the OpenAPI document, with what its schema allows and what it does not, keeps to the document.

Schemathesis makes the requests, always the same ones. Each is sent as it was made, which mostly names things that do
not exist, and again with things that do.
"""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
import requests
import schemathesis
from httpx2 import Response
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from api.app import create_app
from ibid.settings import Settings
from tests.door import QUESTION, Door, made

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
URL = "http://localhost:8000"
CONFIG = {"generation": {"deterministic": True, "max-examples": 8}}


def strict(document: dict[str, Any]) -> dict[str, Any]:
    """The document without `default`, behind which every undocumented status would hide."""
    for methods in document["paths"].values():
        for operation in methods.values():
            operation["responses"].pop("default", None)
    return document


schema = schemathesis.openapi.from_dict(
    strict(create_app(Settings()).openapi()), config=schemathesis.Config.from_dict(CONFIG)
)

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")


HOOK = "https://hooks.example/ibid"


class World:
    """One of everything, by the names of path parameters."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._numbers = count()
        self.collection = door.collection("handbook")
        document = door.text(self.collection)
        door.work()
        question = {"collection": self.collection, "question": QUESTION}
        self._ids = {
            "collection": self.collection,
            "document_id": document["id"],
            "number": 1,
            "job_id": document["job_id"],
            "answer_id": door.post("/v1/answers", json=question).json()["id"],
            "reindex_id": door.post(f"/v1/collections/{self.collection}/reindexes").json()["id"],
            "fit_id": door.post(f"/v1/collections/{self.collection}/fits").json()["id"],
            "key_id": self._new_key(),
            "webhook_id": self._new_webhook(),
            "upload_id": self._new_upload(),
        }
        door.work()

    def send(self, case: schemathesis.Case) -> Response:
        """The reply to the very bytes that Schemathesis makes of a case."""
        request = requests.Request(**case.as_transport_kwargs(base_url=URL)).prepare()
        return self._door.call(
            request.method, request.url, headers=dict(request.headers), content=request.body
        )

    def furnish(self, case: schemathesis.Case) -> None:
        """Put things that exist into the case. What it deletes is made for it: the others still find theirs."""
        number = next(self._numbers)
        make: dict[str, Callable[[], Any]] = {
            "collection": lambda: self._door.collection(f"to be deleted {number}"),
            "document_id": lambda: self._door.text(self.collection, name=f"{number}.txt")["id"],
            "key_id": self._new_key,
            "webhook_id": self._new_webhook,
            "upload_id": self._new_upload,
        }
        deleted = make if case.method == "DELETE" else {}
        for name in case.path_parameters:
            case.path_parameters[name] = deleted[name]() if name in deleted else self._ids[name]
        if isinstance(case.body, dict) and "collection" in case.body:
            case.body["collection"] = self.collection
        if isinstance(case.body, dict) and isinstance(case.body.get("embedder"), str):
            case.body["embedder"] = "hashing"  # any other name would be looked for on the hub

    def _new_webhook(self) -> str:
        return str(self._door.post("/v1/webhooks", json={"url": HOOK}).json()["id"])

    def _new_upload(self) -> str:
        headers = {"Upload-Length": "1000000", "Upload-Metadata": "filename bm90ZS50eHQ="}
        made = self._door.post(f"/v1/collections/{self.collection}/uploads", headers=headers)
        return str(made.json()["id"])

    def _new_key(self) -> str:
        return str(self._door.post("/v1/api-keys", json={"name": "k", "role": "reader"}).json()["id"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with made(tmp_path_factory.mktemp("fuzz")) as door:
        yield World(door)


# Streams of events stay open until what they tell of has ended; test_event_streams.py reads them.
@schema.exclude(path_regex="/events$").parametrize()
def test_whatever_is_sent(case: schemathesis.Case, world: World) -> None:
    case.validate_response(world.send(case), checks=CHECKS)
    world.furnish(case)
    case.validate_response(world.send(case), checks=CHECKS)


# Where chance finds nothing that is accepted.
ACCEPTED: list[tuple[str, str, dict[str, Any]]] = [
    ("create_api_key", "application/json", {"name": "new", "role": "editor"}),
    ("upload_documents", "application/json", {"name": "new.txt", "text": "New.", "metadata": {"a": 1}}),
    ("create_webhook", "application/json", {"url": HOOK, "events": ["document.ready"]}),
    ("ask", "application/json", {"collection": "handbook", "question": QUESTION}),
    ("ask", "application/json", {"collection": "handbook", "question": QUESTION, "stream": True}),
    ("search", "application/json", {"collection": "handbook", "query": QUESTION}),
    (
        "search",
        "application/json",
        {"collection": "handbook", "query": QUESTION, "filters": {"type": "ne", "key": "a", "value": 1}},
    ),
    (
        "search",
        "application/json",
        {"collection": "handbook", "query": QUESTION, "preset": "thorough", "knobs": {"candidates": 7}},
    ),
    ("facets", "application/json", {"collection": "handbook", "keys": ["a"]}),
]


@pytest.mark.parametrize(("operation", "media_type", "body"), ACCEPTED)
def test_what_is_accepted(world: World, operation: str, media_type: str, body: dict[str, Any]) -> None:
    found = schema.find_operation_by_id(operation)
    case = found.Case(
        path_parameters={"collection": world.collection} if "{" in found.path else {},
        media_type=media_type,
        body=body,
    )
    response = world.send(case)
    assert response.is_success, response.text
    case.validate_response(response, checks=CHECKS)
