"""Jobs: how far uploads, deletions and reindexes are."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy.orm import Session

from api import events, models
from api.auth import Asker, Editor, Reader
from api.models import After, Limit, Page, page
from api.once import OnceDep
from api.problems import documented, request_id
from api.routes.injected import Wired
from api.wiring import Wiring
from ibid import audit, jobs, keys
from ibid.db.tables import Job
from ibid.types import JobKind, JobState, Scope

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


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
    """A job; `queue_position` counts from 1 and is null unless it is queued. `request_id` is what the log knows it by."""

    id: str
    kind: JobKind
    state: JobState
    stage: str
    collection_id: str
    document_id: str | None
    progress: Progress
    attempt: int
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


@router.get("", operation_id="list_jobs", responses=documented(401, 422))
def list_jobs(
    found: Reader,
    wired: Wired,
    state: Annotated[JobState | None, Query()] = None,
    after: After = None,
    limit: Limit = 50,
) -> Page[JobView]:
    """Jobs, newest first."""
    with wired.parts.db.read() as session:
        rows = jobs.listing(session, found.scope, state=state, after=after, limit=limit + 1)
        return page(rows, limit, lambda job: _shown(session, job), lambda job: str(job.id))


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
    responses=documented(401, 403, 404, 409),
)
def cancel_job(job_id: str, found: Editor, once: OnceDep) -> Response:
    """Cancel a job: at once while it is queued, at its next step while it runs."""

    def cancel(session: Session) -> JobView:
        _check_role(found, jobs.get(session, found.scope, job_id))
        job = jobs.cancel(session, found.scope, job_id)
        audit.record(session, found.who, "job.cancel", job_id)
        return _shown(session, job)

    return once.run(200, cancel)


@router.post(
    "/{job_id}/retry",
    operation_id="retry_job",
    response_model=JobView,
    responses=documented(401, 403, 404, 409),
)
def retry_job(job_id: str, found: Editor, once: OnceDep) -> Response:
    """Queue a failed or cancelled job again."""

    def retry(session: Session) -> JobView:
        _check_role(found, jobs.get(session, found.scope, job_id))
        job = jobs.retry(session, found.scope, job_id)
        audit.record(session, found.who, "job.retry", job_id)
        return _shown(session, job)

    return once.run(200, retry)


def _check_role(found: Asker, job: Job) -> None:
    if job.kind == JobKind.REINDEX:
        found.require("admin")


def _shown(session: Session, job: Job) -> JobView:
    return JobView.model_validate(jobs.view(session, job))


def _read(wired: Wiring, scope: Scope, job_id: str) -> JobView:
    with wired.parts.db.read() as session:
        keys.recheck(session, scope.key_id)
        return _shown(session, jobs.get(session, scope, job_id))


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
