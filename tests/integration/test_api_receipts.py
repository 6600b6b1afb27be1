"""Receipts over HTTP: one shape at any time, damaged PDFs through the real parser, and what OpenAPI says of both."""

from itertools import count
from typing import Any

import pytest
from httpx2 import Response

from tests.door import LEAVE, Door
from tests.pdfs import Sheet, Words, damaged, make_pdf

NUMBERS = count()
TEXTS = ("The bridge is 40 metres long.", "It was built in 1931.", "Lorries may not cross it.")
PDF = make_pdf([*(Sheet([Words(72, 700, text)]) for text in TEXTS), Sheet()])
SHAPE = {
    "document_id": str,
    "version": int,
    "state": str,
    "generation_id": str,
    "parser": str,
    "pages": {
        "total": int,
        "with_text": int,
        "ocr": list,
        "empty": list,
        "unreadable": list,
        "waiting": list,
    },
    "characters": int,
    "languages": list,
    "elements": {
        "total": int,
        "tables": int,
        "images_skipped": int,
        "links": int,
        "hidden_characters": int,
    },
    "chunks": {"made": int, "reused": int, "embedded": int, "stored_sql": int, "stored_vectors": int},
    "warnings": list,
    "seconds": {"parse": float, "chunk": float, "embed": float, "index": float},
}


@pytest.fixture
def collection(door: Door) -> str:
    return door.collection(f"collection {next(NUMBERS)}")


def upload(door: Door, collection: str, pdf: bytes) -> dict[str, Any]:
    files = [("files", ("bridge.pdf", pdf))]
    response = door.post(f"/v1/collections/{collection}/documents", files=files)
    assert response.status_code == 202, response.text
    return dict(response.json()["documents"][0])


def receipt(door: Door, entry: dict[str, Any]) -> dict[str, Any]:
    response: Response = door.get(f"/v1/documents/{entry['id']}/receipt")
    assert response.status_code == 200, response.text
    return dict(response.json())


def shape(value: Any) -> Any:
    """The names in it, at any depth."""
    return {name: shape(inner) for name, inner in value.items()} if isinstance(value, dict) else None


NO_PAGES = {"total": None, "with_text": None} | {
    kind: [] for kind in ("ocr", "empty", "unreadable", "waiting")
}


class TestShape:
    def test_before_anything_is_known(self, door: Door, collection: str) -> None:
        entry = upload(door, collection, PDF)
        found = receipt(door, entry)
        assert shape(found) == shape(SHAPE)
        assert (found["document_id"], found["version"], found["state"]) == (entry["id"], 1, "queued")
        assert set(found["chunks"].values()) == set(found["seconds"].values()) == {None}
        assert found["pages"] == NO_PAGES
        assert (found["parser"], found["characters"], found["warnings"]) == (None, None, [])

    def test_at_the_end(self, door: Door, collection: str) -> None:
        entry = upload(door, collection, PDF)
        door.work()
        found = receipt(door, entry)
        assert shape(found) == shape(SHAPE)
        assert (found["state"], found["parser"]) == ("succeeded", "pdfium")
        assert found["pages"] == {
            "total": 4,
            "with_text": 3,
            "ocr": [],
            "empty": [4],
            "unreadable": [],
            "waiting": [],
        }
        assert found["characters"] == len("\n\n".join(TEXTS))
        chunks = found["chunks"]
        assert chunks["made"] == chunks["stored_sql"] == chunks["stored_vectors"] > 0
        assert all(isinstance(found["seconds"][stage], float) for stage in SHAPE["seconds"])

    def test_of_a_format_without_pages(self, door: Door, collection: str) -> None:
        entry = door.text(collection, LEAVE)
        door.work()
        found = receipt(door, entry)
        assert shape(found) == shape(SHAPE)
        assert found["pages"] == NO_PAGES

    def test_is_documented(self, door: Door) -> None:
        document = door.get("/openapi.json").json()
        operation = document["paths"]["/v1/documents/{document_id}/receipt"]["get"]
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        assert self.documented(document, schema) == shape(SHAPE)

    def documented(self, document: dict[str, Any], schema: dict[str, Any]) -> Any:
        """The names that a schema promises."""
        if "$ref" not in schema:
            return None
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        if "properties" not in schema:
            return None
        assert set(schema["required"]) == set(schema["properties"])
        return {name: self.documented(document, inner) for name, inner in schema["properties"].items()}


class TestDamagedPages:
    def test_are_listed_and_the_job_succeeds_partially(self, door: Door, collection: str) -> None:
        entry = upload(door, collection, damaged(PDF, 2))
        door.work()
        job = door.get(f"/v1/jobs/{entry['job_id']}").json()
        found = receipt(door, entry)
        assert job["state"] == found["state"] == "partially_succeeded"
        assert found["pages"] == {
            "total": 4,
            "with_text": 2,
            "ocr": [],
            "empty": [4],
            "unreadable": [2],
            "waiting": [],
        }
        (warning,) = found["warnings"]
        assert warning.startswith("Page 2 could not be read")
        assert job["statistics"]["warnings"] == [warning]
        assert job["error"] is None

    def test_readers_have_the_others(self, door: Door, collection: str) -> None:
        entry = upload(door, collection, damaged(PDF, 2))
        door.work()
        assert door.get(f"/v1/documents/{entry['id']}").json()["live_version"] == 1
        text = door.get(f"/v1/documents/{entry['id']}/versions/1/text").text
        assert text == f"{TEXTS[0]}\n\n{TEXTS[2]}"
        question = {"collection": collection, "query": "Who may cross the bridge?"}
        assert {hit["page"] for hit in door.post("/v1/search", json=question).json()["hits"]} <= {1, 3}

    def test_are_still_missing_after_other_work_on_the_document(self, door: Door, collection: str) -> None:
        entry = upload(door, collection, damaged(PDF, 2))
        door.work()
        path = f"/v1/collections/{collection}/documents"
        files = [("files", ("bridge.pdf", damaged(PDF, 2)))]
        again = door.post(path, files=files, data={"access": '["user:ann"]'}).json()["documents"][0]
        assert again["job_id"] == entry["job_id"]
        door.work()
        assert receipt(door, entry)["state"] == "partially_succeeded"

    def test_and_no_other_fail(self, door: Door, collection: str) -> None:
        entry = upload(door, collection, damaged(PDF, 1, 2, 3, 4))
        door.work()
        job = door.get(f"/v1/jobs/{entry['job_id']}").json()
        assert (job["state"], job["error"]["code"]) == ("failed", "unreadable")
        found = receipt(door, entry)
        assert (found["state"], shape(found)) == ("failed", shape(SHAPE))
