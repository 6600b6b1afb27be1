"""Promise 3: whatever is killed at whatever moment, every accepted document reaches its end, once."""

from pathlib import Path

import psutil
import pytest
from sqlalchemy import select

from ibid.db.session import Database
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


def accept(server: Server, series: str) -> list[str]:
    with server.client() as client:
        files = [document(series, number) for number in range(UPLOADS)]
        return [entry["job_id"] for entry in upload(client, "reports", *files)]


def some_but_not_all(server: Server, job_ids: list[str]) -> bool:
    """Whether the worker is in the middle of these jobs: some run, and not all have ended."""
    with server.client() as client:
        states = [client.get(f"/v1/jobs/{job_id}").json()["state"] for job_id in job_ids]
    return "running" in states


class TestKill:
    def test_worker_then_server_in_the_middle_of_uploads(self, tmp_path: Path) -> None:
        with serving(tmp_path, **QUICK) as server:
            with server.client() as client:
                new_collection(client, "reports")
            first = accept(server, "first")
            eventually(lambda: some_but_not_all(server, first), what="work in progress")
            server.kill_worker()
            second = accept(server, "second")
            eventually(lambda: some_but_not_all(server, second), what="work in progress", within=120)
            server.kill()
            server.start()
            with server.client() as client:
                jobs = await_jobs(client, first + second, within=240)
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
            eventually(lambda: gone(pid), what="the worker's end", within=30)

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
            eventually(lambda: some_but_not_all(server, job_ids), what="work in progress")
            pid = eventually(server.worker_pid, what="a worker")
            assert pid is not None
            assert server.stop() == 0
            assert gone(pid)
            assert not (tmp_path / "data" / "cli-key").exists()
            db = Database(f"sqlite:///{tmp_path / 'data' / 'ibid.db'}")
            with db.read() as session:
                jobs = session.scalars(select(Job)).all()
            db.dispose()
            assert {job.failures for job in jobs} == {0}
            assert {job.state for job in jobs} <= {"queued", "succeeded"}
            server.start()
            with server.client() as client:
                ended = await_jobs(client, job_ids)
            assert {job["state"] for job in ended.values()} == {"succeeded"}
