"""Promise 3: whatever is killed at whatever moment, every accepted document reaches its end, once."""

import threading
from pathlib import Path

import httpx
import psutil
import pytest
from sqlalchemy import select

from ibid.db.tables import Job
from tests.running import Server, await_jobs, eventually, new_collection, serving, upload

pytestmark = pytest.mark.slow

UPLOADS = 50
# What is killed does not depend on what the vectors mean; this encoder needs no seconds to load.
QUICK = {"IBID_EMBEDDER": "hashing"}


def document(series: str, number: int) -> tuple[str, bytes]:
    """A document of several chunks with words of its own."""
    paragraphs = [
        f"Paragraph {p} of report {series}-{number} says that machine {number * 100 + p} was checked and found well."
        for p in range(40)
    ]
    return f"{series}-{number}.txt", "\n\n".join(paragraphs).encode()


class Uploading(threading.Thread):
    """Uploads a series, one request each; what got no answer, or 409 or 503, is sent again under the same key.

    At half it waits to be told to go on, so that a worker is at work when something is killed in the second half.
    """

    def __init__(self, server: Server, series: str) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.series = series
        self.stopped = threading.Event()
        self.second_half = threading.Event()
        self.job_ids: list[str] = []
        self.unanswered = 0
        self.refusals: list[str] = []

    def run(self) -> None:
        with self.server.client() as client:
            for number in range(UPLOADS):
                name, content = document(self.series, number)
                if number == UPLOADS // 2:
                    self.second_half.wait(120)
                while not self.stopped.is_set() and not self._accepted(client, name, content):
                    self.stopped.wait(0.1)

    def end(self) -> list[str]:
        """The jobs of the whole series, once every document has been accepted."""
        self.join(timeout=120)
        assert not self.is_alive()
        assert self.refusals == []
        return self.job_ids

    def _accepted(self, client: httpx.Client, name: str, content: bytes) -> bool:
        try:
            response = client.post(
                "/v1/collections/reports/documents",
                files={"files": (name, content)},
                headers={"Idempotency-Key": name},
            )
        except httpx.TransportError:
            self.unanswered += 1
            return False
        if response.status_code in {409, 503}:
            return False
        if response.status_code == 202:
            self.job_ids += [entry["job_id"] for entry in response.json()["documents"]]
        else:
            self.refusals.append(response.text)
        return True


def uploading(server: Server, series: str, request: pytest.FixtureRequest) -> Uploading:
    thread = Uploading(server, series)
    request.addfinalizer(thread.stopped.set)
    thread.start()
    return thread


def accept(server: Server, series: str) -> list[str]:
    with server.client() as client:
        files = [document(series, number) for number in range(UPLOADS)]
        return [entry["job_id"] for entry in upload(client, "reports", *files)]


def running_jobs(server: Server) -> int:
    with server.client() as client:
        return len(client.get("/v1/jobs", params={"state": "running", "limit": 200}).json()["data"])


def reach_the_middle(server: Server, upload: Uploading) -> None:
    """Come back while the worker is at work and the second half of the series is being uploaded."""
    half = UPLOADS // 2
    eventually(lambda: len(upload.job_ids) == half and running_jobs(server) > 0, what="half")
    upload.second_half.set()
    eventually(lambda: len(upload.job_ids) > half, what="the second half")


class TestKill:
    def test_worker_then_server_in_the_middle_of_uploads(
        self, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        with serving(tmp_path, **QUICK) as server:
            with server.client() as client:
                new_collection(client, "reports")
            first = uploading(server, "first", request)
            reach_the_middle(server, first)
            server.kill_worker()
            assert len(first.job_ids) < UPLOADS
            job_ids = first.end()
            assert first.unanswered == 0
            second = uploading(server, "second", request)
            reach_the_middle(server, second)
            server.kill()
            assert len(second.job_ids) < UPLOADS
            server.start()
            job_ids += second.end()
            assert second.unanswered > 0
            assert len(set(job_ids)) == 2 * UPLOADS
            with server.client() as client:
                jobs = await_jobs(client, job_ids)
                assert {job["state"] for job in jobs.values()} == {"succeeded"}
                page = client.get("/v1/collections/reports/documents", params={"limit": 200}).json()
                names = [entry["name"] for entry in page["data"]]
                assert len(names) == len(set(names)) == 2 * UPLOADS
                assert {entry["version"] for entry in page["data"]} == {1}
                report = client.post("/v1/collections/reports/verify", json={"repair": False}).json()[
                    "generations"
                ]
                assert [(g["orphans"], g["gaps"]) for g in report] == [(0, 0)]
                assert report[0]["points"] == report[0]["chunks"] > 2 * UPLOADS

    def test_no_orphan_outlives_its_server(self, tmp_path: Path) -> None:
        with serving(tmp_path, **QUICK) as server:
            pid = eventually(server.worker_pid, what="a worker")
            assert pid is not None
            server.kill()
            eventually(lambda: gone(pid), what="the worker's end")

    def test_a_second_server_on_the_same_directory_refuses(self, tmp_path: Path) -> None:
        with serving(tmp_path, **QUICK) as server:
            second = Server(tmp_path, dict(QUICK))
            second.start(ready=False)
            assert second.process is not None
            assert second.process.wait(60) == 1
            assert "already_serving" in server.log.read_text()


def gone(pid: int) -> bool:
    """Whether the process has ended; one that nobody waited for is a zombie."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class TestStop:
    def test_in_order_puts_everything_away_and_blames_no_document(self, tmp_path: Path) -> None:
        with serving(tmp_path, **QUICK) as server:
            with server.client() as client:
                new_collection(client, "reports")
            job_ids = accept(server, "only")
            eventually(lambda: running_jobs(server) > 0, what="work in progress")
            pid = eventually(server.worker_pid, what="a worker")
            assert pid is not None
            assert server.stop() == 0
            assert gone(pid)
            assert not (tmp_path / "data" / "cli-key").exists()
            with server.database() as db, db.read() as session:
                jobs = session.scalars(select(Job)).all()
            assert {job.failures for job in jobs} == {0}
            assert {job.state for job in jobs} <= {"queued", "succeeded"}
            server.start()
            with server.client() as client:
                ended = await_jobs(client, job_ids)
            assert {job["state"] for job in ended.values()} == {"succeeded"}
