"""Diffs, roll-backs, metadata, and deletions by filter over HTTP."""

from itertools import count

import pytest

from tests.door import LEAVE, QUESTION, Door

NUMBERS = count()
NEW = LEAVE.replace("20 days", "25 days")


@pytest.fixture
def collection(door: Door) -> str:
    return door.collection(f"versions {next(NUMBERS)}")


@pytest.fixture
def document(door: Door, collection: str) -> str:
    """Two versions, both read."""
    made = door.text(collection)
    door.work()
    door.text(collection, NEW)
    door.work()
    return str(made["id"])


def hits(door: Door, collection: str, **request: str) -> list[str]:
    asked = door.post("/v1/search", json={"collection": collection, "query": QUESTION}, **request)
    return [hit["text"] for hit in asked.json()["hits"]]


class TestDiff:
    def test_gives_spans_of_either_text(self, door: Door, document: str) -> None:
        found = door.get(f"/v1/documents/{document}/versions/2/diff?against=1").json()
        (removed,), (added,) = found["removed"], found["added"]
        assert removed["text"] == LEAVE.split("\n\n")[0] == LEAVE[removed["start"] : removed["end"]]
        assert added["text"] == NEW.split("\n\n")[0] == NEW[added["start"] : added["end"]]
        assert found["coarse"] is False

    def test_against_itself_is_empty(self, door: Door, document: str) -> None:
        found = door.get(f"/v1/documents/{document}/versions/2/diff?against=2").json()
        assert (found["removed"], found["added"]) == ([], [])

    def test_of_a_version_that_is_not_there(self, door: Door, document: str) -> None:
        refused = door.get(f"/v1/documents/{document}/versions/2/diff?against=9")
        assert door.code(refused) == (404, "version_not_found")

    def test_before_it_is_read(self, door: Door, document: str, collection: str) -> None:
        door.text(collection, "Another.")
        refused = door.get(f"/v1/documents/{document}/versions/3/diff?against=1")
        assert door.code(refused) == (409, "text_not_ready")


class TestRestore:
    def test_makes_a_new_version_of_the_old_content(self, door: Door, document: str, collection: str) -> None:
        made = door.post(f"/v1/documents/{document}/versions/1/restore")
        assert made.status_code == 202
        assert (made.json()["version"], made.json()["outcome"]) == (3, "updated")
        door.work()
        assert any("20 days" in text for text in hits(door, collection))
        assert not any("25 days" in text for text in hits(door, collection))
        chunks = door.get(f"/v1/documents/{document}/receipt").json()["chunks"]
        assert (chunks["embedded"], chunks["reused"]) == (0, chunks["made"])
        listed = door.get(f"/v1/documents/{document}/versions").json()["data"]
        assert [version["number"] for version in listed] == [3, 2, 1]
        assert listed[0]["sha256"] == listed[2]["sha256"]

    def test_of_what_is_current_says_so(self, door: Door, document: str) -> None:
        made = door.post(f"/v1/documents/{document}/versions/2/restore").json()
        assert (made["version"], made["outcome"], made["job_id"]) == (2, "unchanged", None)

    def test_is_audited(self, door: Door, document: str) -> None:
        door.post(f"/v1/documents/{document}/versions/1/restore")
        (row,) = door.get("/v1/audit?action=document.restore&limit=1").json()["data"]
        assert row["resource"] == document
        assert row["detail"] == {"restored": 1, "version": 3, "outcome": "updated"}


class TestMetadata:
    def test_reach_the_points_by_the_job_that_there_is(
        self, door: Door, document: str, collection: str
    ) -> None:
        jobs = len(door.get("/v1/jobs?limit=200").json()["data"])
        made = door.call("PUT", f"/v1/documents/{document}/metadata", json={"metadata": {"team": "HR"}})
        assert made.json()["metadata"] == {"team": "HR"}
        assert made.json()["state"] == "queued"
        assert len(door.get("/v1/jobs?limit=200").json()["data"]) == jobs
        door.work()
        assert door.get(f"/v1/documents/{document}").json()["state"] == "succeeded"
        asked = {"collection": collection, "query": "leave"}
        for value, found in {"HR": True, "IT": False}.items():
            wanted = {"type": "eq", "key": "team", "value": value}
            assert bool(door.post("/v1/search", json=asked | {"filters": wanted}).json()["hits"]) is found

    def test_access_holds_at_once_and_reaches_the_points(
        self, door: Door, document: str, collection: str
    ) -> None:
        reader = door.key("reader")
        assert hits(door, collection, key=reader)
        made = door.call("PUT", f"/v1/documents/{document}/metadata", json={"access": ["user:ann"]})
        assert (made.json()["access"], made.json()["version"]) == (["user:ann"], 2)
        assert hits(door, collection, key=reader) == []
        assert door.get(f"/v1/documents/{document}", key=reader).status_code == 404
        door.work()
        assert door.get(f"/v1/documents/{document}").json()["state"] == "succeeded"
        assert hits(door, collection)


class TestDeleteByFilter:
    @pytest.fixture
    def many(self, door: Door, collection: str) -> dict[str, str]:
        """Ids by name."""
        described = {
            "a.txt": {"metadata": {"year": 2025}},
            "b.txt": {"metadata": {"year": 2026, "team": "HR"}},
            "c.md": {"external_id": "notes/c"},
        }
        return {name: door.text(collection, name, name, **more)["id"] for name, more in described.items()}

    @pytest.mark.parametrize(
        ("query", "gone"),
        [
            ("name=*.txt", {"a.txt", "b.txt"}),
            ("external_id=notes/", {"c.md"}),
            ("metadata.year=2026", {"b.txt"}),
            ("metadata.team=HR&name=a*", set()),
            ("before=2020-01-01T00:00:00Z", set()),
            ("before=2999-01-01T00:00:00Z", {"a.txt", "b.txt", "c.md"}),
        ],
    )
    def test_deletes_what_it_means(
        self, door: Door, collection: str, many: dict[str, str], query: str, gone: set[str]
    ) -> None:
        path = f"/v1/collections/{collection}/documents?{query}"
        rehearsed = door.delete(f"{path}&dry_run=true").json()
        assert (rehearsed["matched"], rehearsed["deleted"]) == (len(gone), 0)
        assert all(door.get(f"/v1/documents/{id_}").status_code == 200 for id_ in many.values())
        done = door.delete(path).json()
        assert (done["matched"], done["deleted"], len(done["job_ids"])) == (len(gone),) * 3
        assert {n for n, id_ in many.items() if door.get(f"/v1/documents/{id_}").status_code == 404} == gone
        door.work()
        assert all(door.get(f"/v1/jobs/{id_}").json()["state"] == "succeeded" for id_ in done["job_ids"])

    @pytest.mark.parametrize(
        ("query", "code"), [("", "no_filter"), ("?nmae=*", "unknown_filter"), ("?name=", "no_filter")]
    )
    def test_needs_a_filter_that_is_known(
        self, door: Door, collection: str, many: dict[str, str], query: str, code: str
    ) -> None:
        refused = door.delete(f"/v1/collections/{collection}/documents{query}")
        assert door.code(refused)[1] == code
        assert all(door.get(f"/v1/documents/{id_}").status_code == 200 for id_ in many.values())

    def test_leaves_what_the_asker_may_not_see(self, door: Door, collection: str) -> None:
        hidden = door.text(collection, "Hidden.", "hidden.txt", access=["user:ann"])
        done = door.delete(f"/v1/collections/{collection}/documents?name=*", key=door.key("editor")).json()
        assert done["matched"] == 0
        assert door.get(f"/v1/documents/{hidden['id']}").status_code == 200


class TestIdentity:
    def test_an_external_id_is_no_name(self, door: Door, collection: str) -> None:
        named = door.text(collection, "One.", "a.txt")
        other = door.text(collection, "One.", "b.txt", external_id="a.txt")
        assert named["id"] != other["id"]
        assert door.text(collection, "Two.", "a.txt")["id"] == named["id"]
        assert door.text(collection, "Two.", "c.txt", external_id="a.txt")["id"] == other["id"]

    def test_bytes_that_were_lost_are_put_back(self, door: Door, collection: str) -> None:
        made = door.text(collection, "Bytes that will be lost.", "lost.txt")
        blobs = door.parts.blobs
        before = set(blobs.keys())
        for key in before:
            blobs.delete(key)
        door.work()
        assert door.get(f"/v1/jobs/{made['job_id']}").json()["error"]["code"] == "blob_missing"
        again = door.text(collection, "Bytes that will be lost.", "lost.txt")
        assert (again["id"], again["version"]) == (made["id"], 1)
        door.work()
        assert door.get(f"/v1/documents/{made['id']}").json()["state"] == "succeeded"
        assert (
            door.get(f"/v1/documents/{made['id']}/versions/1/original").content == b"Bytes that will be lost."
        )
