"""The Celery application: `celery -A worker.app worker`, or `ibid worker`.

With a broker it forks its processes, as Celery's users expect it to, and the first one keeps the connection alive.
Where the queue is a folder, each worker is a single process (`solo`): forked ones would share a lock, and one that is
killed while it holds it would leave the others without work for ever.
"""

import logging
import os
import signal
from typing import Any

import billiard
from celery.exceptions import WorkerShutdown
from celery.signals import (
    setup_logging,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)

from ibid import logs, metrics
from ibid.errors import Invalid
from ibid.nudge.celery import QUEUE, TASK, celery_app
from ibid.settings import Settings
from worker import lifeline, losses, memory
from worker.crew import Crew
from worker.wiring import wire

log = logging.getLogger(__name__)

BEHIND_READERS = 10
"""How much less of a shared machine's processors a worker takes than the server, whose readers wait."""

settings = Settings()
app = celery_app(settings)
crews: list[Crew] = []


class QueueHasOnePlace(Invalid):
    """Processes of one worker cannot share the queue that is a folder."""

    code = "queue_has_one_place"


@app.task(name=TASK)  # type: ignore[untyped-decorator] # Celery has no types
def work() -> None:
    """Look for waiting jobs, and work on them."""
    crews[0].take_shift()
    if _alone() and memory.peak() > settings.worker_memory_bytes:
        log.warning("the worker has grown to %d MB and is started anew", memory.peak() // 2**20)
        raise WorkerShutdown(0)


@setup_logging.connect  # type: ignore[untyped-decorator] # Celery has no types
def own_log(**_: object) -> None:
    """Log as the server does; that somebody listens keeps Celery from its own way."""
    logs.configure(settings.log_level, settings.log_format)


@worker_init.connect  # type: ignore[untyped-decorator] # Celery has no types
def before_fork(**_: object) -> None:
    """Read the key from the pipe before children are forked, and watch the pipe."""
    if settings.standalone:
        lifeline.handed()
        os.nice(BEHIND_READERS)
    lifeline.hold()


@worker_ready.connect  # type: ignore[untyped-decorator] # Celery has no types
def watch_children(sender: Any, **_: object) -> None:  # noqa: ANN401 - Celery has no types
    """See how forked processes end: Celery's signals tell only of those that end in order."""
    if not _alone():
        losses.watch(sender.pool._pool)  # noqa: SLF001 - where Celery keeps billiard's pool


@worker_process_init.connect  # type: ignore[untyped-decorator] # Celery has no types
def after_fork(**_: object) -> None:
    """Open every connection and model in the process that uses it: nothing of the kind survives a fork."""
    if not _alone():
        lifeline.hold()
        # Whoever supervises a service may send the signal to each of its processes.
        signal.signal(signal.SIGTERM, lambda *_: drain())
    try:
        crew = Crew(*wire(settings), worker=os.getpid() if _alone() else os.getppid())
    except Exception:  # a door: Celery would go on with a child that can do nothing
        log.exception("this worker process cannot work; another one is started in its place")
        os._exit(1)
    losses.take_back(crew.parts)
    crews.append(crew)
    crew.start()
    crew.parts.nudge.send()


@worker_shutting_down.connect  # type: ignore[untyped-decorator] # Celery has no types
def at_stop(**_: object) -> None:
    """Told to stop: what is in hand goes back to the queue at its next step."""
    drain()
    for child in billiard.active_children():
        if child.pid is not None:
            os.kill(child.pid, signal.SIGTERM)


@worker_process_shutdown.connect  # type: ignore[untyped-decorator] # Celery has no types
@worker_shutdown.connect  # type: ignore[untyped-decorator] # Celery has no types
def at_end(**_: object) -> None:
    """Stop the pulse and close what was opened."""
    while crews:
        crew = crews.pop()
        crew.stop()
        crew.close()


def drain() -> None:
    """Let this process take no more work, and put back what it has."""
    for crew in crews:
        crew.drain()


def main() -> None:
    """Run a worker in the foreground until it is told to stop."""
    own_log()  # Celery has warnings before it asks for it
    if settings.metrics_port and lifeline.descriptor() is None:  # else the server shows them
        token = settings.metrics_token
        metrics.serve(settings.host, settings.metrics_port, token.get_secret_value() if token else None)
    app.conf.update(_pool())
    app.worker_main(
        [
            "--quiet",  # no banner: on one machine it would push the link and the key off the screen
            "worker",
            "--queues",
            QUEUE,
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            "--loglevel",
            settings.log_level,
        ]
    )


def _pool() -> dict[str, Any]:
    if settings.broker_url:
        return {
            "worker_pool": "prefork",
            "worker_concurrency": settings.worker_processes,
            "worker_max_memory_per_child": settings.worker_memory_bytes // 1024,
        }
    if settings.worker_processes > 1 and lifeline.descriptor() is None:
        raise QueueHasOnePlace(
            "Without a broker, one worker is one process. Set IBID_BROKER_URL, or start several workers with "
            "IBID_WORKER_PROCESSES=1."
        )
    return {"worker_pool": "solo"}


def _alone() -> bool:
    return str(app.conf.worker_pool) == "solo"


if __name__ == "__main__":
    main()
