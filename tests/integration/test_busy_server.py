"""Commands against a server that is busy for a while."""

import os
import signal
import subprocess
import sys
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest

from ibid.cli.client import PATIENCE_SECONDS, patiently
from ibid.clock import now
from tests.receiver import receiving
from tests.running import ADMIN_KEY, eventually, new_collection, serving, upload, without_settings


class TestPatiently:
    @pytest.mark.parametrize("when", ["0", format_datetime(now())])
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


@pytest.mark.slow
def test_sync_waits_while_the_queue_is_full(tmp_path: Path) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "a.txt").write_text("A member may borrow twelve books.")
    with serving(tmp_path / "server", IBID_EMBEDDER="hashing", IBID_MAX_QUEUED="1") as server:
        worker = eventually(server.worker_pid, what="a worker")
        assert worker is not None
        with server.client() as client:
            new_collection(client, "papers")
            os.kill(worker, signal.SIGSTOP)
            upload(client, "papers", ("first.txt", b"It waits."))
        sync = [sys.executable, "-m", "ibid.cli", "sync", str(tmp_path / "papers"), "-c", "papers"]
        environment = without_settings() | {
            "IBID_URL": server.url,
            "IBID_API_KEY": ADMIN_KEY,
            "COLUMNS": "400",
        }
        with subprocess.Popen(sync, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            heard = next(line for line in process.stdout if "busy" in line or "refused" in line)
            os.kill(worker, signal.SIGCONT)
            rest = process.stdout.read()
        assert "trying again" in heard
        assert process.returncode == 0, rest
        assert "1 created" in rest
