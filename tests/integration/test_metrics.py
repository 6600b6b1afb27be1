"""Measurements: who may read them, that they count what happened, in this process and in a real worker's."""

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ibid import collections, documents, metrics, uploads
from ibid.bootstrap import open_parts
from ibid.documents import Upload
from ibid.metrics import MetricsUnprotected
from ibid.nudge.memory import MemoryNudge
from ibid.settings import Settings
from ibid.types import Scope
from ibid.vectors.memory import MemoryVectorStore
from tests.door import QUESTION, Door, made
from tests.running import (
    await_jobs,
    command,
    end_family,
    eventually,
    free_port,
    new_collection,
    serving,
    upload,
    without_settings,
)
from tests.services import REDIS, postgres_database

TOKEN = "a token for measurements"
MARKER = "zyzzogeton"


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Values by name and labels' values, in the order of the labels' names."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with made(tmp_path_factory.mktemp("measured"), metrics_token=TOKEN) as door:
        yield door


class TestAccess:
    def test_anonymous(self, measured: Door) -> None:
        assert measured.code(measured.get("/metrics", key=None)) == (401, "key_missing")

    def test_wrong_token(self, measured: Door) -> None:
        assert measured.code(measured.get("/metrics", key=TOKEN + "x")) == (401, "key_unknown")

    @pytest.mark.parametrize("role", ["reader", "editor"])
    def test_role_too_low(self, measured: Door, role: str) -> None:
        assert measured.code(measured.get("/metrics", key=measured.key(role))) == (403, "role_too_low")

    def test_admin_of_one_collection(self, measured: Door) -> None:
        """Others' data is invisible, and so is how much of it there is."""
        limited = measured.key("admin", [measured.collection("one of many")])
        assert measured.code(measured.get("/metrics", key=limited)) == (403, "metrics_limited")

    @pytest.mark.parametrize("key", ["", TOKEN], ids=["admin", "token"])
    def test_valid(self, measured: Door, key: str) -> None:
        response = measured.get("/metrics", key=key)
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/plain")

    def test_the_token_opens_nothing_else(self, measured: Door) -> None:
        assert measured.code(measured.get("/v1/collections", key=TOKEN)) == (401, "key_unknown")

    def test_without_a_token_in_the_settings_none_is_good(self, door: Door) -> None:
        for offered in ("x", "None", TOKEN):
            assert door.code(door.get("/metrics", key=offered)) == (401, "key_unknown")


class TestValues:
    def test_count_what_is_there_and_what_happened(self, tmp_path: Path) -> None:
        with made(tmp_path) as door:
            before = samples(door.get("/metrics").text)
            collection = door.collection(f"{MARKER} collection")
            door.text(collection, f"The {MARKER} sleeps.\n\nIt sleeps long.", f"{MARKER}.txt")
            waiting = samples(door.get("/metrics").text)
            door.work()
            door.text(collection, "Never read.", "b.txt")
            door.post("/v1/search", json={"collection": collection, "query": MARKER})
            answer = door.post("/v1/answers", json={"collection": collection, "question": QUESTION})
            assert answer.is_success
            text = door.get("/metrics").text
        after = samples(text)
        assert MARKER not in text
        assert collection not in text
        assert (waiting["ibid_jobs", "queued"], before["ibid_jobs", "queued"]) == (1, 0)
        assert waiting["ibid_jobs_oldest_waiting_seconds",] > 0 == before["ibid_jobs_oldest_waiting_seconds",]
        assert after["ibid_jobs_ended_total", "ingest", "succeeded"] == 1
        assert after["ibid_documents",] == 2
        assert after["ibid_chunks",] == after["ibid_points",] >= 1
        assert after["ibid_database_up",] == 1
        assert after["ibid_webhook_deliveries_pending",] == 0
        uploads = ("ibid_http_requests_total", "POST", "/v1/collections/{collection}/documents", "202")
        assert after[uploads] - before.get(uploads, 0) == 2
        assert self.grown(before, after, "ibid_search_seconds_count") >= 2  # the search, and the answer's own
        assert self.grown(before, after, "ibid_answer_seconds_count") == 1
        for stage in ("parse", "chunk", "embed", "index"):
            assert self.grown(before, after, "ibid_stage_seconds_count", stage) >= 1

    def grown(
        self, before: dict[tuple[str, ...], float], after: dict[tuple[str, ...], float], *name: str
    ) -> float:
        return after[name] - before.get(name, 0)

    def test_addresses_and_methods_that_nobody_has_are_one(self, measured: Door) -> None:
        for number in range(5):
            measured.client.request(f"METHOD{number}", f"/{MARKER}/{number}")
        text = measured.get("/metrics").text
        assert MARKER not in text
        assert "METHOD" not in text
        assert any(key[:2] == ("ibid_http_requests_total", "other") for key in samples(text))

    def test_a_database_that_is_away_is_said_to_be(self, tmp_path: Path) -> None:
        with made(tmp_path, metrics_token=TOKEN) as door:
            door.parts.db.dispose()
            (tmp_path / "door.db").rename(tmp_path / "gone.db")
            (tmp_path / "door.db").mkdir()
            found = samples(door.get("/metrics", key=TOKEN).text)
            (tmp_path / "door.db").rmdir()
            (tmp_path / "gone.db").rename(tmp_path / "door.db")
        assert found["ibid_database_up",] == 0
        assert ("ibid_documents",) not in found


class TestWorkersPort:
    def test_is_not_opened_without_a_token(self) -> None:
        with pytest.raises(MetricsUnprotected, match="IBID_METRICS_TOKEN"):
            metrics.serve("127.0.0.1", 0, None)

    def test_is_shown_to_the_token_only(self) -> None:
        server = metrics.serve("127.0.0.1", 0, TOKEN)
        url = f"http://127.0.0.1:{server.server_port}/metrics"
        try:
            assert httpx.get(url).status_code == 401
            assert httpx.get(url, headers={"Authorization": f"Bearer {TOKEN}x"}).status_code == 401
            shown = httpx.get(url, headers={"Authorization": f"Bearer {TOKEN}"})
            assert "ibid_stage_seconds" in shown.text
        finally:
            server.shutdown()
            server.server_close()


class TestProcesses:
    @pytest.mark.service
    def test_a_worker_of_its_own_shows_what_it_counted(self, tmp_path: Path) -> None:
        """Work needs a Qdrant server, which this does without: what is counted is that a job did not get far."""
        port = free_port()
        with postgres_database() as url:
            environment = {
                "IBID_DATA_DIR": str(tmp_path),
                "IBID_DATABASE_URL": url,
                "IBID_BROKER_URL": REDIS,
                "IBID_QDRANT_URL": f"http://127.0.0.1:{free_port()}",
                "IBID_EMBEDDER": "hashing",
                "IBID_METRICS_PORT": str(port),
            }
            assert command("db", "upgrade", **environment).returncode == 0
            refused = command("worker", **environment)
            assert (refused.returncode, refused.stderr.partition(":")[0]) == (1, "metrics_unprotected")
            _enqueue(url, tmp_path)
            started = without_settings() | environment | {"IBID_METRICS_TOKEN": TOKEN}
            with (tmp_path / "log").open("wb") as output:
                worker = subprocess.Popen(
                    [sys.executable, "-m", "ibid.cli", "worker"], env=started, stdout=output, stderr=output
                )
            try:
                shown = eventually(
                    lambda: _scraped(port), what="a parse counted in a child, shown by its parent"
                )
            finally:
                end_family(worker)
        assert shown["ibid_stage_seconds_count", "parse"] >= 1

    def test_a_server_shows_what_its_worker_counted(self, tmp_path: Path) -> None:
        with serving(tmp_path, IBID_EMBEDDER="hashing") as server, server.client() as client:
            made = upload(client, new_collection(client, "c"), ("a.txt", b"The heron stands in the river."))
            await_jobs(client, [made[0]["job_id"]])
            server.kill_worker()
            eventually(server.worker_pid, what="another worker")
            found = samples(client.get("/metrics").text)
            assert {
                stage: found["ibid_stage_seconds_count", stage] for stage in ("parse", "embed", "index")
            } == {
                "parse": 1,
                "embed": 1,
                "index": 1,
            }
            assert found["ibid_http_requests_total", "POST", "/v1/collections", "201"] == 1
            server.stop()
            server.start()
            again = samples(client.get("/metrics").text)
            assert ("ibid_stage_seconds_count", "parse") not in again
            assert again["ibid_jobs_ended_total", "ingest", "succeeded"] == 1


def _enqueue(url: str, folder: Path) -> None:
    """A document that waits, its bytes where a worker on this machine finds them."""
    settings = Settings(data_dir=folder, embedder="hashing", database_url=url)
    parts = open_parts(settings, store=MemoryVectorStore(), nudge=MemoryNudge())
    kept = uploads.keep(parts.db, parts.blobs, io.BytesIO(b"The heron stands in the river."))
    with parts.db.begin() as session:
        made = collections.create(session, name="c", description="", grants=None, recipe=parts.recipe())
        scope = Scope(key_id="", role="admin")
        documents.accept(session, scope, made.id, Upload("a.txt", "text/plain", kept))
    parts.close()


def _scraped(port: int) -> dict[tuple[str, ...], float] | None:
    """What a worker's port shows, once a parse was counted."""
    try:
        response = httpx.get(f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    except httpx.TransportError:
        return None
    found = samples(response.text)
    return found if ("ibid_stage_seconds_count", "parse") in found else None
