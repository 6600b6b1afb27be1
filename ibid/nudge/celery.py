"""Nudges over Celery: the queue's configuration, shared by whoever sends and the worker that listens."""

import logging
import time
from pathlib import Path
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError

from ibid.errors import Unavailable
from ibid.settings import Settings

QUEUE = "ibid"
TASK = "ibid.work"
EXPIRES = 300
QUIET_AFTER_FAILURE = 5.0

log = logging.getLogger(__name__)


def celery_app(settings: Settings) -> Celery:
    """A Celery application that speaks to the configured broker; it has no tasks of its own."""
    app = Celery("ibid", set_as_current=False)
    app.conf.update(_common() | _transport(settings))
    return app


class BrokerUnavailable(Unavailable):
    """The broker does not answer; jobs are still found by the workers' sweeps."""

    code = "broker_unavailable"


class CeleryNudge:
    """Sends a message that carries nothing: the jobs table says what there is to do."""

    def __init__(self, settings: Settings) -> None:
        self._app = celery_app(settings)
        self._quiet_until = 0.0
        connection = self._app.connection_for_write()
        self._troubles: tuple[type[Exception], ...] = (
            OperationalError,
            OSError,
            *connection.connection_errors,
            *connection.channel_errors,
        )

    def send(self) -> bool:
        """Whether the broker took the message; after a failure it is left alone for some seconds."""
        if time.monotonic() < self._quiet_until:
            return False
        try:
            self._app.send_task(TASK, queue=QUEUE, retry=False, ignore_result=True, expires=EXPIRES)
        except self._troubles as error:
            self._quiet_until = time.monotonic() + QUIET_AFTER_FAILURE
            log.warning("broker unreachable (%s): workers will find new jobs at their next sweep", error)
            return False
        return True


def check_broker(settings: Settings) -> str:
    """In words, which broker answers; raises `BrokerUnavailable`."""
    app = celery_app(settings)
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1)
            return str(connection.as_uri())
    except (OperationalError, OSError) as error:
        raise BrokerUnavailable(
            f"The broker does not answer ({error}). Start it, or correct IBID_BROKER_URL."
        ) from error


def _common() -> dict[str, Any]:
    """One message at a time, acknowledged at once: the jobs table is the queue, and a message held for the length of
    a job would pass RabbitMQ's acknowledgement timeout or Redis's visibility timeout. None of the chatter either.
    """
    return {
        "task_acks_late": False,
        "task_ignore_result": True,
        "task_default_queue": QUEUE,
        "worker_prefetch_multiplier": 1,
        "worker_enable_remote_control": False,
        "worker_proc_alive_timeout": 60,  # a child opens its stores before it is called alive
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_timeout": 2,
        "task_publish_retry": False,
    }


def _transport(settings: Settings) -> dict[str, Any]:
    """What each kind of broker needs to know."""
    url = settings.broker_url
    if not url:
        return _filesystem(settings.data_dir.absolute() / "broker")
    if url.startswith(("amqp", "pyamqp")):
        return {
            "broker_url": url,
            "task_default_queue_type": "quorum",
            "task_default_exchange_type": "topic",
            "worker_detect_quorum_queues": True,
            "broker_native_delayed_delivery_queue_type": "quorum",
        }
    return {
        "broker_url": url,
        "broker_transport_options": {
            "visibility_timeout": 3600,
            "socket_connect_timeout": 2,
            "socket_timeout": 5,
            "global_keyprefix": "ibid:",
        },
    }


def _filesystem(folder: Path) -> dict[str, Any]:
    for name in ("queue", "control"):
        (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    queue = str(folder / "queue")
    return {
        "broker_url": "filesystem://localhost",
        "broker_transport": "ibid.nudge.filesystem:Transport",
        "broker_transport_options": {
            "data_folder_in": queue,
            "data_folder_out": queue,
            "store_processed": False,
            "control_folder": str(folder / "control"),
            "polling_interval": 0.1,
        },
    }
