"""Once the DELETE of a document has returned, no route of the OpenAPI document shows a word of it, to anybody."""

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response

from api.app import create_app
from ibid.settings import Settings
from tests.door import Door, made
from tests.running import eventually
from tests.services import postgres_database
from tests.unit.test_archives import zipped

WORDS = ("quillwort", "zephyrine", "brackenfold", "marchpane", "oldenwick")
FIRST = (
    f"The {WORDS[0]} ferry takes 40 cars.\n\nIts captain is {WORDS[1]} Holm.\n\nNobody swims near the ferry."
)
SECOND = FIRST.replace("40 cars", f"50 cars since {WORDS[2]}")
ASKED = "How many cars does the ferry take?"
UNKNOWN = "What is the capital of Mongolia?"
KEPT = "The bridge over the river is closed to lorries."

DOCUMENT = create_app(Settings()).openapi()
OPERATIONS = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
# A stream that ends only when no job is left.
OPEN_ENDED = ["collection_events"]
# Last, in this order, since they take away what the others need.
LAST = [
    "sign_out",
    "delete_upload",
    "delete_webhook",
    "revoke_api_key",
    "delete_document",
    "delete_documents",
    "delete_collection",
]
QUERIES: dict[str, list[str | None]] = {
    "batch": [None, "job_of_nothing"],
    "after": [None],
    "limit": ["200"],
    "key_id": [None],
    "collection_id": [None],
    "until_idle": ["true"],
    "name": ["*"],
    "external_id": [None],
    "before": [None],
    "dry_run": ["true"],
    "against": ["1", "2"],
    "state": [None, "succeeded", "failed", "cancelled"],
    "collection": [None],
    "kind": [None],
    "error_code": [None],
    "action": [None],
}


def metadata(**pairs: str) -> str:
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in pairs.items())


class World:
    """A document that everything knows of, and every id by which somebody may ask for it.

    It came by itself, in an archive, or attached to a mail, which stays.
    """

    def __init__(self, door: Door, came: str) -> None:
        self.door, self.came = door, came
        self.mail: str | None = None
        self.external_id = f"x-{WORDS[3]}" + (f"/{WORDS[3]}.txt" if came == "archive" else "")
        self.keys = {"admin": door.admin, "reader": door.key("reader"), "editor": door.key("editor")}
        self.collection = door.collection("harbour")
        door.text(self.collection, KEPT, "bridge.txt")
        self.hook = door.post("/v1/webhooks", json={"url": "http://127.0.0.1:9/down"}).json()["id"]
        self.replays: list[tuple[str, str, dict[str, Any]]] = []
        self.document = self.uploaded()
        self.uploads = [self.begun(), *([] if self.mail else [self.uploaded_in_parts()])]
        self.answers = self.asked()
        self.reindex = door.post(f"/v1/collections/{self.collection}/reindexes").json()["id"]
        self.fit = self.begun_to_fit()
        door.work()
        self.documents = [self.document, *([self.mail] if self.mail else [])]
        self.jobs = [job["id"] for job in door.get("/v1/jobs", params={"limit": 200}).json()["data"]]

    def uploaded(self) -> str:
        """Two versions; of one that came by itself, the first under an Idempotency-Key."""
        if self.came != "alone":
            for text in (FIRST, SECOND):
                document = self.packed(text) if self.came == "archive" else self.attached(text)
            return document
        described = {"metadata": {"by": WORDS[4]}, "external_id": f"x-{WORDS[3]}"}
        first = {"name": f"{WORDS[3]}.txt", "text": FIRST, **described}
        path = f"/v1/collections/{self.collection}/documents"
        self.replays.append(("POST", path, {"json": first, "headers": {"Idempotency-Key": "upload"}}))
        document = self.replay(*self.replays[-1]).json()["documents"][0]
        self.door.work()
        self.door.text(self.collection, SECOND, f"{WORDS[3]}.txt", **described)
        self.door.work()
        return str(document["id"])

    def packed(self, text: str) -> str:
        content = zipped((f"{WORDS[3]}.txt", text.encode()))
        fields = {"unpack": "true", "external_id": f"x-{WORDS[3]}", "metadata": json.dumps({"by": WORDS[4]})}
        self.sent((f"{WORDS[3]}.zip", content), fields)
        return self.newest("bridge.txt")

    def attached(self, text: str) -> str:
        """In a mail of another name and other words, as base64: its bytes hold the file for as long as it lives."""
        mail = EmailMessage()
        mail["Subject"], mail["From"], mail["To"] = "Timetable", "ann@example.org", "bob@example.org"
        mail.set_content("Please find the timetable attached.")
        mail.add_attachment(text.encode(), "text", "plain", filename=f"{WORDS[3]}.txt")
        self.mail = self.sent(("mail.eml", mail.as_bytes()), {})
        return self.newest("bridge.txt", "mail.eml")

    def sent(self, file: tuple[str, bytes], fields: dict[str, str]) -> str | None:
        path = f"/v1/collections/{self.collection}/documents"
        sent = self.door.post(path, files=[("files", file)], data=fields)
        assert sent.status_code == 202, sent.text
        self.door.work()
        return sent.json()["documents"][0]["id"]

    def newest(self, *others: str) -> str:
        """The document of none of these names."""
        listed = self.door.get(f"/v1/collections/{self.collection}/documents").json()["data"]
        (found,) = [each["id"] for each in listed if each["name"] not in others]
        return str(found)

    def uploaded_in_parts(self) -> str:
        """The same bytes once more in parts, so that an upload knows the document."""
        said = metadata(filename=f"{WORDS[3]}.txt", external_id=self.external_id)
        headers = {"Upload-Length": str(len(SECOND)), "Upload-Metadata": said, "Idempotency-Key": "parts"}
        path = f"/v1/collections/{self.collection}/uploads"
        self.replays.append(("POST", path, {"headers": headers}))
        upload = self.replay(*self.replays[-1]).json()["id"]
        octets = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        done = self.door.call("PATCH", f"/v1/uploads/{upload}", content=SECOND.encode(), headers=octets)
        assert done.status_code == 204, done.text
        return str(upload)

    def begun(self) -> str:
        headers = {"Upload-Length": "9", "Upload-Metadata": metadata(filename="note.txt")}
        return str(self.door.post(f"/v1/collections/{self.collection}/uploads", headers=headers).json()["id"])

    def begun_to_fit(self) -> str:
        """On a question that quotes the document."""
        question = {"query": ASKED, "document_id": self.document, "sentence": SECOND.split("\n\n")[0]}
        path = f"/v1/collections/{self.collection}/fits"
        return str(self.door.post(path, json={"questions": [question]}).json()["id"])

    def asked(self) -> list[str]:
        """Answers to everybody: whole, streamed, under a key, and a refusal that shows the nearest passages."""
        ids = []
        for name, question, stream in product(self.keys, (ASKED, UNKNOWN), (False, True)):
            body = {"collection": self.collection, "question": question, "stream": stream}
            headers = {"Idempotency-Key": f"{question}{stream}"}
            request = {"json": body, "headers": headers, "key": self.keys[name]}
            self.replays.append(("POST", "/v1/answers", request))
            reply = self.replay(*self.replays[-1])
            assert any(word in reply.text for word in WORDS), reply.text
            text = reply.text.rsplit("data: ", maxsplit=1)[-1].split("\n")[0] if stream else reply.text
            ids.append(json.loads(text)["id"])
        assert {self.door.get(f"/v1/answers/{id_}").json()["status"] for id_ in ids} == {
            "completed",
            "refused",
        }
        return ids

    def replay(self, method: str, path: str, request: dict[str, Any]) -> Response:
        return self.door.call(method, path, **request)

    def ids(self, parameter: str) -> list[str]:
        """Everything that is known to go there; a route with another parameter has to be added here."""
        known = {
            "collection": [self.collection],
            "document_id": self.documents,
            "number": ["1", "2"],
            "job_id": self.jobs,
            "answer_id": self.answers,
            "reindex_id": [self.reindex],
            "fit_id": [self.fit],
            "key_id": [
                each["id"]
                for each in self.door.get("/v1/api-keys").json()["data"]
                if each["role"] == "reader"
            ],
            "webhook_id": [self.hook],
            "upload_id": self.uploads,
            "model": ["extractive", "plain"],
            "budget_id": [each["id"] for each in self.door.get("/v1/budgets").json()["data"]],
        }
        return known[parameter]

    def body(self, operation: str) -> dict[str, Any]:
        """What an operation is sent; one with a body that is not here has to be added."""
        if "requestBody" not in OPERATIONS[operation][2]:
            return {}
        collection = self.collection
        bodies: dict[str, dict[str, Any]] = {
            "sign_in": {"json": {"token": "used"}},
            "create_collection": {"json": {"name": "another"}},
            "verify_collection": {"json": {"repair": False}},
            "verify_everything": {"json": {"repair": False}},
            "upload_documents": {"json": {"name": "new.txt", "text": "The lighthouse is white."}},
            "create_upload": {},
            "append_upload": {
                "content": b"x",
                "headers": {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"},
            },
            "describe_document": {"json": {"metadata": {"team": "HR"}}},
            "retry_jobs": {"json": {}},
            "search": {"json": {"collection": collection, "query": ASKED, "limit": 50}},
            "explain_search": {
                "json": {"collection": collection, "query": ASKED, "document_id": self.document}
            },
            "facets": {"json": {"collection": collection, "keys": ["by"]}},
            "ask": {"json": {"collection": collection, "question": ASKED}},
            "start_reindex": {"json": {}},
            "start_fit": {"json": {}},
            "create_api_key": {"json": {"name": "new", "role": "reader"}},
            "create_webhook": {"json": {"url": "http://127.0.0.1:9/other"}},
            "put_model": {"json": {"provider": "openai", "model": "m"}},
            "switch_model": {"json": {"status": "disabled"}},
            "put_route": {"json": {"steps": []}},
            "create_budget": {"json": {"collection": collection, "seconds": 60, "usd": 1.0}},
            "update_webhook": {"json": {"url": "http://127.0.0.1:9/down"}},
        }
        return bodies[operation]

    def headers(self, name: str) -> list[str | None]:
        """What a header may say; one that is not here has to be added."""
        known: dict[str, list[str | None]] = {
            "idempotency-key": [None],  # those that were used are replayed
            "last-event-id": [None, "0", "1", "2"],
            "upload-checksum": [None],
            "upload-length": ["9"],
            "upload-metadata": [metadata(filename="note.txt")],
            "upload-offset": ["0"],
        }
        return known[name]

    def requests(self, operation: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """The operation with everything that is known, in every combination."""
        method, path, described = OPERATIONS[operation]
        parameters = described.get("parameters", [])
        kinds = {"path": self.ids, "query": QUERIES.__getitem__, "header": self.headers}
        values = [[(each, value) for value in kinds[each["in"]](each["name"])] for each in parameters]
        for chosen in product(*values):
            given: dict[str, dict[str, str]] = {"path": {}, "query": {}, "header": {}}
            for parameter, value in chosen:
                if value is not None:
                    given[parameter["in"]][parameter["name"]] = value
            sent = self.body(operation)
            headers = given["header"] | sent.pop("headers", {})
            yield method, path.format(**given["path"]), {"params": given["query"], "headers": headers, **sent}


def check(response: Response) -> None:
    shown = [response.text, *(f"{name}: {value}" for name, value in response.headers.items())]
    for word in WORDS:
        assert word not in " ".join(shown).lower(), (str(response.request.url), shown)


def send(world: World, operation: str, **more: str) -> int:
    """Check every request of an operation as everybody; gives how many came back well."""
    well = 0
    for who, (method, path, request) in product(world.keys, list(world.requests(operation))):
        if operation == "get_original" and world.mail and world.mail in path:
            continue  # the mail's own bytes: the certificate says that they hold the file
        request["params"] = request["params"] | more
        response = world.door.call(method, path, key=world.keys[who], **request)
        assert response.status_code < 500, response.text
        check(response)
        well += response.is_success
        if method == "GET":
            check(world.door.call("HEAD", path, key=world.keys[who], **request))
    return well


@pytest.fixture(
    scope="module",
    params=[
        ("sqlite", "alone"),
        ("sqlite", "archive"),
        ("sqlite", "attached"),
        pytest.param(("postgresql", "alone"), marks=pytest.mark.service),
    ],
    ids="-".join,
)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("shown")
    database, came = request.param
    if database == "sqlite":
        with made(folder, webhook_allow_private=True) as door:
            yield World(door, came)
        return
    with postgres_database() as url, made(folder, url, webhook_allow_private=True) as door:
        yield World(door, came)


def test_nothing_of_a_deleted_document_is_shown(world: World) -> None:
    door = world.door
    deleted = door.delete(f"/v1/documents/{world.document}")
    assert deleted.status_code == 200, deleted.text
    world.jobs.append(deleted.json()["job_id"])
    ended = world.jobs[:-1]
    for method, path, request in world.replays:
        response = world.replay(method, path, request)
        check(response)
        refused = request.get("json", {}).get("question") == UNKNOWN
        assert response.status_code == (200 if refused else 410), response.text
        assert refused or response.json()["code"] == "source_deleted"
    # Described anew, a document waits to be indexed, and its job's stream with it: that comes last.
    those = sorted(
        OPERATIONS.keys() - set(OPEN_ENDED) - set(LAST), key=lambda name: (name == "describe_document", name)
    )
    for operation in those:
        if operation == "job_events":
            world.jobs = ended  # the deletion's own has not ended, and neither has its stream
        send(world, operation, **({"as_of": "2020-01-01T00:00:00Z"} if operation == "search" else {}))
        world.jobs = [*ended, deleted.json()["job_id"]]
    with ThreadPoolExecutor(1) as beside:
        streams = [beside.submit(send, world, operation) for operation in OPEN_ENDED]
        eventually(lambda: door.work() or all(stream.done() for stream in streams), what="the streams' end")
        assert all(stream.result() for stream in streams)
    job = door.get(f"/v1/jobs/{deleted.json()['job_id']}").json()
    assert job["state"] == "succeeded"
    assert job["statistics"]["scan"]["found"] == 0
    assert [each["name"] for each in job["statistics"]["held_by"]] == (["mail.eml"] if world.mail else [])
    for method, path, request in world.replays:
        check(world.replay(method, path, request))
    for operation in [*sorted(OPERATIONS.keys() - set(LAST)), *LAST]:
        door.work()
        well = send(world, operation)
        assert well or operation in {*NOT_ANY_MORE, *LAST}, operation


# What no longer is: the document's own routes, and what the world is not in the state for.
NOT_ANY_MORE = {
    "explain_search",
    "get_document",
    "list_children",
    "get_receipt",
    "list_versions",
    "get_text",
    "get_original",
    "diff_versions",
    "restore_version",
    "describe_document",
    "append_upload",
    "sign_in",
    "create_collection",
    "cancel_job",
    "retry_job",
    "roll_back",
    "roll_back_fit",
    "start_reindex",
}
