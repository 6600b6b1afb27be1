"""Every route of the OpenAPI document as nobody, as each role, as a key of another collection, and as the administrator."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from api.app import create_app
from ibid.settings import Settings
from tests.door import QUESTION, Door, made

OPEN = {"health", "ready", "sign_in"}
READER = {
    "get_session",
    "sign_out",
    "list_collections",
    "get_collection",
    "list_documents",
    "get_document",
    "get_receipt",
    "list_versions",
    "get_text",
    "get_original",
    "diff_versions",
    "list_children",
    "list_jobs",
    "get_queue",
    "get_job",
    "job_events",
    "collection_events",
    "search",
    "explain_search",
    "facets",
    "ask",
    "get_answer",
    "answer_events",
    "stop_answer",
}
EDITOR = {
    "create_collection",
    "delete_collection",
    "upload_documents",
    "restore_version",
    "describe_document",
    "delete_documents",
    "create_upload",
    "get_upload",
    "append_upload",
    "delete_upload",
    "delete_document",
    "cancel_job",
    "retry_job",
    "retry_jobs",
}
ADMIN = {
    "verify_collection",
    "verify_everything",
    "start_reindex",
    "list_reindexes",
    "get_reindex",
    "roll_back",
    "start_fit",
    "list_fits",
    "get_fit",
    "roll_back_fit",
    "create_api_key",
    "list_api_keys",
    "get_api_key",
    "revoke_api_key",
    "list_audit",
    "metrics",
    "create_webhook",
    "list_webhooks",
    "get_webhook",
    "update_webhook",
    "delete_webhook",
    "test_webhook",
    "list_deliveries",
    "list_models",
    "get_model",
    "put_model",
    "switch_model",
    "delete_model",
    "get_route",
    "put_route",
    "create_budget",
    "list_budgets",
    "delete_budget",
}
# Without it the stream stays open.
# What a key limited to another collection is told instead of 404.
NOTHING_OF_OTHERS = {
    "get_session": 200,
    "sign_out": 204,
    "list_collections": 200,
    "list_jobs": 200,
    "get_queue": 200,
    "retry_jobs": 200,
    "list_api_keys": 200,
    "list_webhooks": 200,
    "create_collection": 403,
    "list_audit": 403,
    "metrics": 403,
    "verify_everything": 403,
    "list_models": 403,
    "get_model": 403,
    "put_model": 403,
    "switch_model": 403,
    "delete_model": 403,
    "get_route": 403,
    "put_route": 403,
    "create_budget": 403,
    "list_budgets": 403,
    "delete_budget": 403,
}
# What the administrator is told where the world is not in the state for it.
NOT_NOW = {"cancel_job": 409, "retry_job": 409, "roll_back_fit": 409, "sign_in": 401}
# What an operation cannot do without.
QUERIES = {
    "collection_events": "?until_idle=true",
    "diff_versions": "?against=1",
    "delete_documents": "?name=*.txt",
}
# Last, in this order, since they take away what the others need.
LAST = [
    "delete_upload",
    "revoke_api_key",
    "delete_webhook",
    "delete_model",
    "delete_budget",
    "delete_document",
    "delete_documents",
    "delete_collection",
]

# An upload in parts: `note.txt` of nine bytes.
ANNOUNCED = {"Upload-Length": "9", "Upload-Metadata": "filename bm90ZS50eHQ="}

HOOK = "https://hooks.example/ibid"
DOCUMENT = create_app(Settings()).openapi()
OPERATIONS = {
    operation["operationId"]: (method.upper(), path)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}


@dataclass
class World:
    """One of everything, its ids by the names of path parameters, and a key of each kind."""

    door: Door
    ids: dict[str, str]
    keys: dict[str, str]

    def request(self, operation: str, key: str | None) -> Any:
        method, path = OPERATIONS[operation]
        query = QUERIES.get(operation, "")
        return self.door.call(method, path.format(**self.ids) + query, key=key, **self._body(operation))

    def _body(self, operation: str) -> dict[str, Any]:
        collection = self.ids["collection"]
        bodies: dict[str, Any] = {
            "sign_in": {"token": "used"},
            "create_collection": {"name": "another"},
            "upload_documents": {"name": "new.txt", "text": "New."},
            "retry_jobs": {},
            "describe_document": {"metadata": {"team": "HR"}},
            "search": {"collection": collection, "query": QUESTION},
            "explain_search": {
                "collection": collection,
                "query": QUESTION,
                "document_id": self.ids["document_id"],
            },
            "facets": {"collection": collection, "keys": ["team"]},
            "ask": {"collection": collection, "question": QUESTION},
            "create_webhook": {"url": HOOK, "collections": [collection]},
            "update_webhook": {"url": HOOK},
            "put_model": {"provider": "openai", "model": "m"},
            "switch_model": {"status": "disabled"},
            "put_route": {"steps": []},
            "create_budget": {"collection": collection, "seconds": 60, "usd": 1.0},
            "create_api_key": {"name": "new", "role": "reader", "collections": [collection]},
        }
        if operation == "create_upload":
            return {"headers": ANNOUNCED}
        if operation == "append_upload":
            headers = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
            return {"content": b"x", "headers": headers}
        return {"json": bodies[operation]} if operation in bodies else {}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with made(tmp_path_factory.mktemp("routes")) as door:
        yield _furnished(door)


def _furnished(door: Door) -> World:
    collection, other = door.collection("handbook"), door.collection("elsewhere")
    document = door.text(collection)
    door.work()
    answer = door.post("/v1/answers", json={"collection": collection, "question": QUESTION}).json()
    reindex = door.post(f"/v1/collections/{collection}/reindexes").json()
    door.work()
    fit = door.post(f"/v1/collections/{collection}/fits").json()
    door.work()
    key = door.post("/v1/api-keys", json={"name": "k", "role": "reader", "collections": [collection]}).json()
    hook = door.post("/v1/webhooks", json={"url": HOOK, "collections": [collection]}).json()
    upload = door.post(f"/v1/collections/{collection}/uploads", headers=ANNOUNCED).json()
    door.call("PUT", "/v1/catalogue/models/plain", json={"provider": "openai", "model": "m"})
    budget = door.post("/v1/budgets", json={"collection": collection, "seconds": 60, "tokens": 1}).json()
    ids = {
        "model": "plain",
        "budget_id": budget["id"],
        "collection": collection,
        "document_id": document["id"],
        "number": "1",
        "job_id": document["job_id"],
        "answer_id": answer["id"],
        "reindex_id": reindex["id"],
        "fit_id": fit["id"],
        "key_id": key["id"],
        "webhook_id": hook["id"],
        "upload_id": upload["id"],
    }
    keys = {
        "reader": door.key("reader"),
        "editor": door.key("editor"),
        "other editor": door.key("editor", [other]),
        "other admin": door.key("admin", [other]),
    }
    return World(door, ids, keys)


def test_every_operation_has_a_role() -> None:
    assert set(OPERATIONS) == OPEN | READER | EDITOR | ADMIN


def test_every_operation_documents_its_refusals() -> None:
    for path, methods in DOCUMENT["paths"].items():
        for operation in methods.values():
            refusals = {status for status in operation["responses"] if status >= "4"}
            assert operation["operationId"] in OPEN or "401" in refusals, path
            for status in refusals:
                assert "application/problem+json" in operation["responses"][status]["content"], (path, status)


class TestNobody:
    @pytest.mark.parametrize("operation", sorted(set(OPERATIONS) - OPEN))
    def test_is_asked_for_a_key(self, world: World, operation: str) -> None:
        response = world.request(operation, None)
        assert world.door.code(response) == (401, "key_missing")
        assert response.headers["www-authenticate"].startswith("Bearer")

    @pytest.mark.parametrize("operation", sorted(set(OPERATIONS) - OPEN))
    def test_with_a_wrong_key_is_unknown(self, world: World, operation: str) -> None:
        wrong = world.keys["reader"][:-1] + ("A" if world.keys["reader"][-1] != "A" else "B")
        assert world.door.code(world.request(operation, wrong)) == (401, "key_unknown")

    @pytest.mark.parametrize(("operation", "status"), [("health", 200), ("ready", 200), ("sign_in", 401)])
    def test_may_see_health_and_sign_in(self, world: World, operation: str, status: int) -> None:
        assert world.request(operation, None).status_code == status


class TestRoleTooLow:
    @pytest.mark.parametrize("operation", sorted(EDITOR | ADMIN))
    def test_reader_is_refused(self, world: World, operation: str) -> None:
        assert world.door.code(world.request(operation, world.keys["reader"])) == (403, "role_too_low")

    @pytest.mark.parametrize("operation", sorted(ADMIN))
    def test_editor_is_refused(self, world: World, operation: str) -> None:
        assert world.door.code(world.request(operation, world.keys["editor"])) == (403, "role_too_low")


class TestKeyOfAnotherCollection:
    @pytest.mark.parametrize("operation", sorted(READER | EDITOR | ADMIN))
    def test_sees_nothing_of_this_one(self, world: World, operation: str) -> None:
        key = world.keys["other admin" if operation in ADMIN else "other editor"]
        response = world.request(operation, key)
        assert response.status_code == NOTHING_OF_OTHERS.get(operation, 404), response.text
        asked_for = {world.ids[name] for name in world.ids if "{" + name + "}" in OPERATIONS[operation][1]}
        if response.status_code == 404:
            assert response.json()["code"].endswith("_not_found")
        for id_ in set(world.ids.values()) - {"1"} - asked_for:
            if response.status_code == 200:
                assert id_ not in response.text


class TestReader:
    @pytest.mark.parametrize("operation", sorted(READER - {"get_answer", "answer_events", "stop_answer"}))
    def test_may_read(self, world: World, operation: str) -> None:
        assert world.request(operation, world.keys["reader"]).status_code < 300

    @pytest.mark.parametrize("operation", ["get_answer", "answer_events", "stop_answer"])
    def test_does_not_see_answers_to_others(self, world: World, operation: str) -> None:
        assert world.door.code(world.request(operation, world.keys["reader"])) == (404, "answer_not_found")


class TestAdmin:
    @pytest.mark.parametrize("operation", [*sorted(set(OPERATIONS) - set(LAST)), *LAST])
    def test_may_do_everything(self, world: World, operation: str) -> None:
        world.door.work()  # streams of events stay open until the jobs have ended
        response = world.request(operation, "")
        expected = NOT_NOW.get(operation)
        assert response.status_code == expected if expected else response.status_code < 300, response.text
