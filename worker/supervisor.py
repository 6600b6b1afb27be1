"""Supervision of the workers that belong to a server: started when it is ready, started anew when they die."""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from ibid import deaths
from ibid.bootstrap import Parts
from ibid.claims import hand_back, may_write, release
from ibid.errors import IbidError
from ibid.vectors.port import Fence
from ibid.vectors.remote import StoreServer, new_address, new_authkey
from worker import lifeline

log = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
"""What a worker gets beyond the seconds in which it puts down its work."""
SHORTEST_PAUSE = 0.5
LONGEST_PAUSE = 5.0
HEALTHY_SECONDS = 10.0


class Supervisor:
    """Keeps workers alive, and serves them the store that this process owns."""

    def __init__(self, parts: Parts, *, wait_ready: Callable[[], object]) -> None:
        self._parts = parts
        self._wait_ready = wait_ready
        self._stop = threading.Event()
        self._server: StoreServer | None = None
        self._address = new_address(parts.settings.data_dir)
        self._key = new_authkey()
        # With a broker one worker forks as many processes as are wanted; without one each process is a worker.
        places = 1 if parts.settings.broker_url else parts.settings.worker_processes
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * places
        self._threads = [
            threading.Thread(target=self._run, args=(place,), name=f"supervisor-{place}", daemon=True)
            for place in range(places)
        ]

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers that run."""
        return [process.pid for process in self._running()]

    def start(self) -> None:
        """Serve the store and begin to supervise; workers start once the server is ready."""
        if self._parts.settings.standalone:
            self._server = StoreServer(self._parts.store, self._address, self._key, self._may_write)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the workers, gently at first, and stop serving the store."""
        self._stop.set()
        running = self._running()
        for process in running:
            process.terminate()
        deadline = time.monotonic() + self._parts.settings.stop_seconds + GRACE_SECONDS
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
        for thread in self._threads:
            thread.join()
        self._hand_back()
        if self._server is not None:
            self._server.close()

    def _running(self) -> list[subprocess.Popen[bytes]]:
        return [process for process in self._processes if process is not None and process.poll() is None]

    def _hand_back(self) -> None:
        """An orderly stop is no fault of a document: what the worker had in hand waits for the next start."""
        if not self._parts.settings.standalone:
            return  # other workers may be at work; the leases say whose jobs are free
        try:
            with self._parts.db.begin() as session:
                hand_back(session)
        except IbidError as error:
            log.warning("running jobs are left to the next start: %s", error.message)

    def _may_write(self, fence: Fence) -> bool:
        with self._parts.db.read() as session:
            return may_write(session, fence.job_id, fence.attempt)

    def _release(self, pid: int, *, blame: bool) -> None:
        """A worker that ended cannot go on with what it had: its jobs need not wait for their leases to expire."""
        try:
            with self._parts.db.begin() as session:
                release(session, pid, blame=blame, max_failures=self._parts.settings.max_attempts)
        except IbidError as error:
            log.warning("the jobs of worker %d are free when their leases end: %s", pid, error.message)

    def _run(self, place: int) -> None:
        pause = SHORTEST_PAUSE
        while not self._stop.is_set() and not self._is_ready():
            self._stop.wait(pause)
        while not self._stop.is_set():
            begin = time.monotonic()
            try:
                ended: int | str = self._one_life(place)
            except OSError as error:  # no memory or descriptors to start one; later there may be
                ended = str(error)
            if time.monotonic() - begin > HEALTHY_SECONDS:
                pause = SHORTEST_PAUSE
            if self._stop.is_set():
                return
            if ended == 0:  # it had grown too large, and said so
                continue
            log.warning("the worker ended with status %s; starting another in %.1f s", ended, pause)
            self._stop.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _is_ready(self) -> bool:
        try:
            self._wait_ready()
        except IbidError as error:
            log.warning("no worker is started yet: %s", error.message)
            return False
        except Exception:  # a door: a supervisor that dies would leave every accepted document waiting
            log.exception("no worker is started yet")
            return False
        return True

    def _one_life(self, place: int) -> int:
        """Start a worker and wait for its end; its pipe ends with this process, so that no orphan stays."""
        before = deaths.memory_kills()
        reading, writing = os.pipe()
        environment = os.environ | {lifeline.VARIABLE: str(reading)}
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "worker.app"],
                env=environment,
                pass_fds=(reading,),
                start_new_session=True,
            )
        except OSError:
            os.close(writing)
            raise
        finally:
            os.close(reading)
        self._processes[place] = process
        if self._stop.is_set():  # told to stop between the two, when the former process was the one to end
            process.terminate()
        try:
            if self._server is not None:
                os.write(writing, lifeline.message(str(self._address), self._key))
            ended = process.wait()
        finally:
            os.close(writing)
        self._release(process.pid, blame=not deaths.from_outside(ended, before))
        return ended
