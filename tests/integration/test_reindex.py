"""Reindexing under load: no error, no mixed generations, killed in the middle it goes on, one call rolls back."""

import os
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from ibid.db.session import Database
from ibid.db.tables import ChunkRow, Indexing, Version
from tests.running import ENDED, PATIENCE, Server, await_jobs, eventually, new_collection, serving, upload

pytestmark = pytest.mark.slow

# A folder of another encoder: with it, the Contoso handbooks are reindexed to it, which takes many minutes. Without,
# made-up texts are, to an encoder of other dimensions that needs no seconds to load.
OTHER = os.environ.get("IBID_TEST_OTHER_EMBEDDER", "")
QUESTION = "How much does PerksPlus reimburse?" if OTHER else "How many people does room 3-5 seat?"
LONGEST = 3600.0 if OTHER else PATIENCE


def text(number: int) -> bytes:
    lines = [f"Room {number}-{line} of the north wing seats {number + line} people." for line in range(60)]
    return "\n\n".join(lines).encode()


def made_up() -> list[tuple[str, bytes]]:
    return [(f"rooms-{number}.txt", text(number)) for number in range(40)]


@pytest.fixture
def corpus(request: pytest.FixtureRequest) -> list[tuple[str, bytes]]:
    """What is reindexed."""
    if not OTHER:
        return made_up()
    data: Path = request.getfixturevalue("data")
    return [(path.name, path.read_bytes()) for path in sorted((data / "contoso").glob("*.pdf"))]


class Searching(threading.Thread):
    """Searches and asks without pause, and remembers what came back."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.stopped = threading.Event()
        self.problems: list[str] = []
        self.mixed: list[Any] = []
        self.count = 0
        self.cited = 0

    def run(self) -> None:
        with self.server.client() as client, self.server.database() as db:
            while not self.stopped.is_set():
                try:
                    self._search(client, db)
                    self._ask(client, db)
                except httpx.TransportError as error:
                    self.problems.append(repr(error))

    def end(self) -> None:
        self.stopped.set()
        self.join()

    def _ask(self, client: httpx.Client, db: Database) -> None:
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
            with db.read() as session:
                if session.scalar(passage.limit(1)) is None:
                    self.mixed.append((answer["generation_id"], citation))

    def _search(self, client: httpx.Client, db: Database) -> None:
        body = {"collection": "rooms", "query": QUESTION, "limit": 10}
        response = client.post("/v1/search", json=body)
        self.count += 1
        if response.status_code != 200:
            self.problems.append(response.text)
            return
        found = response.json()
        with db.read() as session:
            chunks = select(ChunkRow.generation_id).where(
                ChunkRow.id.in_([hit["chunk_id"] for hit in found["hits"]])
            )
            generations = set(session.scalars(chunks))
        if generations != {found["generation_id"]}:
            self.mixed.append((generations, found["generation_id"]))


class TestReindex:
    def test_beside_searches_and_uploads_with_a_kill(
        self, tmp_path: Path, corpus: list[tuple[str, bytes]], request: pytest.FixtureRequest
    ) -> None:
        with serving(tmp_path) as server, server.client() as client:
            new_collection(client, "rooms")
            accepted = upload(client, "rooms", *corpus)
            await_jobs(client, [entry["job_id"] for entry in accepted])
            searching = Searching(server)
            request.addfinalizer(searching.stopped.set)
            searching.start()
            reindex = start(client, embedder=OTHER or "hashing")
            to = reindex["to_generation_id"]
            eventually(lambda: indexed(server, to), what="progress", within=LONGEST)
            added = [upload(client, "rooms", (f"new-{n}.txt", text(100 + n)))[0] for n in range(10)]
            attempt, kept = killed(server, client, reindex["job_id"], to)
            assert 0 < len(kept) < len(corpus)
            jobs = await_jobs(
                client, [reindex["job_id"], *[entry["job_id"] for entry in added]], within=LONGEST
            )
            assert {job["state"] for job in jobs.values()} == {"succeeded"}
            assert jobs[reindex["job_id"]]["attempt"] > attempt
            assert kept.items() <= indexed(server, to).items(), "what had been stored was stored again"
            assert client.get(f"/v1/reindexes/{reindex['id']}").json()["state"] == "switched"
            assert generation(client) == to
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
            accepted = upload(client, "rooms", *made_up())
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


def killed(
    server: Server, client: httpx.Client, job_id: str, generation_id: str
) -> tuple[int, dict[str, datetime]]:
    """Kill the worker while it builds the generation; the attempt that ended so, and what it had stored."""

    def running() -> dict[str, Any] | None:
        job = dict(client.get(f"/v1/jobs/{job_id}").json())
        assert job["state"] not in ENDED, job
        return job if job["state"] == "running" else None

    job = eventually(running, what="the reindex at work", within=LONGEST)
    server.kill_worker()
    assert job is not None
    assert client.get(f"/v1/jobs/{job_id}").json()["state"] not in ENDED
    return int(job["attempt"]), indexed(server, generation_id)


def indexed(server: Server, generation_id: str) -> dict[str, datetime]:
    """The versions that the generation holds, and when each was stored."""
    with server.database() as db, db.read() as session:
        rows = session.scalars(select(Indexing).where(Indexing.generation_id == generation_id))
        return {row.version_id: row.created_at for row in rows}


def generation(client: httpx.Client) -> str:
    body = {"collection": "rooms", "query": "room", "limit": 1}
    return str(client.post("/v1/search", json=body).json()["generation_id"])
