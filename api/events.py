"""Event streams: one poller a process for each kind of thing, fanned out to its listeners.

No session and no thread is held while a stream waits. What a listener gets is read anew with its own scope, so that
a right that was taken back ends the stream too.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta

from anyio.to_thread import run_sync
from fastapi.encoders import jsonable_encoder
from fastapi.sse import EventSourceResponse, ServerSentEvent, format_sse_event
from sqlalchemy import func, select

from api import problems
from ibid import access, jobs
from ibid.clock import now
from ibid.db.session import Database
from ibid.db.tables import AnswerEvent, Job
from ibid.errors import IbidError, Invalid, Unavailable

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 10.0
# Commits take their time, and clocks of several machines differ: what ended a moment ago may appear only now.
RECENT = timedelta(seconds=30)
Marks = Mapping[str, object]
# Before OpenAPI 3.2 the schema of a stream is that of each event.
_EVENT = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "id": {"type": "string", "description": "for Last-Event-ID; a heartbeat has none"},
    },
}
DOCUMENTED: dict[int | str, dict[str, object]] = {
    200: {
        "description": "Server-sent events",
        "content": {"text/event-stream": {"schema": _EVENT}},
    }
}


class BadEventId(Invalid):
    """`Last-Event-ID` is not the id of an event of this stream."""

    code = "bad_event_id"


class Feed:
    """Wakes listeners when the mark of what they listen to changes. Polls only while somebody listens."""

    def __init__(self, look: Callable[[AbstractSet[str]], Marks], interval: float) -> None:
        self._look = look
        self._interval = interval
        self._listeners: dict[str, set[asyncio.Event]] = {}
        self._poller: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def watch(self, id_: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever the thing has changed; the listener clears it before it reads."""
        changed = asyncio.Event()
        self._listeners.setdefault(id_, set()).add(changed)
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll(), name="event poller")
        try:
            yield changed
        finally:
            self._listeners[id_].discard(changed)
            if not self._listeners[id_]:
                del self._listeners[id_]

    async def _poll(self) -> None:
        marks: dict[str, object] = {}
        while self._listeners:
            try:
                seen = await run_sync(self._look, frozenset(self._listeners))
            except Unavailable as error:
                log.warning("event streams wait for the database: %s", error.message)
                seen = {}
            for id_, mark in seen.items():
                if marks.get(id_) != mark:
                    marks[id_] = mark
                    self._wake(id_)
            await asyncio.sleep(self._interval)

    def _wake(self, id_: str) -> None:
        for changed in self._listeners.get(id_, ()):
            changed.set()


def job_marks(db: Database, ids: AbstractSet[str]) -> Marks:
    """What of each job a listener wants to hear of when it changes: its content, its state, its place in the queue."""
    with db.read() as session:
        views = jobs.views(session, session.scalars(select(Job).where(Job.id.in_(ids))).all())
    return {view.id: (view.revision, view.state, view.queue_position) for view in views}


def collection_marks(db: Database, ids: AbstractSet[str]) -> Marks:
    """What of each collection's jobs a listener wants to hear of: which there are, their contents and their states."""
    found: dict[str, set[tuple[str, int, str]]] = {id_: set() for id_ in ids}
    with db.read() as session:
        for job in jobs.moving(session, access.EVERYTHING, ids, now() - RECENT):
            found[job.collection_id].add((job.id, job.revision, jobs.shown(job)))
    return found


def answer_marks(db: Database, ids: AbstractSet[str]) -> Marks:
    """The number of the last event of each answer."""
    last = (
        select(AnswerEvent.answer_id, func.max(AnswerEvent.seq))
        .where(AnswerEvent.answer_id.in_(ids))
        .group_by(AnswerEvent.answer_id)
    )
    with db.read() as session:
        return dict(session.execute(last).all())


async def changed_within(changed: asyncio.Event, seconds: float) -> bool:
    """Wait for the event; False if it did not come in time."""
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        return False
    return True


def stream(events: AsyncIterator[ServerSentEvent], request_id: str) -> EventSourceResponse:
    """The events as a response. An error ends the stream as an event `problem`."""
    headers = {"Cache-Control": "no-cache, no-store", "X-Accel-Buffering": "no"}
    return EventSourceResponse(_encoded(events, request_id), headers=headers)


def heartbeat() -> ServerSentEvent:
    """Says that the connection lives; it has no id, so it changes nothing for whoever resumes."""
    return ServerSentEvent(event="heartbeat", data={})


def after(last_event_id: str | None) -> int:
    """The number of the last event that was seen, from the header; 0 for none."""
    if not last_event_id:
        return 0
    if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 10):
        raise BadEventId(
            "Last-Event-ID is the id of the last event you had, a number.", param="Last-Event-ID"
        )
    return int(last_event_id)


async def _encoded(events: AsyncIterator[ServerSentEvent], request_id: str) -> AsyncIterator[bytes]:
    try:
        async with aclosing(events) as open_events:  # type: ignore[type-var]
            async for event in open_events:
                yield _bytes(event)
    except IbidError as error:
        yield _bytes(ServerSentEvent(event="problem", data=problems.describe(error, request_id)))


def _bytes(event: ServerSentEvent) -> bytes:
    data = json.dumps(jsonable_encoder(event.data), ensure_ascii=False)
    return format_sse_event(data_str=data, event=event.event, id=event.id)
