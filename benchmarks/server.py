"""`ibid serve` with its worker as a child process, on a folder and a port of its own."""

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import psutil

PATIENCE = 600.0
LOOK = 1.0
"""Seconds between two looks for jobs: asking more often would take the processor from what is measured."""
# What a person may want to compare; every other setting of the environment is kept from the measured server.
PASSED_ON = (
    "IBID_EMBEDDER",
    "IBID_ENCODER_DIR",
    "IBID_EMBED_THREADS",
    "IBID_WORKER_PROCESSES",
)


class ServerFailed(RuntimeError):
    """The server did not start, or ended by itself."""


def until(look: Callable[[], bool], what: str) -> None:
    """Wait for a condition; raises `ServerFailed` when it takes longer than anybody would wait."""
    deadline = time.monotonic() + PATIENCE
    while not look():
        if time.monotonic() > deadline:
            raise ServerFailed(f"{what} took longer than {PATIENCE:.0f} s.")
        time.sleep(0.02)


@dataclass
class Server:
    """The process tree of one data directory; it can be started again after `stop`."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    key: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    start_seconds: list[float] = field(default_factory=list)

    def start(self) -> None:
        """Start, wait for `/readyz`, and note the seconds that took."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = _free_port()
        begin = time.perf_counter()
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ibid.cli", "serve"],
                env=self._environment(),
                stdout=output,
                stderr=output,
            )
        with self.client() as client:
            until(lambda: self._ready(client), "the start of the server")
        self.start_seconds.append(time.perf_counter() - begin)

    def client(self) -> httpx.Client:
        """A client with the admin key."""
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=PATIENCE,
        )

    def seen_from_elsewhere(self) -> "Server":
        """The same server for another process, which may only speak with it."""
        return replace(self, process=None)

    def await_idle(self) -> None:
        """Wait until no job is queued or running, however many there are; raises `ServerFailed` when none ends any more."""
        with self.client() as client:
            seen, deadline = _waiting(client), time.monotonic() + PATIENCE
            while seen:
                if time.monotonic() > deadline:
                    raise ServerFailed(f"Of {seen} jobs none ended within {PATIENCE:.0f} s.")
                time.sleep(LOOK)
                before, seen = seen, _waiting(client)
                if seen < before:
                    deadline = time.monotonic() + PATIENCE

    def stop(self) -> None:
        """End it gently, as a person would."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE)

    def kill(self) -> None:
        """End whatever is left of the tree."""
        for member in self.family():
            try:
                member.kill()
            except psutil.NoSuchProcess:
                continue
        if self.process is not None:
            self.process.wait()

    def family(self) -> list[psutil.Process]:
        """The server and all its descendants."""
        if self.process is None or self.process.poll() is not None:
            return []
        try:
            root = psutil.Process(self.process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    def _ready(self, client: httpx.Client) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise ServerFailed(f"The server ended: {self._log.read_text()[-4000:]}")
        try:
            return client.get("/readyz").is_success
        except httpx.TransportError:
            return False

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("IBID_") or name in PASSED_ON
        }
        own = self.settings | {
            "DATA_DIR": str(self.folder / "data"),
            "PORT": str(self.port),
            "ADMIN_KEY": self.key,
        }
        return kept | {f"IBID_{name}": value for name, value in own.items()}


def _waiting(client: httpx.Client) -> int:
    queue = client.get("/v1/queue").raise_for_status().json()
    return sum(int(queue[state]) for state in ("queued", "running", "stalled"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
