"""The Celery application: `celery -A worker.app worker`, or `ibid worker`."""

import logging
import os
import signal
import threading

from celery.signals import (
    setup_logging,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
)

from ibid import logs, metrics
from ibid.nudge.celery import QUEUE, TASK, celery_app
from ibid.settings import Settings
from worker import lifeline
from worker.crew import Crew
from worker.wiring import wire

log = logging.getLogger(__name__)

settings = Settings()
app = celery_app(settings)
crews: list[Crew] = []
main_process = os.getpid()
first_children_made = threading.Event()


@app.task(name=TASK)  # type: ignore[untyped-decorator] # Celery has no types
def work() -> None:
    """Look for waiting jobs, and work on a batch of them."""
    crews[0].take_batch()


@setup_logging.connect  # type: ignore[untyped-decorator] # Celery has no types
def own_log(**_: object) -> None:
    """Log as the server does; that somebody listens keeps Celery from its own way."""
    logs.configure(settings.log_level, settings.log_format)


@worker_init.connect  # type: ignore[untyped-decorator] # Celery has no types
def before_fork(**_: object) -> None:
    """Read the key from the pipe before children are forked, and watch the pipe."""
    if settings.standalone:
        lifeline.handed()
    lifeline.hold()


@worker_ready.connect  # type: ignore[untyped-decorator] # Celery has no types
def at_ready(**_: object) -> None:
    """From now on a child is made only in place of one that died."""
    first_children_made.set()


@worker_process_init.connect  # type: ignore[untyped-decorator] # Celery has no types
def after_fork(**_: object) -> None:
    """Open every connection and model in the child: nothing of the kind survives a fork."""
    if first_children_made.is_set() and not settings.broker_url:
        _end_worker()
    lifeline.hold()
    try:
        crew = Crew(*wire(settings))
    except Exception:  # a door: Celery would go on with a child that can do nothing
        log.exception("this worker process cannot work; another one is started in its place")
        os._exit(1)
    crews.append(crew)
    crew.start()
    crew.parts.nudge.send()


@worker_process_shutdown.connect  # type: ignore[untyped-decorator] # Celery has no types
def at_end(**_: object) -> None:
    """Stop the pulse and close what was opened."""
    for crew in crews:
        crew.stop()
        crew.close()


def _end_worker() -> None:
    """End this worker with all its processes; its server starts another.

    Over the filesystem transport the children share one queue and its lock. One that is killed while it waits for a
    message takes the lock along, and none that comes after it would ever get a message.
    """
    log.error("a worker process died: the worker is started anew")
    if os.getppid() == main_process:
        os.kill(main_process, signal.SIGKILL)
    os._exit(1)


def main() -> None:
    """Run a worker in the foreground until it is told to stop."""
    own_log()  # Celery has warnings before it asks for it
    if settings.metrics_port and lifeline.descriptor() is None:  # else the server shows them
        token = settings.metrics_token
        metrics.serve(settings.host, settings.metrics_port, token.get_secret_value() if token else None)
    app.worker_main(
        [
            "--quiet",  # no banner: on one machine it would push the link and the key off the screen
            "worker",
            "--pool=prefork",
            f"--concurrency={settings.worker_processes}",
            "--queues",
            QUEUE,
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            "--loglevel",
            settings.log_level,
        ]
    )


if __name__ == "__main__":
    main()
