"""Archives sent over HTTP, in parts and from the command line, unpacked by a real worker that is killed meanwhile."""

import base64
import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.door import LEAVE, Door
from tests.running import Server, await_jobs, eventually, new_collection, serving
from tests.services import postgres_database
from tests.unit.test_archives import tarred, zipped

QUICK = {"IBID_EMBEDDER": "hashing", "IBID_LEASE_SECONDS": "4", "IBID_SWEEP_SECONDS": "1"}
FILES = tuple((f"folder/{n}.txt", f"Pump {n} runs at {n} bar.".encode()) for n in range(10))


def send(door: Door, collection: str, content: bytes, name: str = "a.zip", **more: str):
    return door.post(
        f"/v1/collections/{collection}/documents",
        files={"files": (name, content)},
        data={"unpack": "true", **more},
    )


class TestDoor:
    def test_archive_gets_a_job_that_tells_what_became_of_it(self, door: Door) -> None:
        collection = door.collection("archive")
        accepted = send(door, collection, zipped(*FILES, ("no.mp4", b"x")), metadata='{"a": 1}')
        assert accepted.status_code == 202
        (entry,) = accepted.json()["documents"]
        assert (entry["id"], entry["version"], entry["outcome"]) == (None, None, "unpacking")
        door.work()
        job = door.get(f"/v1/jobs/{entry['job_id']}").json()
        assert (job["kind"], job["state"]) == ("unpack", "partially_succeeded")
        assert job["progress"] == {"done": 11, "total": 11, "unit": "entries"}
        assert (job["statistics"]["created"], job["statistics"]["refusals"][0]["path"]) == (10, "no.mp4")
        path = f"/v1/collections/{collection}/documents?batch={entry['job_id']}"
        found = door.get(path).json()["data"]
        assert {(d["external_id"], d["name"]) for d in found} == {
            (path, path.removeprefix("folder/")) for path, _ in FILES
        }
        assert all((d["metadata"], d["batch_id"]) == ({"a": 1}, entry["job_id"]) for d in found)
        deleted = door.delete(path).json()
        assert (deleted["matched"], deleted["deleted"]) == (10, 10)
        assert door.get(f"/v1/collections/{collection}/documents").json()["data"] == []

    def test_beside_other_files(self, door: Door) -> None:
        collection = door.collection("beside")
        files = [("files", ("a.tar.gz", b"\x1f\x8b no")), ("files", ("leave.txt", LEAVE.encode()))]
        files += [("files", ("b.tar", tarred(("c.txt", b"x")))), ("files", ("d.zip", b"no zip"))]
        reply = door.post(
            f"/v1/collections/{collection}/documents", files=files, data={"unpack": "true"}
        ).json()
        assert [entry["outcome"] for entry in reply["documents"]] == [
            "unpacking",
            "created",
            "unpacking",
            "rejected",
        ]
        assert reply["documents"][3]["problem"]["code"] == "unsupported_type"
        door.work()
        jobs = [door.get(f"/v1/jobs/{entry['job_id']}").json() for entry in reply["documents"][:3]]
        assert [job["state"] for job in jobs] == ["failed", "succeeded", "succeeded"]
        assert jobs[0]["error"]["code"] == "unreadable"

    def test_without_being_asked_is_refused_with_advice(self, door: Door) -> None:
        collection = door.collection("unasked")
        reply = door.post(
            f"/v1/collections/{collection}/documents", files={"files": ("a.zip", zipped(*FILES))}
        )
        assert door.code(reply) == (415, "unsupported_type")
        assert "unpack" in reply.json()["detail"]

    def test_same_key_is_one_job(self, door: Door) -> None:
        collection = door.collection("once")
        request = {"files": {"files": ("a.zip", zipped(*FILES))}, "headers": {"Idempotency-Key": "once"}}
        path = f"/v1/collections/{collection}/documents"
        first = door.post(path, data={"unpack": "true"}, **request)
        second = door.post(path, data={"unpack": "true"}, **request)
        assert (second.json(), second.headers["idempotent-replayed"]) == (first.json(), "true")
        assert door.code(door.post(path, **request)) == (422, "idempotency_key_reused")

    def test_in_parts(self, door: Door) -> None:
        collection = door.collection("in parts")
        content = zipped(*FILES)
        told = {"filename": "a.zip", "unpack": "true", "external_id": "prefix"}
        pairs = (f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in told.items())
        headers = {"Upload-Length": str(len(content)), "Upload-Metadata": ",".join(pairs)}
        location = door.post(f"/v1/collections/{collection}/uploads", headers=headers).headers["location"]
        octets = {"Content-Type": "application/offset+octet-stream"}
        door.call("PATCH", location, content=content[:50], headers=octets | {"Upload-Offset": "0"})
        done = door.call("PATCH", location, content=content[50:], headers=octets | {"Upload-Offset": "50"})
        assert done.status_code == 204
        became = door.get(location).json()["outcome"]
        assert became == {
            "id": None,
            "version": None,
            "job_id": done.headers["ibid-job-id"],
            "outcome": "unpacking",
        }
        assert "ibid-document-id" not in done.headers
        door.work()
        found = door.get(f"/v1/collections/{collection}/documents").json()["data"]
        assert {d["external_id"] for d in found} == {f"prefix/{path}" for path, _ in FILES}

    def test_is_written_down(self, door: Door) -> None:
        (entry,) = send(door, door.collection("trail"), zipped(*FILES)).json()["documents"]
        rows = door.get("/v1/audit", params={"action": "archive.upload"}).json()["data"]
        assert entry["job_id"] in [row["resource"] for row in rows]


MANY = tuple((f"reports/{n}.txt", f"Report {n} says that pump {n} runs well.".encode()) for n in range(160))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    if request.param == "sqlite":
        with serving(tmp_path, **QUICK) as running:
            yield running
        return
    with postgres_database() as url:
        upgraded = Server(tmp_path, QUICK | {"IBID_DATABASE_URL": url}).command("db", "upgrade")
        assert upgraded.returncode == 0, upgraded.stderr
        with serving(tmp_path, IBID_DATABASE_URL=url, **QUICK) as running:
            yield running


@pytest.mark.slow
class TestKill:
    """A worker, and then the server, killed in the middle of an archive."""

    def test_takes_every_file_once(self, server: Server) -> None:
        name, content = ("a.zip", zipped(*MANY))
        if "IBID_DATABASE_URL" in server.environment:
            name, content = "a.tar.gz", gzip.compress(tarred(*MANY))
        with server.client() as client:
            new_collection(client, "reports")
            accepted = client.post(
                "/v1/collections/reports/documents",
                files={"files": (name, content)},
                data={"unpack": "true"},
            )
            job_id = accepted.json()["documents"][0]["job_id"]

            def done() -> int:
                return int(client.get(f"/v1/jobs/{job_id}").json()["progress"]["done"])

            eventually(lambda: done() >= 10, what="the first files")
            server.kill_worker()
            before = done()
            assert before < len(MANY)
            eventually(lambda: done() >= before + 10, what="the next files")
            server.kill()
        server.start()
        with server.client() as client:
            (job,) = await_jobs(client, [job_id]).values()
            assert (job["state"], job["statistics"]["created"]) == ("succeeded", len(MANY))
            # Each kill cut it: had it ended before one, nothing would have claimed it again.
            assert job["attempt"] >= 3
            documents = []
            after = None
            while True:
                page = client.get(
                    "/v1/collections/reports/documents",
                    params={"batch": job_id, "limit": 100} | ({"after": after} if after else {}),
                ).json()
                documents += page["data"]
                if not (after := page["next"]):
                    break
            assert {d["external_id"] for d in documents} == {path for path, _ in MANY}
            assert {d["version"] for d in documents} == {1}
            ended = await_jobs(client, [d["job_id"] for d in documents])
            assert {each["state"] for each in ended.values()} == {"succeeded"}
            (found,) = client.post("/v1/collections/reports/verify", json={"repair": False}).json()[
                "generations"
            ]
            assert (found["points"], found["orphans"], found["gaps"]) == (len(MANY), 0, 0)
