"""Uploads, documents, versions, lists and deletions over HTTP."""

from itertools import count
from typing import Any

import pytest

from ibid.db.tables import Generation
from tests.door import LEAVE, QUESTION, Door

NUMBERS = count()


@pytest.fixture
def collection(door: Door) -> str:
    return door.collection(f"collection {next(NUMBERS)}")


def upload(door: Door, collection: str, *files: tuple[str, bytes], **fields: str) -> list[dict[str, Any]]:
    parts = [("files", file) for file in files]
    response = door.post(f"/v1/collections/{collection}/documents", files=parts, data=fields)
    assert response.status_code == 202, response.text
    return list(response.json()["documents"])


class TestUpload:
    def test_of_many_files(self, door: Door, collection: str) -> None:
        entries = upload(door, collection, *[(f"{n}.txt", b"Text %d." % n) for n in range(30)])
        assert [entry["name"] for entry in entries] == [f"{n}.txt" for n in range(30)]
        assert {(entry["outcome"], entry["version"]) for entry in entries} == {("created", 1)}
        assert len({entry["job_id"] for entry in entries}) == 30

    def test_of_the_same_bytes_changes_nothing(self, door: Door, collection: str) -> None:
        first = upload(door, collection, ("a.txt", b"One."))[0]
        again = upload(door, collection, ("a.txt", b"One."))[0]
        assert again == first | {"outcome": "unchanged", "job_id": None}

    def test_of_new_bytes_is_a_new_version(self, door: Door, collection: str) -> None:
        first = upload(door, collection, ("a.txt", b"One."))[0]
        again = upload(door, collection, ("a.txt", b"Two."))[0]
        assert (again["id"], again["version"], again["outcome"]) == (first["id"], 2, "updated")

    def test_external_id_is_the_identity(self, door: Door, collection: str) -> None:
        first = upload(door, collection, ("a.txt", b"One."), external_id="x-1")[0]
        again = upload(door, collection, ("b.txt", b"Two."), external_id="x-1")[0]
        assert (again["id"], again["version"]) == (first["id"], 2)

    def test_takes_metadata_and_access(self, door: Door, collection: str) -> None:
        fields = {"metadata": '{"team": "HR", "year": 2026}', "access": '["user:ann", "user:ann", "group:x"]'}
        entry = upload(door, collection, ("a.txt", b"One."), **fields)[0]
        document = door.get(f"/v1/documents/{entry['id']}").json()
        assert document["metadata"] == {"team": "HR", "year": 2026}
        assert document["access"] == ["group:x", "user:ann"]
        assert door.get(f"/v1/documents/{entry['id']}", key=door.key("editor")).status_code == 404

    def test_as_text(self, door: Door, collection: str) -> None:
        entry = door.text(
            collection, "# Leave\n\n20 days.", "leave.md", external_id="e", metadata={"a": [1, None]}
        )
        document = door.get(f"/v1/documents/{entry['id']}").json()
        assert (document["media_type"], document["external_id"]) == ("text/markdown", "e")
        assert document["metadata"] == {"a": [1, None]}
        assert door.text(collection, "Plain.", "no ending")["outcome"] == "created"

    def test_writes_an_audit_row_for_each(self, door: Door, collection: str) -> None:
        ids = {entry["id"] for entry in upload(door, collection, ("a.txt", b"One."), ("b.txt", b"Two."))}
        rows = door.get("/v1/audit?action=document.upload&limit=2").json()["data"]
        assert {row["resource"] for row in rows} == ids
        assert {row["detail"]["collection_id"] for row in rows} == {collection}

    def test_of_another_name_for_a_collection(self, door: Door) -> None:
        id_ = door.collection("by name & more")
        entry = door.text("by name & more")
        assert door.get(f"/v1/documents/{entry['id']}").json()["collection_id"] == id_


class TestVersions:
    @pytest.fixture
    def document(self, door: Door, collection: str) -> dict[str, Any]:
        upload(door, collection, ("größe \U0001f600.txt", "Größe \U0001f600\r\n".encode()))
        entry = upload(door, collection, ("größe \U0001f600.txt", "Größe \U0001f600 neu".encode()))[0]
        door.work()
        return entry

    def test_are_listed_newest_first(self, door: Door, document: dict[str, Any]) -> None:
        listed = door.get(f"/v1/documents/{document['id']}/versions").json()["data"]
        assert [version["number"] for version in listed] == [2, 1]
        assert listed[0]["live_from"] is not None
        assert listed[0]["live_to"] is None

    def test_text_is_utf_8(self, door: Door, document: dict[str, Any]) -> None:
        response = door.get(f"/v1/documents/{document['id']}/versions/2/text")
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
        assert response.content.decode() == "Größe \U0001f600 neu"

    def test_original_is_to_be_saved_never_shown(self, door: Door, document: dict[str, Any]) -> None:
        response = door.get(f"/v1/documents/{document['id']}/versions/1/original")
        assert response.content == "Größe \U0001f600\r\n".encode()
        disposition = response.headers["content-disposition"]
        assert disposition.startswith(
            "attachment; filename=\"gr__e _.txt\"; filename*=UTF-8''gr%C3%B6%C3%9Fe%20"
        )
        assert response.headers["content-security-policy"].startswith("sandbox")
        assert response.headers["x-content-type-options"] == "nosniff"

    def test_text_before_it_is_read(self, door: Door, collection: str) -> None:
        entry = upload(door, collection, ("a.txt", b"One."))[0]
        response = door.get(f"/v1/documents/{entry['id']}/versions/1/text")
        assert door.code(response) == (409, "text_not_ready")
        assert response.json()["retryable"] is True


class TestDelete:
    def test_is_gone_at_once_everywhere(self, door: Door, collection: str) -> None:
        entry = door.text(collection)
        door.work()
        question = {"collection": collection, "query": QUESTION}
        assert door.post("/v1/search", json=question).json()["hits"]
        deleted = door.delete(f"/v1/documents/{entry['id']}")
        assert deleted.json()["id"] == entry["id"]
        for path in ("", "/receipt", "/versions", "/versions/1/text", "/versions/1/original"):
            assert door.get(f"/v1/documents/{entry['id']}{path}").status_code == 404
        assert door.delete(f"/v1/documents/{entry['id']}").status_code == 404
        assert door.get(f"/v1/collections/{collection}/documents").json()["data"] == []
        assert door.post("/v1/search", json=question).json()["hits"] == []
        door.work()
        assert door.get(f"/v1/jobs/{deleted.json()['job_id']}").json()["state"] == "succeeded"
        assert door.text(collection)["outcome"] == "created"

    def test_of_a_collection(self, door: Door, collection: str) -> None:
        entry = door.text(collection)
        assert door.delete(f"/v1/collections/{collection}").status_code == 200
        assert door.get(f"/v1/collections/{collection}").status_code == 404
        assert door.get(f"/v1/documents/{entry['id']}").status_code == 404


class TestLists:
    def pages(self, door: Door, path: str, key: str = "") -> list[list[dict[str, Any]]]:
        found, after = [], ""
        while True:
            page = door.get(f"{path}{after}", key=key).json()
            found.append(page["data"])
            if page["next"] is None:
                return found
            after = f"&after={page['next']}"

    def test_of_documents_page_newest_first(self, door: Door, collection: str) -> None:
        upload(door, collection, *[(f"{n}.txt", b"Text %d." % n) for n in range(5)])
        pages = self.pages(door, f"/v1/collections/{collection}/documents?limit=2")
        assert [[row["name"] for row in page] for page in pages] == [
            ["4.txt", "3.txt"],
            ["2.txt", "1.txt"],
            ["0.txt"],
        ]
        assert set(pages[0][0]) >= {
            "id", "name", "external_id", "collection_id", "version", "state", "media_type", "size", "metadata",
            "created_at", "updated_at", "job_id",
        }  # fmt: skip

    def test_of_jobs_and_collections_page(self, door: Door, collection: str) -> None:
        upload(door, collection, *[(f"{n}.txt", b"Text %d." % n) for n in range(4)])
        key = door.key("reader", [collection])
        assert [len(page) for page in self.pages(door, "/v1/jobs?limit=2", key)] == [2, 2]
        assert [[row["id"] for row in page] for page in self.pages(door, "/v1/collections?limit=1", key)] == [
            [collection]
        ]
        assert len(self.pages(door, "/v1/audit?limit=40")) > 1

    def test_of_a_full_last_page_ends(self, door: Door, collection: str) -> None:
        upload(door, collection, ("a.txt", b"One."), ("b.txt", b"Two."))
        assert [
            len(page) for page in self.pages(door, f"/v1/collections/{collection}/documents?limit=2")
        ] == [2]


class TestCollections:
    def test_count_what_the_asker_may_see(self, door: Door, collection: str) -> None:
        door.text(collection, access=["user:ann"])
        door.text(collection, "Open.", "open.txt")
        assert door.get(f"/v1/collections/{collection}").json()["documents"] == 2
        assert door.get(f"/v1/collections/{collection}", key=door.key()).json()["documents"] == 1

    def test_restricted_is_not_found_by_others(self, door: Door) -> None:
        made = door.post("/v1/collections", json={"name": "secret", "access": ["group:board"]}).json()
        assert made["restricted"] is True
        agent = door.key("reader", may_act_for=True)
        board = {"Ibid-User": "ann", "Ibid-Groups": "board"}
        for path in ("/v1/collections/secret", f"/v1/collections/{made['id']}/documents"):
            assert door.get(path, key=agent, headers={"Ibid-User": "ann"}).status_code == 404
            assert door.get(path, key=agent, headers=board).status_code == 200

    def test_names_are_unique(self, door: Door) -> None:
        door.collection("unique")
        again = door.post("/v1/collections", json={"name": "unique"})
        assert door.code(again) == (409, "collection_exists")

    def test_verify_finds_and_repairs(self, door: Door, collection: str) -> None:
        door.text(collection, LEAVE)
        door.work()
        generation = door.get(f"/v1/collections/{collection}").json()["active_generation_id"]
        point = next(door.parts.store.scan(generation))[0]
        door.parts.store.delete(generation, point_ids=[point.id])
        path = f"/v1/collections/{collection}/verify"
        assert door.post(path).json()["generations"][0]["gaps"] == 1
        assert door.post(path, json={"repair": True}).json()["generations"][0]["repaired"] is True
        assert door.post(path).json()["generations"] == [
            {
                "generation_id": generation,
                "chunks": 1,
                "points": 1,
                "orphans": 0,
                "gaps": 0,
                "stale": 0,
                "repaired": False,
            }
        ]


class TestReindex:
    def test_switches_and_rolls_back(self, door: Door, collection: str) -> None:
        door.text(collection)
        door.work()
        before = door.get(f"/v1/collections/{collection}").json()["active_generation_id"]
        body = {"chunker": {"max_tokens": 30, "min_tokens": 5}}
        started = door.post(f"/v1/collections/{collection}/reindexes", json=body)
        assert started.status_code == 202
        door.work()
        reindex = door.get(f"/v1/reindexes/{started.json()['id']}").json()
        assert (reindex["state"], reindex["chunker"]["max_tokens"]) == ("switched", 30)
        now = door.get(f"/v1/collections/{collection}").json()["active_generation_id"]
        assert now == reindex["to_generation_id"] != before
        back = door.post(f"/v1/reindexes/{reindex['id']}/rollback")
        assert back.json()["state"] == "rolled_back"
        assert door.get(f"/v1/collections/{collection}").json()["active_generation_id"] == before
        again = door.post(f"/v1/reindexes/{reindex['id']}/rollback")
        assert door.code(again) == (409, "rollback_impossible")

    def test_does_not_go_back_to_what_no_search_could_use(self, door: Door, collection: str) -> None:
        door.text(collection)
        door.work()
        body = {"chunker": {"max_tokens": 30, "min_tokens": 5}}
        reindex = door.post(f"/v1/collections/{collection}/reindexes", json=body).json()
        door.work()
        with door.parts.db.begin() as session:  # as if its folder had been removed
            session.get_one(Generation, reindex["from_generation_id"]).embedder = "/nowhere/model"
        back = door.post(f"/v1/reindexes/{reindex['id']}/rollback")
        assert door.code(back) == (503, "embedder_unavailable")
        now = door.get(f"/v1/collections/{collection}").json()["active_generation_id"]
        assert now == reindex["to_generation_id"]

    def test_nonsense_is_refused(self, door: Door, collection: str) -> None:
        body = {"chunker": {"max_tokens": 5, "min_tokens": 30}}
        response = door.post(f"/v1/collections/{collection}/reindexes", json=body)
        assert door.code(response) == (422, "reindex_invalid")
        assert door.get(f"/v1/collections/{collection}/reindexes").json()["data"] == []


class TestJobs:
    def test_cancel_and_retry(self, door: Door, collection: str) -> None:
        job = f"/v1/jobs/{door.text(collection)['job_id']}"
        assert door.post(f"{job}/cancel").json()["state"] == "cancelled"
        assert door.code(door.post(f"{job}/cancel")) == (409, "job_ended")
        assert door.post(f"{job}/retry").json()["state"] == "queued"
        door.work()
        assert door.get(job).json()["state"] == "succeeded"
        assert door.code(door.post(f"{job}/retry")) == (409, "job_not_retryable")

    def test_of_a_reindex_are_for_admins(self, door: Door, collection: str) -> None:
        started = door.post(f"/v1/collections/{collection}/reindexes").json()
        path = f"/v1/jobs/{started['job_id']}/cancel"
        assert door.code(door.post(path, key=door.key("editor"))) == (403, "role_too_low")
        assert door.post(path).status_code == 200
