"""Processes of a forking worker that were lost: their parent sees how each ended, and the next one takes back its jobs.

The parent itself has no database, since whatever it opened would be shared by all that it forks. It remembers, and the
process that it forks in a lost one's place knows what it knew.
"""

import logging
import os
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from ibid import deaths
from ibid.bootstrap import Parts
from ibid.claims import release
from ibid.errors import IbidError

log = logging.getLogger(__name__)

REMEMBERED: Final = 16


@dataclass(frozen=True, slots=True)
class Loss:
    """A process that ended before its time, and whether somebody outside did it."""

    pid: int
    from_outside: bool


_losses: deque[Loss] = deque(maxlen=REMEMBERED)


def watch(pool: Any) -> None:  # noqa: ANN401 - Celery has no types
    """Remember from now on which processes of the pool (`billiard.pool.Pool`) are lost, and how."""
    told = pool.on_process_down
    before = deaths.memory_kills()

    def down(process: Any) -> None:  # noqa: ANN401 - likewise
        nonlocal before
        if told is not None:
            told(process)
        if process.exitcode:
            _losses.append(Loss(process.pid, deaths.from_outside(process.exitcode, before)))
            before = deaths.memory_kills()

    pool.on_process_down = down


def take_back(parts: Parts) -> None:
    """In a process that was just forked: queue again what lost ones before it had in hand."""
    while _losses:
        loss = _losses.popleft()
        if _is_there(loss.pid):  # another process has the number by now
            continue
        try:
            with parts.db.begin() as session:
                release(
                    session,
                    os.getppid(),
                    process=loss.pid,
                    blame=not loss.from_outside,
                    max_failures=parts.settings.max_attempts,
                )
        except IbidError as error:
            log.warning("the jobs of process %d are free when their leases end: %s", loss.pid, error.message)


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
