"""Reindexing under load: no error, no mixed generations, killed in the middle it goes on, one call rolls back."""

import os
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from ibid.db.session import Database
from ibid.db.tables import ChunkRow, Version
from tests.running import ENDED, Server, await_jobs, eventually, new_collection, serving, upload

pytestmark = pytest.mark.slow

QUESTION = "How many people does room 3-5 seat?"
# A name or folder of another encoder than the default one; any with other dimensions will do.
OTHER = os.environ.get("IBID_TEST_OTHER_EMBEDDER", "hashing")


def text(number: int) -> bytes:
    lines = [f"Room {number}-{line} of the north wing seats {number + line} people." for line in range(60)]
    return "\n\n".join(lines).encode()


class Searching(threading.Thread):
    """Searches and asks without pause, and remembers what came back."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.db = Database(f"sqlite:///{server.folder / 'data' / 'ibid.db'}")
        self.stopped = threading.Event()
        self.problems: list[str] = []
        self.mixed: list[Any] = []
        self.count = 0
        self.cited = 0

    def run(self) -> None:
        with self.server.client() as client:
            while not self.stopped.is_set():
                try:
                    self._search(client)
                    self._ask(client)
                except httpx.TransportError as error:
                    if self.server.process is not None and self.server.process.poll() is None:
                        self.problems.append(repr(error))
        self.db.dispose()

    def end(self) -> None:
        self.stopped.set()
        self.join()

    def _ask(self, client: httpx.Client) -> None:
        """What an answer cites stands in passages of the one generation that it names."""
        response = client.post("/v1/answers", json={"collection": "rooms", "question": QUESTION})
        if response.status_code != 200 or response.json()["status"] not in {"completed", "refused"}:
            self.problems.append(response.text)
            return
        answer = response.json()
        for citation in answer["citations"]:
            self.cited += 1
            passage = (
                select(ChunkRow.id)
                .join(Version, Version.id == ChunkRow.version_id)
                .where(
                    ChunkRow.generation_id == answer["generation_id"],
                    Version.document_id == citation["document_id"],
                    Version.number == citation["version"],
                    ChunkRow.start <= citation["start"],
                    ChunkRow.end >= citation["end"],
                )
            )
            with self.db.read() as session:
                if session.scalar(passage.limit(1)) is None:
                    self.mixed.append((answer["generation_id"], citation))

    def _search(self, client: httpx.Client) -> None:
        body = {"collection": "rooms", "query": QUESTION, "limit": 10}
        response = client.post("/v1/search", json=body)
        self.count += 1
        if response.status_code != 200:
            self.problems.append(response.text)
            return
        found = response.json()
        with self.db.read() as session:
            chunks = select(ChunkRow.generation_id).where(
                ChunkRow.id.in_([hit["chunk_id"] for hit in found["hits"]])
            )
            generations = set(session.scalars(chunks))
        if generations != {found["generation_id"]}:
            self.mixed.append((generations, found["generation_id"]))


class TestReindex:
    def test_beside_searches_and_uploads_with_a_kill(
        self, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        with serving(tmp_path) as server, server.client() as client:
            new_collection(client, "rooms")
            accepted = upload(client, "rooms", *[(f"rooms-{n}.txt", text(n)) for n in range(40)])
            await_jobs(client, [entry["job_id"] for entry in accepted])
            searching = Searching(server)
            request.addfinalizer(searching.stopped.set)
            searching.start()
            reindex = start(client, embedder=OTHER)
            eventually(lambda: progressed(client, reindex["job_id"]), what="progress", within=120)
            added = upload(client, "rooms", *[(f"new-{n}.txt", text(100 + n)) for n in range(10)])
            server.kill_worker()
            jobs = await_jobs(client, [reindex["job_id"], *[entry["job_id"] for entry in added]], within=240)
            assert {job["state"] for job in jobs.values()} == {"succeeded"}
            assert client.get(f"/v1/reindexes/{reindex['id']}").json()["state"] == "switched"
            assert generation(client) == reindex["to_generation_id"]
            late = upload(client, "rooms", ("late.txt", b"The late room seats 777 people."))
            await_jobs(client, [late[0]["job_id"]])
            back = client.post(f"/v1/reindexes/{reindex['id']}/rollback")
            assert back.status_code == 200, back.text
            assert generation(client) == reindex["from_generation_id"]
            body = {"collection": "rooms", "query": "late room 777 people", "limit": 1}
            assert "777" in client.post("/v1/search", json=body).json()["hits"][0]["text"]
            searching.end()
            assert (searching.problems, searching.mixed) == ([], [])
            assert searching.count > 10
            assert searching.cited > 10
            report = client.post("/v1/collections/rooms/verify", json={"repair": False}).json()["generations"]
            assert len(report) == 2
            assert all((g["orphans"], g["gaps"]) == (0, 0) for g in report)

    def test_a_cancelled_one_leaves_the_active_generation(self, tmp_path: Path) -> None:
        with serving(tmp_path) as server, server.client() as client:
            new_collection(client, "rooms")
            accepted = upload(client, "rooms", *[(f"rooms-{n}.txt", text(n)) for n in range(40)])
            await_jobs(client, [entry["job_id"] for entry in accepted])
            reindex = start(client, chunker={"max_tokens": 60, "min_tokens": 10})
            assert (
                client.post("/v1/collections/rooms/reindexes", json={"embedder": "hashing"}).status_code
                == 409
            )
            client.post(f"/v1/jobs/{reindex['job_id']}/cancel")
            eventually(
                lambda: client.get(f"/v1/jobs/{reindex['job_id']}").json()["state"] in ENDED, what="the end"
            )
            eventually(
                lambda: client.get(f"/v1/reindexes/{reindex['id']}").json()["state"] == "cancelled",
                what="the sweep",
            )
            assert generation(client) == reindex["from_generation_id"]


def start(client: httpx.Client, **settings: Any) -> dict[str, Any]:
    response = client.post("/v1/collections/rooms/reindexes", json=settings)
    assert response.status_code == 202, response.text
    return dict(response.json())


def progressed(client: httpx.Client, job_id: str) -> bool:
    job = client.get(f"/v1/jobs/{job_id}").json()
    return bool(job["progress"]["done"]) or job["state"] in ENDED


def generation(client: httpx.Client) -> str:
    body = {"collection": "rooms", "query": "room", "limit": 1}
    return str(client.post("/v1/search", json=body).json()["generation_id"])
