"""Answers: asked once, watched by anyone who may, from any moment on."""

from collections.abc import AsyncIterator
from datetime import datetime
from time import monotonic
from typing import Annotated, Any, Literal

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy.orm import Session

from api import events, models
from api.auth import Asker, Reader
from api.once import REPLAYED, Once, OnceDep
from api.problems import documented, request_id
from api.routes.injected import Wired
from api.routes.search import Filters, HitView, parsed
from api.wiring import Wiring
from ibid import audit, keys
from ibid.replies import Reply
from ibid.types import Scope
from retrieval import records, views

router = APIRouter(prefix="/v1/answers", tags=["answers"])

WHOLE_OR_STREAMED: dict[int | str, dict[str, Any]] = {
    200: events.DOCUMENTED[200] | {"description": "The answer, or its events"}
}
LAST = frozenset({"answer.completed", "answer.refused", "answer.failed", "answer.cancelled"})


class Question(models.Request):
    """`policy` strict leaves unsupported sentences out; annotate marks them. `model` is tried before the route's."""

    collection: models.Text
    question: str
    stream: bool = False
    policy: records.Policy = "annotate"
    model: models.Text | None = None
    filters: Filters | None = None


class Box(models.Response):
    """A rectangle on a page, in fractions of its size, origin top left."""

    page: int
    x0: float
    y0: float
    x1: float
    y1: float


class CitationView(models.Response):
    """The exact words that support a sentence: `quote` is the canonical text's slice [start, end)."""

    n: int
    document_id: str
    document: str
    version: int
    page: int | None
    boxes: list[Box]
    start: int
    end: int
    quote: str
    verified: bool


class SentenceView(models.Response):
    """A sentence with the numbers of its citations; a withdrawn one has lost its text with a document it cited."""

    text: str
    support: str
    citations: list[int]
    withdrawn: bool


class AttemptView(models.Response):
    """A model of the route and what came of it; `reason` says why it failed or was passed over."""

    model: str
    outcome: Literal["answered", "no_answer", "failed", "stopped", "passed"]
    reason: str | None
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_usd: float
    milliseconds: float


class AnswerView(models.Response):
    """An answer. `reason` is a code, `message` a sentence for a person; both are null for a completed one."""

    id: str
    status: str
    collection_id: str
    question: str
    text: str
    reason: str | None
    message: str | None
    nearest: list[HitView]
    sentences: list[SentenceView]
    citations: list[CitationView]
    model: str | None
    route: list[AttemptView]
    prompt_version: str
    generation_id: str | None
    usage: dict[str, Any]
    timings: dict[str, float]
    grounding: dict[str, Any]
    created_at: datetime
    finished_at: datetime | None


class Named(models.Response):
    """An answer by its id."""

    id: str


@router.post(
    "",
    operation_id="ask",
    response_model=AnswerView,
    responses=WHOLE_OR_STREAMED | documented(401, 404, 409, 410, 422, 503),
)
async def ask(body: Question, request: Request, found: Reader, wired: Wired, once: OnceDep) -> Response:
    """Ask. The reply is the whole answer at its end, or with `stream` its events as they come."""
    answer_id, replayed = await run_sync(_begin, wired, found, once, body)
    if replayed:
        await run_sync(_check_replay, wired, found.scope, answer_id)
    else:
        wired.runner.start(found.scope, answer_id)
    headers = REPLAYED if replayed else {}
    coming = _events(wired, found.scope, answer_id, 0, fresh=not replayed)
    if body.stream or "text/event-stream" in request.headers.get("accept", ""):
        reply: Response = events.stream(coming, request_id(request))
        reply.headers.update(headers)
        return reply
    async for _ in coming:
        pass  # waiting like a listener, so that the answer counts as watched
    return JSONResponse(await run_sync(_body, wired, found.scope, answer_id), headers=headers)


@router.get("/{answer_id}", operation_id="get_answer", responses=documented(401, 404))
def get_answer(answer_id: str, found: Reader, wired: Wired) -> AnswerView:
    """An answer as it stands, its quotes sliced now; what was deleted since is withdrawn."""
    with wired.parts.db.read() as session:
        return AnswerView.model_validate(views.view(session, found.scope, answer_id))


def visible_answer(answer_id: str, found: Reader, wired: Wired) -> str:
    """The answer's id, looked up before a stream begins, while a 404 can still be said."""
    with wired.parts.db.read() as session:
        return views.get(session, found.scope, answer_id).id


@router.get(
    "/{answer_id}/events",
    operation_id="answer_events",
    response_class=StreamingResponse,
    responses=events.DOCUMENTED | documented(401, 404, 422),
)
async def answer_events(
    request: Request,
    found: Reader,
    wired: Wired,
    answer_id: Annotated[str, Depends(visible_answer)],
    last_event_id: Annotated[str | None, Header()] = None,
) -> EventSourceResponse:
    """The answer's events after the one named by `Last-Event-ID`, to the last."""
    after = events.after(last_event_id)
    return events.stream(_events(wired, found.scope, answer_id, after), request_id(request))


@router.post(
    "/{answer_id}/stop",
    operation_id="stop_answer",
    status_code=202,
    response_model=Named,
    responses=documented(401, 404),
)
def stop_answer(answer_id: str, found: Reader, once: OnceDep) -> Response:
    """Ask an answer to end early. One that has ended stays as it is."""

    def stop(session: Session) -> Named:
        views.stop(session, found.scope, answer_id)
        audit.record(session, found.who, "answer.stop", answer_id)
        return Named(id=answer_id)

    return once.run(202, stop)


def _begin(wired: Wiring, found: Asker, once: Once, body: Question) -> tuple[str, bool]:
    """The answer's id and whether it was begun before. The saved reply is that id: it quotes no document."""
    settings = wired.parts.settings
    with once.reserved() as mine:
        if isinstance(mine, Reply):
            return str(mine.body["answer_id"]), True
        with wired.parts.db.begin() as session:
            answer_id = records.start(
                session,
                found.scope,
                body.collection,
                body.question,
                settings,
                model=body.model,
                policy=body.policy,
                filters=parsed(body.filters),
            )
            audit.record(session, found.who, "answer", answer_id, {"collection": body.collection})
            once.save(session, mine, 200, {"answer_id": answer_id})
        return answer_id, False


def _check_replay(wired: Wiring, scope: Scope, answer_id: str) -> None:
    with wired.parts.db.read() as session:
        views.replay(session, scope, answer_id)


def _body(wired: Wiring, scope: Scope, answer_id: str) -> dict[str, Any]:
    with wired.parts.db.read() as session:
        return _shown(session, scope, answer_id)


def _shown(session: Session, scope: Scope, answer_id: str) -> dict[str, Any]:
    return AnswerView.model_validate(views.view(session, scope, answer_id)).model_dump(mode="json")


async def _events(
    wired: Wiring, scope: Scope, answer_id: str, after: int, *, fresh: bool = False
) -> AsyncIterator[ServerSentEvent]:
    """Events with a higher number than `after`, to the last. Listening counts as watching the answer."""
    beat = min(events.HEARTBEAT_SECONDS, wired.parts.settings.answer_unwatched_seconds / 3)
    touched = monotonic() if fresh else -beat
    async with wired.answers.watch(answer_id) as changed:
        while True:
            changed.clear()
            if monotonic() - touched >= beat:
                await run_sync(_touch, wired, answer_id)
                touched = monotonic()
            found, over = await run_sync(_found, wired, scope, answer_id, after)
            for event in found:
                yield event
                after = int(event.id or after)
            if over:
                return
            if not await events.changed_within(changed, beat):
                yield events.heartbeat()


def _found(wired: Wiring, scope: Scope, answer_id: str, after: int) -> tuple[list[ServerSentEvent], bool]:
    """The events after a number, and whether they are the last. The last one carries the whole answer."""
    with wired.parts.db.read() as session:
        keys.recheck(session, scope.key_id)
        found = views.events_after(session, scope, answer_id, after)
        over = views.ended(session, answer_id)
        whole = _shown(session, scope, answer_id) if over else {}
    return [
        ServerSentEvent(event=each.type, id=str(each.seq), data=_data(each, whole)) for each in found
    ], over


def _data(event: views.EventView, whole: dict[str, Any]) -> dict[str, Any]:
    data = dict(event.data)
    answer_id = data.pop("answer_id", None)
    if event.type in LAST:
        return whole
    if event.type == "answer.created":
        return {"id": answer_id} | data
    if event.type == "answer.delta":
        index = data.pop("ordinal", None)
        return {"answer_id": answer_id, "sentence": {"index": index} | data}
    if event.type == "retrieval.completed":
        return {"answer_id": answer_id, "passages": data.pop("hits", None)} | data
    return {"answer_id": answer_id} | data


def _touch(wired: Wiring, answer_id: str) -> None:
    with wired.parts.db.begin() as session:
        if not views.ended(session, answer_id):
            views.touch_watched(session, answer_id)
