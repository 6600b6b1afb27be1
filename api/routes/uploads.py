"""Uploads into a collection."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api import intake, models, problems
from api.auth import Asker, Editor
from api.intake import Delivery, Incoming
from api.once import REPLAYED, IdempotencyKey, Once, request_hash
from api.problems import Problem, WrongContentType, documented, request_id
from api.routes.injected import Wired
from api.wiring import Wiring
from ibid import access, arrivals, audit, documents, links, queue, uploads
from ibid.arrivals import Archive, Expected, Link
from ibid.documents import Accepted, Upload
from ibid.errors import IbidError, Invalid, Unavailable
from ibid.replies import Reply
from ibid.uploads import BlobDied

router = APIRouter(prefix="/v1/collections", tags=["documents"])

TRIES = 3
Outcome = Accepted | Expected | IbidError


class AllRefused(Invalid):
    """None of several files was taken."""

    code = "all_refused"

    def __init__(self, message: str, entries: list[Any]) -> None:
        super().__init__(message, param="files")
        self.entries = entries


class Entry(models.Response):
    """What became of one file. `job_id` is null where nothing is to do; a rejected one has a problem and no id.

    What is unpacked or fetched has no id yet either: `statistics` of its job tell what became of it.
    """

    id: str | None
    name: str
    version: int | None
    job_id: str | None
    outcome: Literal["created", "updated", "unchanged", "unpacking", "fetching", "rejected"]
    problem: Problem | None = None


class Uploaded(models.Response):
    """What became of each file, in the order they came."""

    documents: list[Entry]


_FORM = {
    "type": "object",
    "required": ["files"],
    "properties": {
        "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
        "metadata": {"type": "string", "description": "a JSON object"},
        "access": {"type": "string", "description": "a JSON list of user:…, group:… and key:…"},
        "external_id": {
            "type": "string",
            "description": "with one file only; of an archive, put before the path of each of its files",
        },
        "unpack": {
            "type": "boolean",
            "description": "make documents of the files in archives (zip, tar, tar.gz, tar.bz2, tar.xz)",
        },
    },
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _FORM},
            "application/json": {
                "schema": {"anyOf": [intake.NewText.model_json_schema(), intake.NewLink.model_json_schema()]}
            },
        },
    }
}


def visible_collection(collection: str, found: Editor, wired: Wired) -> str:
    """The collection's id, looked up before a body is read that may be large, and for which there may be no room."""
    with wired.parts.db.read() as session:
        collection_id = access.collection(session, found.scope, collection).id
        queue.check_room(session, collection_id, wired.parts.settings.max_queued)
        return collection_id


@router.post(
    "/{collection}/documents",
    operation_id="upload_documents",
    status_code=202,
    response_model=Uploaded,
    openapi_extra=_BODY,
    responses=documented(400, 401, 403, 404, 409, 410, 413, 415, 422, 429, 503, 507),
)
async def upload_documents(
    request: Request,
    found: Editor,
    wired: Wired,
    collection_id: Annotated[str, Depends(visible_collection)],
    idempotency_key: IdempotencyKey = None,
    content_type: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """Upload files, a text, or the address of a document. Accepted means durable: the job of each reaches an end whatever is killed.

    With `unpack`, an archive gets one job that makes a document of each file in it, with the path there as its
    external id. What became of them is in the job's `statistics`; the documents have its id as their `batch_id`.
    An address (`url`) is fetched by a job, if the operator has set `IBID_URL_INGESTION`; again, it is the same
    document, with a new version if the bytes are others.
    """
    arrival = _Arrival(wired, found, collection_id, request, idempotency_key)
    kind = content_type.split(";")[0].strip().lower()
    if kind == "application/json":
        sent = await run_sync(intake.from_json, await request.body())
        if isinstance(sent, Link):
            return await run_sync(_fetch, arrival, sent)
        return await run_sync(_take, arrival, sent)
    if kind != "multipart/form-data":
        raise WrongContentType(
            "Send multipart/form-data with `files`, or application/json with `name` and `text`.",
            param="Content-Type",
        )
    form, oversized = await intake.read_form(request, max_file=wired.parts.settings.max_upload_bytes)
    try:
        return await run_sync(_take, arrival, intake.from_form(form, oversized))
    finally:
        await form.close()


@dataclass(frozen=True, slots=True)
class _Arrival:
    """Who uploads where."""

    wired: Wiring
    found: Asker
    collection_id: str
    request: Request
    idempotency_key: str | None


def _take(this: _Arrival, delivery: Delivery) -> Response:
    """Keep the files, then take them all in one transaction together with the saved reply."""
    content = delivery.fingerprint() if this.idempotency_key is not None else ""
    same = request_hash(this.request, this.found, content)
    once = Once(this.wired.parts.db, this.found.holder.id, this.idempotency_key, same)
    try:
        with once.reserved() as mine:
            if isinstance(mine, Reply):
                return JSONResponse(mine.body, mine.status, REPLAYED)
            body = _taken(this, delivery, lambda session, body: once.save(session, mine, 202, body))
    except AllRefused as error:
        return problems.reply(error, request_id(this.request), {"documents": error.entries})
    return JSONResponse(body, 202)


def _fetch(this: _Arrival, link: Link) -> Response:
    """Take an address together with the saved reply."""
    links.check_allowed(allowed=this.wired.parts.settings.url_ingestion)
    same = request_hash(this.request, this.found, repr(link))
    once = Once(this.wired.parts.db, this.found.holder.id, this.idempotency_key, same)

    def effect(session: Session) -> Uploaded:
        expected = arrivals.fetch(session, this.found.scope, this.collection_id, link)
        detail = {"collection_id": this.collection_id}
        audit.record(session, this.found.who, "document.fetch", expected.job_id, detail)
        return Uploaded(documents=[_accepted(expected)])

    return once.run(202, effect)


def _taken(
    this: _Arrival, delivery: Delivery, save: Callable[[Session, dict[str, Any]], None]
) -> dict[str, Any]:
    """The reply's body, committed with what it tells of."""
    for left in reversed(range(TRIES)):
        kept = [_kept(this.wired, incoming, delivery) for incoming in delivery.files]
        try:
            with this.wired.parts.db.begin() as session:
                outcomes = _outcomes(session, this, kept)
                body = _told(delivery, outcomes, request_id(this.request))
                save(session, body)
                return body
        except BlobDied:  # removed as an orphan at the moment it was wanted again
            if not left:
                raise
    raise AssertionError("the last try raises")


def _kept(wired: Wiring, incoming: Incoming, delivery: Delivery) -> Upload | Archive | IbidError:
    try:
        return intake.keep(wired.parts, incoming, delivery)
    except Unavailable:
        raise
    except IbidError as error:
        return error


def _outcomes(
    session: Session, this: _Arrival, kept: Sequence[Upload | Archive | IbidError]
) -> list[Outcome]:
    """What became of each, in the order of the form; locked in an order that every form keeps."""
    accepted = [upload for upload in kept if not isinstance(upload, IbidError)]
    for bytes_ in sorted((upload.kept for upload in accepted), key=lambda bytes_: bytes_.blob_id):
        uploads.refer(session, bytes_)
    outcomes: list[Outcome | None] = [None] * len(kept)
    for place in sorted(range(len(kept)), key=lambda place: _identity(kept[place])):
        outcomes[place] = _outcome(session, this, kept[place])
    return [outcome for outcome in outcomes if outcome is not None]


def _identity(upload: Upload | Archive | IbidError) -> str:
    if not isinstance(upload, Upload):
        return ""
    return documents.identity_of(upload.name, upload.external_id)


def _outcome(session: Session, this: _Arrival, upload: Upload | Archive | IbidError) -> Outcome:
    if isinstance(upload, IbidError):
        return upload
    outcome = intake.accept(session, this.found.scope, this.collection_id, upload)
    if isinstance(outcome, Accepted):
        detail = {"collection_id": this.collection_id, "version": outcome.version, "outcome": outcome.outcome}
        audit.record(session, this.found.who, "document.upload", outcome.document_id, detail)
    elif isinstance(outcome, Expected):
        detail = {"collection_id": this.collection_id}
        audit.record(session, this.found.who, "archive.upload", outcome.job_id, detail)
    return outcome


def _told(delivery: Delivery, outcomes: Sequence[Outcome], request_id: str) -> dict[str, Any]:
    """The reply's body; raises the error of a file that came alone, or `AllRefused`."""
    entries = [
        _refused(incoming.name, outcome, request_id) if isinstance(outcome, IbidError) else _accepted(outcome)
        for incoming, outcome in zip(delivery.files, outcomes, strict=True)
    ]
    body = Uploaded(documents=entries).model_dump(mode="json", exclude_unset=True)
    errors = [outcome for outcome in outcomes if isinstance(outcome, IbidError)]
    if len(errors) == len(outcomes):
        if len(errors) == 1:
            raise errors[0]
        raise AllRefused(
            "None of the files was taken. Each entry of `documents` says why.", body["documents"]
        )
    return body


def _accepted(outcome: Accepted | Expected) -> Entry:
    if isinstance(outcome, Expected):
        return Entry(id=None, name=outcome.name, version=None, job_id=outcome.job_id, outcome=outcome.outcome)
    return Entry(
        id=outcome.document_id,
        name=outcome.name,
        version=outcome.version,
        job_id=outcome.job_id,
        outcome=outcome.outcome,
    )


def _refused(name: str, error: IbidError, request_id: str) -> Entry:
    problem = Problem(**problems.describe(error, request_id))
    return Entry(id=None, name=name, version=None, job_id=None, outcome="rejected", problem=problem)
