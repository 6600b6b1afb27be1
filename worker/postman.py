"""The postman of one worker process: sends what is in the outbox, in threads of its own.

An endpoint that is slow holds up what is sent to itself, and nothing else: it has one thread at a time, and there are
several.
"""

import json
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx

from ibid import outbox, webhooks
from ibid.bootstrap import Parts
from ibid.errors import IbidError
from ibid.outbound import AddressRefused, Deadline, fetch_client
from ibid.outbox import Message

log = logging.getLogger(__name__)

AT_ONCE = 8
PAUSE_SECONDS = 1.0
TIMEOUT_SECONDS = 10.0
"""What each of connecting, writing and waiting for bytes may take."""
TOTAL_SECONDS = 20.0
"""What one delivery may take in all, even where the answer drips in. Looking the name up is the machine's resolver's part,
and takes as long as it is set to try."""


class Postman:
    """Looks into the outbox once a second and when an endpoint is done with, and keeps at most `AT_ONCE` endpoints busy."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._stop = threading.Event()
        self._freed = threading.Event()
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._client = fetch_client(
            allow_private=parts.settings.webhook_allow_private, timeout=TIMEOUT_SECONDS
        )
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="postman")
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send nothing more, and wait for no endpoint: what was not sent, or not noted, is sent again after its lease."""
        self._stop.set()
        self._freed.set()
        if self._thread.is_alive():
            self._thread.join()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def look(self) -> bool:
        """Begin to send what is due; whether there was something."""
        with self._lock:
            busy = frozenset(self._busy)
        if len(busy) == AT_ONCE:
            return False
        with self._parts.db.read() as session:
            if not outbox.due(session, busy):
                return False
        with self._parts.db.begin() as session:
            claimed = outbox.claim(session, busy, AT_ONCE - len(busy))
        for webhook_id, messages in claimed.items():
            with self._lock:
                self._busy.add(webhook_id)
            self._pool.submit(self._send_all, messages).add_done_callback(partial(self._free, webhook_id))
        return bool(claimed)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._freed.wait(PAUSE_SECONDS)
            self._freed.clear()
            try:
                self.look()
            except IbidError as error:
                log.warning("the outbox waits: %s", error.code)
            except Exception:  # a door: a postman that dies would leave every later event unsent
                log.exception("the outbox waits")

    def _free(self, webhook_id: str, _done: object) -> None:
        with self._lock:
            self._busy.discard(webhook_id)
        self._freed.set()

    def _send_all(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if self._stop.is_set():
                return
            try:
                self._send(message)
            except IbidError as error:
                log.warning("webhook %s, message %s waits: %s", message.webhook_id, message.id, error.code)
            except Exception:  # a door: the next message may still go; this one is sent again after its lease
                log.exception("webhook %s, message %s waits", message.webhook_id, message.id)

    def _send(self, message: Message) -> None:
        status, error = self._post(message)
        with self._parts.db.begin() as session:
            if status is not None and 200 <= status < 300:
                outbox.delivered(session, message, status)
            else:
                outbox.missed(session, message, error, status)
        log.info(
            "webhook %s, message %s, attempt %d: %s",
            message.webhook_id,
            message.id,
            message.attempt,
            status or error,
        )

    def _post(self, message: Message) -> tuple[int | None, str]:
        """The endpoint's status, or why there is none. What else it says is not read."""
        body = json.dumps(message.payload, separators=(",", ":")).encode()
        headers = webhooks.signed(message.secret, message.id, int(time.time()), body)
        headers |= {"Content-Type": "application/json", "User-Agent": "ibid"}
        with Deadline(TOTAL_SECONDS) as deadline:
            try:
                with self._client.stream(
                    "POST", message.url, content=body, headers=headers, extensions=deadline.watch
                ) as response:
                    return response.status_code, f"status_{response.status_code}"
            except AddressRefused as refused:
                return None, refused.code
            except httpx.TimeoutException:
                return None, "timed_out"
            except (httpx.HTTPError, httpx.InvalidURL):
                return None, "timed_out" if deadline.over else "unreachable"
