"""Jobs: how far uploads, deletions and reindexes are."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import Field
from sqlalchemy.orm import Session

from api import events, models
from api.auth import Asker, Editor, Reader
from api.models import After, Limit, Page, page
from api.once import OnceDep
from api.problems import documented, request_id
from api.routes.injected import Wired
from api.wiring import Wiring
from ibid import audit, jobs, keys, queue
from ibid.db.tables import Job
from ibid.jobs import Those
from ibid.types import JobKind, JobState, Scope

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
queue_router = APIRouter(prefix="/v1/queue", tags=["jobs"])


class Progress(models.Response):
    """How far the stage is; `total` 0 where that is not known."""

    done: int
    total: int
    unit: str


class JobError(models.Response):
    """Why a job failed, or why its last attempt did."""

    code: str
    message: str
    retryable: bool


class JobView(models.Response):
    """A job; `queue_position` counts from 1 and is null unless it is queued. `request_id` is what the log knows it by.

    `attempt` counts how often a worker began; `failures` are those attempts that count against the document.
    """

    id: str
    kind: JobKind
    state: JobState
    stage: str
    collection_id: str
    document_id: str | None
    progress: Progress
    attempt: int
    failures: int
    queue_position: int | None
    worker: str
    heartbeat_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: JobError | None
    statistics: dict[str, Any]
    request_id: str | None
    revision: int


class Retry(models.Request):
    """Which failed jobs; all of them if nothing is given."""

    collection: models.Text | None = Field(None, max_length=200, description="name or id")
    kind: JobKind | None = None
    error_code: models.Text | None = Field(None, max_length=64)


class Retried(models.Response):
    """The jobs that are queued again; `more` says that as many may be left."""

    job_ids: list[str]
    more: bool


class Queue(models.Response):
    """Jobs that have not ended, and the seconds that the oldest of the queued ones has waited for its turn."""

    queued: int
    running: int
    stalled: int
    oldest_queued_seconds: float | None


def asked_for(
    state: Annotated[JobState | None, Query()] = None,
    collection: Annotated[str | None, Query(max_length=200, description="name or id")] = None,
    kind: Annotated[JobKind | None, Query()] = None,
    error_code: Annotated[str | None, Query(max_length=64)] = None,
) -> Those:
    """The filter of a list of jobs."""
    return Those(state, collection, kind, error_code)


@router.get("", operation_id="list_jobs", responses=documented(401, 404, 422))
def list_jobs(
    found: Reader,
    wired: Wired,
    those: Annotated[Those, Depends(asked_for)],
    after: After = None,
    limit: Limit = 50,
) -> Page[JobView]:
    """Jobs, newest first. Those that failed are the dead letters: each says why, and can be tried again."""
    with wired.parts.db.read() as session:
        rows = jobs.listing(session, found.scope, those, after=after, limit=limit + 1)
        views = jobs.views(session, rows, found.scope)
        return page(views, limit, JobView.model_validate, lambda view: str(view.id))


@router.post("/retry", operation_id="retry_jobs", response_model=Retried, responses=documented(401, 403, 404))
def retry_jobs(body: Retry, found: Editor, once: OnceDep) -> Response:
    """Queue failed jobs again, the oldest first and at most 1,000 at once."""

    def retry(session: Session) -> Retried:
        those = Those(collection=body.collection, kind=body.kind, error_code=body.error_code)
        retried = jobs.retry_failed(session, found.scope, those)
        audit.record(session, found.who, "job.retry", "", {"jobs": len(retried)})
        return Retried(job_ids=retried, more=len(retried) == jobs.RETRIED_AT_ONCE)

    return once.run(200, retry)


@queue_router.get("", operation_id="get_queue", responses=documented(401))
def get_queue(found: Reader, wired: Wired) -> Queue:
    """How many jobs wait and run, and how long the oldest has waited."""
    with wired.parts.db.read() as session:
        return Queue.model_validate(queue.view(session, found.scope))


@router.get("/{job_id}", operation_id="get_job", responses=documented(401, 404))
def get_job(job_id: str, found: Reader, wired: Wired) -> JobView:
    """A job as it stands."""
    return _read(wired, found.scope, job_id)


def visible_job(job_id: str, found: Reader, wired: Wired) -> JobView:
    """The job, looked up before a stream begins, while a 404 can still be said."""
    return _read(wired, found.scope, job_id)


@router.get(
    "/{job_id}/events",
    operation_id="job_events",
    response_class=StreamingResponse,
    responses=events.DOCUMENTED | documented(401, 404, 422),
)
async def job_events(
    request: Request,
    found: Reader,
    wired: Wired,
    job: Annotated[JobView, Depends(visible_job)],
    last_event_id: Annotated[str | None, Header()] = None,
) -> EventSourceResponse:
    """The job each time it changes (event `job`, its revision as id), until it has ended."""
    seen = events.after(last_event_id)
    return events.stream(_changes(wired, found.scope, job.id, seen), request_id(request))


@router.post(
    "/{job_id}/cancel",
    operation_id="cancel_job",
    response_model=JobView,
    responses=documented(401, 403, 404, 409, 410),
)
def cancel_job(job_id: str, found: Editor, once: OnceDep) -> Response:
    """Cancel a job: at once while it is queued, at its next step while it runs."""

    def cancel(session: Session) -> JobView:
        _check_role(found, jobs.get(session, found.scope, job_id))
        job = jobs.cancel(session, found.scope, job_id)
        audit.record(session, found.who, "job.cancel", job_id)
        return _shown(session, job, found.scope)

    return once.run(200, cancel)


@router.post(
    "/{job_id}/retry",
    operation_id="retry_job",
    response_model=JobView,
    responses=documented(401, 403, 404, 409, 410),
)
def retry_job(job_id: str, found: Editor, once: OnceDep) -> Response:
    """Queue a failed or cancelled job again, or one that left pictures unread because OCR was not installed."""

    def retry(session: Session) -> JobView:
        _check_role(found, jobs.get(session, found.scope, job_id))
        job = jobs.retry(session, found.scope, job_id)
        audit.record(session, found.who, "job.retry", job_id)
        return _shown(session, job, found.scope)

    return once.run(200, retry)


def _check_role(found: Asker, job: Job) -> None:
    if job.kind in jobs.STARTED_ANEW:  # what only administrators begin
        found.require("admin")


def _shown(session: Session, job: Job, scope: Scope) -> JobView:
    return JobView.model_validate(jobs.view(session, job, scope))


def _read(wired: Wiring, scope: Scope, job_id: str) -> JobView:
    with wired.parts.db.read() as session:
        keys.recheck(session, scope.key_id)
        return _shown(session, jobs.get(session, scope, job_id), scope)


async def _changes(wired: Wiring, scope: Scope, job_id: str, seen: int) -> AsyncIterator[ServerSentEvent]:
    shown: tuple[int, JobState | None, int | None] = (seen, None, None)
    async with wired.jobs.watch(job_id) as changed:
        while True:
            changed.clear()
            job = await run_sync(_read, wired, scope, job_id)
            mark = (job.revision, job.state, job.queue_position)
            resumed = shown[1] is None and job.revision == seen and job.state != JobState.STALLED
            if mark != shown and (not resumed or job.state.terminal):
                yield ServerSentEvent(event="job", id=str(job.revision), data=job)
            shown = mark
            if job.state.terminal:
                return
            if not await events.changed_within(changed, events.HEARTBEAT_SECONDS):
                yield events.heartbeat()
