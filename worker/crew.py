"""The crew of one worker process: claims jobs, keeps their leases alive, and sweeps up after lost workers."""

import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta

from ibid import claims, leases, logs
from ibid.bootstrap import Parts
from ibid.claims import Claim
from ibid.clock import now
from ibid.errors import IbidError
from ingest import scratch
from ingest.tools import Tools
from ingest.work import work
from worker import housekeeping, memory
from worker.postman import Postman
from worker.rooms import ROOMS

log = logging.getLogger(__name__)

LOOK_AROUND = 1.0
"""Seconds after which a pulse notices that its time to stop is over, and an idle hand looks for work."""


TIDY = 15.0
"""Seconds between two looks at what memory need not be kept."""


class Crew:
    """Works on batches of jobs. Its pulse beats in a thread of its own, also while the crew is idle."""

    def __init__(self, parts: Parts, tools: Tools, *, worker: int | None = None) -> None:
        """`worker` is the process id of the worker that this process belongs to, if it is another one."""
        self.parts = parts
        self.tools = tools
        self.name = claims.worker_name(worker or os.getpid(), os.getpid())
        self._lease = timedelta(seconds=parts.settings.lease_seconds)
        self._held: tuple[Claim, ...] = ()
        self._hands = threading.Condition()
        self._tidy_at = 0.0
        self._deadline = float("inf")
        self._stop = threading.Event()
        self._postman = Postman(parts)
        self._pulse = threading.Thread(target=self._beat, name="pulse", daemon=True)

    def start(self) -> None:
        """Begin to beat: leases are renewed, lost jobs found, waiting ones announced, webhooks sent."""
        self._pulse.start()
        self._postman.start()

    def drain(self) -> None:
        """Take no more work. What is in hand goes back at its next step, or when `stop_seconds` are over."""
        if not self.tools.stopping.is_set():
            self._deadline = time.monotonic() + self.parts.settings.stop_seconds
            self.tools.stopping.set()

    def stop(self) -> None:
        """End the pulse and the post."""
        self._stop.set()
        self._postman.stop()
        self._pulse.join()

    def close(self) -> None:
        """End the parse server and release the stores."""
        self.tools.reader.close()
        self.parts.close()

    def take_shift(self) -> bool:
        """Work as long as jobs wait, or until this process has grown; whether there was one.

        Two hands take batches: one reads or stores while the other's texts are at the encoder, which is to be busy.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="hand") as other:
            second = other.submit(self._take_batches)
            taken = self._take_batches()
            taken = second.result() or taken
        if taken:
            memory.give_back()
        return taken

    def _take_batches(self) -> bool:
        taken = False
        while not (taken and memory.peak() > self.parts.settings.worker_memory_bytes):
            if self.take_batch():
                taken = True
                self._tidy()
                continue
            with self._hands:
                if not self._held:
                    break
                self._hands.wait(LOOK_AROUND)  # what the other hand works on may have to be alone
        return taken

    def _tidy(self) -> None:
        """Let go of memory that batches freed, now and then, since the next ones fetch it anew."""
        if time.monotonic() >= self._tidy_at:
            self._tidy_at = time.monotonic() + TIDY
            memory.give_back()

    def take_batch(self) -> bool:
        """Claim and work on a batch; whether there was one. A bug in one job costs the others nothing but time."""
        with self._claimed() as batch:
            if not batch:
                return False
            with logs.on_jobs(batch):
                try:
                    work(self.tools, batch, ROOMS)
                except IbidError as error:
                    log.warning("batch of %d interrupted: %s", len(batch), error.code)
                    self._return(batch, counts=False, reason=(error.code, error.message))
                except Exception:  # a door: what a parser or model raises ends in the job, not in the worker
                    log.exception("batch of %d failed", len(batch))
                    self._return(
                        batch, counts=True, reason=("internal", "An error inside Ibid; its log says more.")
                    )
        return True

    @contextmanager
    def _claimed(self) -> Iterator[list[Claim]]:
        """A batch in hand, or an empty one.

        What still waits is announced before the work begins, so that idle crews take it; the last to claim tells nobody.
        """
        with self._hands:
            batch, more = self._claim()
            self._held += tuple(batch)
        try:
            if more:
                self.parts.nudge.send()
            yield batch
        finally:
            with self._hands:
                self._held = tuple(held for held in self._held if held not in batch)
                self._hands.notify_all()

    def _claim(self) -> tuple[list[Claim], bool]:
        """A batch, and whether more waits."""
        if self.tools.stopping.is_set() or any(held.alone for held in self._held):
            return [], False
        limit, beside = self.parts.settings.batch_documents, bool(self._held)
        with self.parts.db.begin() as session:
            batch = claims.claim(session, self.name, lease=self._lease, limit=limit, beside=beside)
            return batch, bool(batch) and claims.waiting(session)

    def _return(self, batch: Sequence[Claim], *, counts: bool, reason: tuple[str, str]) -> None:
        """Put unfinished jobs back: those of a shared batch alone next time, a lone one with a failure counted."""
        alone = all(held.alone for held in batch)
        for held in batch:
            with self.parts.db.begin() as session:
                try:
                    failures = claims.check(session, held).failures + 1
                except claims.LeaseLost:
                    continue  # it had ended before the error
                if counts and alone and failures >= self.parts.settings.max_attempts:
                    claims.fail(session, held, *reason, retryable=True)
                else:
                    wait = claims.backoff(failures if alone else 1)
                    claims.put_back(
                        session, held, wait=wait, reason=reason, counts=counts and alone, alone=counts
                    )

    def _beat(self) -> None:
        """Renew leases four times a lease; sweep in between. A lost database is waited for."""
        settings = self.parts.settings
        next_sweep = 0.0
        while not self._stop.wait(min(settings.lease_seconds / 4, settings.sweep_seconds, LOOK_AROUND)):
            try:
                if time.monotonic() >= self._deadline and self._held:
                    self._leave()
                self._renew()
                if time.monotonic() >= next_sweep:
                    next_sweep = time.monotonic() + settings.sweep_seconds
                    self._sweep()
            except IbidError as error:
                log.warning("pulse of %s: %s", self.name, error.code)
            except Exception:  # a door: a pulse that dies would cost every later job its lease
                log.exception("pulse of %s", self.name)

    def _leave(self) -> None:
        """Put back what is still in hand and end this process: whoever told it to stop would kill it soon."""
        with self.parts.db.begin() as session:
            for held in sorted(self._held, key=lambda held: held.id):  # one order for all who lock several
                with suppress(claims.LeaseLost):
                    claims.put_back(session, held, wait=timedelta())
        log.warning("stopped in the middle of %d jobs, which are queued again", len(self._held))
        os._exit(0)

    def _renew(self) -> None:
        if held := self._held:
            with self.parts.db.begin() as session:
                claims.heartbeat(session, held, lease=self._lease)

    def _sweep(self) -> None:
        """One worker at a time sweeps; every worker is nudged when jobs wait."""
        settings = self.parts.settings
        with self.parts.db.begin() as session:
            mine = leases.take(session, "sweep", self.name, timedelta(seconds=2 * settings.sweep_seconds))
        if mine:
            housekeeping.sweep(self.parts, now())
        scratch.tidy()  # those of this machine, which no other sweeps
        with self.parts.db.read() as session:
            due = not self._held and claims.waiting(session)
        if due:
            self.parts.nudge.send()
