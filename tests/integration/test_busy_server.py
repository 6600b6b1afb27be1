"""Commands against a server that is busy for a while."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from ibid.cli import client
from ibid.cli.client import PATIENCE_SECONDS, patiently
from tests.receiver import receiving
from tests.running import ADMIN_KEY, eventually, new_collection, serving, upload, without_settings
from tests.site import Page, serving_pages


class TestPatiently:
    @pytest.mark.parametrize("when", ["0", "Mon, 05 Jan 2026 09:00:00 GMT"])
    def test_asks_again_when_told_to(self, when: str) -> None:
        told: list[str] = []
        with receiving() as server:
            server.answers, server.retry_after = [429, 503], when
            response = patiently(lambda: httpx.get(server.url), told.append)
        assert (response.status_code, len(server.requests), len(told)) == (204, 3, 2)

    @pytest.mark.parametrize(
        ("status", "when"), [(429, ""), (500, "0"), (503, "soon"), (503, str(int(PATIENCE_SECONDS) + 1))]
    )
    def test_gives_the_answer_back_otherwise(self, status: int, when: str) -> None:
        with receiving() as server:
            server.answers, server.retry_after = [status], when
            response = patiently(lambda: httpx.get(server.url), pytest.fail)
        assert (response.status_code, len(server.requests)) == (status, 1)

    @pytest.mark.parametrize("when", ["0", "Mon, 05 Jan 2026 09:00:00 GMT"])
    def test_does_not_ask_for_ever_where_no_time_is_named(
        self, monkeypatch: pytest.MonkeyPatch, when: str
    ) -> None:
        monkeypatch.setattr(client, "PATIENCE_SECONDS", 2.5)
        with receiving() as server:
            server.answers, server.retry_after = [503] * 20, when
            response = patiently(lambda: httpx.get(server.url), lambda _: None)
        assert (response.status_code, len(server.requests)) == (503, 3)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["sync", "add"])
def test_waits_while_the_queue_is_full(tmp_path: Path, verb: str) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "a.txt").write_text("A member may borrow twelve books.")
    settings = {"IBID_URL_INGESTION": "true", "IBID_URL_ALLOW_PRIVATE": "true", "IBID_MAX_QUEUED": "1"}
    with (
        serving_pages() as site,
        serving(tmp_path / "server", IBID_EMBEDDER="hashing", **settings) as server,
    ):
        site.pages["/a.txt"] = Page(b"A member may borrow twelve books.")
        what = {"sync": str(tmp_path / "papers"), "add": site.url("/a.txt")}[verb]
        worker = eventually(server.worker_pid, what="a worker")
        assert worker is not None
        with server.client() as http:
            new_collection(http, "papers")
            os.kill(worker, signal.SIGSTOP)
            upload(http, "papers", ("first.txt", b"It waits."))
        busy = [sys.executable, "-m", "ibid.cli", verb, what, "-c", "papers"]
        environment = without_settings() | {
            "IBID_URL": server.url,
            "IBID_API_KEY": ADMIN_KEY,
            "COLUMNS": "400",
        }
        with subprocess.Popen(busy, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            heard = next(line for line in process.stdout if "busy" in line or "refused" in line)
            os.kill(worker, signal.SIGCONT)
            rest = process.stdout.read()
        assert "trying again" in heard
        assert process.returncode == 0, rest
        assert "1 created" in rest
