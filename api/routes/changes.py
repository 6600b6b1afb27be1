"""A collection's jobs as they change, in one stream: for a page that watches a thousand uploads."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api import events
from api.auth import Reader
from api.events import BadEventId
from api.problems import documented, request_id
from api.routes.injected import Wired
from api.routes.jobs import JobView
from api.wiring import Wiring
from ibid import access, jobs, keys
from ibid.clock import now
from ibid.types import JobState, Scope

router = APIRouter(prefix="/v1/collections", tags=["jobs"])

PIECE = 200


def visible_collection(collection: str, found: Reader, wired: Wired) -> str:
    """The collection's id, looked up before a stream begins, while a 404 can still be said."""
    with wired.parts.db.read() as session:
        return access.collection(session, found.scope, collection).id


@router.get(
    "/{collection}/events",
    operation_id="collection_events",
    response_class=StreamingResponse,
    responses=events.DOCUMENTED | documented(401, 404, 422),
)
async def collection_events(
    request: Request,
    found: Reader,
    wired: Wired,
    collection_id: Annotated[str, Depends(visible_collection)],
    last_event_id: Annotated[str | None, Header()] = None,
    *,
    until_idle: Annotated[bool, Query(description="end once no job waits or runs")] = False,
) -> EventSourceResponse:
    """Each job of the collection that has not ended, and then each that changes (event `job`; its queue_position is null).

    With Last-Event-ID also what ended since. A job may come twice as it was; its revision says so.
    """
    since = _moment(last_event_id)
    changes = _changes(wired, found.scope, collection_id, since, until_idle=until_idle)
    return events.stream(changes, request_id(request))


async def _changes(
    wired: Wiring, scope: Scope, collection_id: str, since: datetime, *, until_idle: bool
) -> AsyncIterator[ServerSentEvent]:
    """Ids of events are the moment, in milliseconds, up to which everything that ended has been told."""
    told: dict[str, tuple[int, JobState]] = {}
    async with wired.collections.watch(collection_id) as changed:
        while True:
            changed.clear()
            found = await run_sync(_marks, wired, scope, collection_id, since - events.RECENT)
            new = [id_ for id_, mark in found.items() if told.get(id_) != mark]
            told = found
            for start in range(0, len(new), PIECE):
                for job in await run_sync(_views, wired, scope, new[start : start + PIECE]):
                    # One that ended since the look is told now, but others that ended before it come after it.
                    if found[job.id][1].terminal and job.finished_at is not None:
                        since = max(since, job.finished_at)
                    yield ServerSentEvent(event="job", id=_id(since), data=job)
            if until_idle and all(state.terminal for _, state in found.values()):
                return
            if not await events.changed_within(changed, events.HEARTBEAT_SECONDS):
                yield events.heartbeat()


def _marks(
    wired: Wiring, scope: Scope, collection_id: str, since: datetime
) -> dict[str, tuple[int, JobState]]:
    """Revision and state of each job that may have to be told of; those that ended last in their order."""
    with wired.parts.db.read() as session:
        keys.recheck(session, scope.key_id)
        access.collection(session, scope, collection_id)
        found = jobs.moving(session, scope, [collection_id], since)
        return {job.id: (job.revision, jobs.shown(job)) for job in found}


def _views(wired: Wiring, scope: Scope, ids: list[str]) -> list[JobView]:
    with wired.parts.db.read() as session:
        found = jobs.several(session, scope, ids)
        return [JobView.model_validate(view) for view in jobs.views(session, found, scope, placed=False)]


def _id(moment: datetime) -> str:
    return str(int(moment.timestamp() * 1000))


def _moment(last_event_id: str | None) -> datetime:
    """When the last event was; for a listener without one, now."""
    if not last_event_id:
        return now()
    if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) <= 14):
        raise BadEventId(
            "Last-Event-ID is the id of the last event you had, a number.", param="Last-Event-ID"
        )
    return datetime.fromtimestamp(int(last_event_id) / 1000, UTC)
