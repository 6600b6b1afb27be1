"""Real processes for tests: a server with its worker, awaited by condition, killed without mercy, always cleaned up."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

from ibid.db.session import Database

ADMIN_KEY = "test-admin-key-0123456789"
ENDED = {"succeeded", "partially_succeeded", "failed", "cancelled"}
# Seconds after which what is awaited is taken to hang. Far above what anything takes on a busy machine, since no
# test is about speed.
PATIENCE = 600.0
# Made once for all tests, as the default encoder is made once for each data directory: that takes half a minute.
ENCODERS = Path(__file__).parents[1] / "build" / "encoders"
T = TypeVar("T")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(look: Callable[[], T], *, within: float = PATIENCE, what: str = "condition") -> T:
    """What `look` gives as soon as it is true."""
    deadline = time.monotonic() + within
    pause = 0.02
    while not (value := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come true within {within:.0f} s; last: {value!r}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.5)
    return value


def without_settings() -> dict[str, str]:
    """The environment without the settings of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("IBID_")}
    return kept | {"IBID_ENCODER_DIR": str(ENCODERS)}


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`ibid …`, run to its end. The umask is the usual one, under which others may read new files."""
    return subprocess.run(
        [sys.executable, "-m", "ibid.cli", *arguments],
        env=without_settings() | {"COLUMNS": "400", **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        umask=0o022,
        check=False,
    )


@dataclass
class Server:
    """`ibid serve` as a child process on its own data directory and port."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    def start(self, *, ready: bool = True) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command_line(),
                env=self.full_environment(),
                stdout=output,
                stderr=output,
            )
        if ready:
            eventually(self.is_ready, what="readiness")

    def command_line(self) -> list[str]:
        """What is started."""
        return [sys.executable, "-m", "ibid.cli", "serve"]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`ibid …` with the server's settings, run to its end."""
        return command(*arguments, **self.full_environment())

    def is_ready(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise RuntimeError(f"the server ended: {self.log.read_text()[-4000:]}")
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).is_success
        except httpx.HTTPError:
            return False

    def worker_pid(self) -> int | None:
        """The worker's main process, if it runs."""
        if self.process is None:
            return None
        try:
            children = psutil.Process(self.process.pid).children()
            return next((c.pid for c in children if "worker.app" in " ".join(c.cmdline())), None)
        except psutil.NoSuchProcess:
            return None

    def kill(self) -> None:
        """kill -9 of the API process only: its worker is left to notice."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def kill_worker(self) -> None:
        """kill -9 of the worker with all its children."""
        pid = eventually(self.worker_pid, what="a worker")
        assert pid is not None
        _kill_family(pid)

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)

    @contextmanager
    def database(self) -> Iterator[Database]:
        """The server's database, read behind its back."""
        sqlite = f"sqlite:///{self.folder / 'data' / 'ibid.db'}"
        db = Database(self.environment.get("IBID_DATABASE_URL", sqlite))
        try:
            yield db
        finally:
            db.dispose()

    def client(self, key: str = ADMIN_KEY) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=120)

    def full_environment(self) -> dict[str, str]:
        """That of the server's process, and of commands which find it by its data directory."""
        return without_settings() | {
            "IBID_DATA_DIR": str(self.folder / "data"),
            "IBID_PORT": str(self.port),
            "IBID_ADMIN_KEY": ADMIN_KEY,
            "IBID_SAMPLE": "false",
            **self.environment,
        }


@contextmanager
def serving(folder: Path, **environment: str) -> Iterator[Server]:
    """A ready server, stopped at the end whatever happened."""
    server = Server(folder, environment)
    try:
        server.start()
        yield server
    finally:
        end_family(server.process)


def end_family(process: subprocess.Popen[bytes] | None) -> None:
    """Kill a process and all its descendants that are still there."""
    if process is None:
        return
    with suppress(psutil.NoSuchProcess):  # it ended before
        _kill_family(process.pid)
    process.wait()


def _kill_family(pid: int) -> None:
    """A process and its descendants; those that ended by themselves meanwhile, as a parse does, need no killing."""
    for member in [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]:
        with suppress(psutil.NoSuchProcess):
            member.kill()


def new_collection(client: httpx.Client, name: str) -> str:
    response = client.post("/v1/collections", json={"name": name})
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def upload(client: httpx.Client, collection: str, *files: tuple[str, bytes]) -> list[dict[str, Any]]:
    response = client.post(
        f"/v1/collections/{collection}/documents",
        files=[("files", (name, content)) for name, content in files],
    )
    assert response.status_code == 202, response.text
    return list(response.json()["documents"])


def await_jobs(
    client: httpx.Client, job_ids: list[str], *, within: float = PATIENCE
) -> dict[str, dict[str, Any]]:
    """The jobs once all have ended."""
    jobs: dict[str, dict[str, Any]] = {}

    def all_ended() -> bool:
        jobs.update({job_id: client.get(f"/v1/jobs/{job_id}").json() for job_id in job_ids})
        return all(job["state"] in ENDED for job in jobs.values())

    try:
        eventually(all_ended, within=within, what=f"the end of {len(job_ids)} jobs")
    except TimeoutError as late:
        late.add_note(f"not ended: {[job for job in jobs.values() if job['state'] not in ENDED]}")
        raise
    return jobs
