"""The memory of a server's processes while it works."""

import platform
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.server import Server

PAUSE = 0.25


@contextmanager
def watched(server: Server, peaks: dict[str, int]) -> Iterator[None]:
    """Look several times a second for as long as the block takes: a parse child lives no longer than its document."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(PAUSE):
            look(server, peaks)

    thread = threading.Thread(target=run, name="memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def look(server: Server, peaks: dict[str, int]) -> None:
    """Raise the peaks, in bytes by role, to those of the processes that are there now."""
    for found, size in _each(server, peak):
        peaks[found] = max(peaks.get(found, 0), size)


def present(server: Server) -> list[tuple[str, int]]:
    """The role and the present resident size in bytes of each process that is there now."""
    return list(_each(server, lambda process: int(process.memory_info().rss)))


def _each(server: Server, size: Callable[[psutil.Process], int]) -> Iterator[tuple[str, int]]:
    roles: dict[int, str] = {}
    for process in server.family():
        try:
            found = roles[process.pid] = role(process.cmdline(), roles.get(process.ppid()))
            yield found, size(process)
        except psutil.NoSuchProcess:
            continue


def role(command: list[str], parent: str | None) -> str:
    """What a process is in the tree: from its command line and the role of the process that started it."""
    line = " ".join(command)
    if parent is None:
        return "api"
    if "ingest.parsing.server" in line:
        return "parse child" if parent == "parse server" else "parse server"
    if "worker.app" in line:
        return "worker child" if parent == "worker" else "worker"
    return f"other child of {parent}"


def peak(process: psutil.Process) -> int:
    """Its largest resident size so far in bytes; where the system does not keep that, its present one."""
    if platform.system() == "Linux":
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError) as error:
            raise psutil.NoSuchProcess(process.pid) from error
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise psutil.NoSuchProcess(
            process.pid
        )  # a process that has ended and is not yet waited for has no memory
    return int(process.memory_info().rss)
