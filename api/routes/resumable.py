"""Resumable uploads after tus 1.0: creation, with bytes or without, expiration, termination, checksums."""

import base64
import binascii
import json
from datetime import datetime, timedelta
from email.utils import format_datetime
from tempfile import TemporaryFile
from typing import Annotated, Any, Literal

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Header, Request, Response
from sqlalchemy.orm import Session
from starlette.requests import ClientDisconnect

from api import intake, models, problems
from api.auth import Asker, Editor
from api.once import Once, OnceDep
from api.problems import Malformed, WrongContentType, documented
from api.routes.injected import Wired
from api.tus import BYTES, Checksum, Octets, TusRoute, octets, offered
from api.wiring import Wiring
from ibid import access, audit, media, queue, resumable, uploads
from ibid.arrivals import Archive, Expected
from ibid.db.tables import PartialUpload
from ibid.documents import Accepted, Upload
from ibid.errors import IbidError
from ibid.resumable import NewUpload

router = APIRouter(prefix="/v1", tags=["documents"], route_class=TusRoute)

PART = 8 * 1024 * 1024
"""So many bytes are kept at once: more of a request than this is never lost to a kill."""
_OCTETS = {"content": {BYTES: {"schema": {"type": "string", "format": "binary"}}}}
_BODY = {"requestBody": _OCTETS | {"required": True}}
LARGEST = 2**63 - 1
Count = Annotated[int, Header(ge=0, le=LARGEST)]
Brought = Annotated[Octets, Depends(octets)]


class BadUploadMetadata(Malformed):
    """Upload-Metadata is not written as tus writes it."""

    code = "bad_upload_metadata"


class Became(models.Response):
    """The document of a complete upload. `job_id` is null where nothing is to do.

    An archive that is being unpacked has a job and no id.
    """

    id: str | None
    version: int | None
    job_id: str | None
    outcome: Literal["created", "updated", "unchanged", "unpacking"]


class UploadView(models.Response):
    """An upload in parts: `offset` of `length` bytes are durable; `outcome` is null until all are."""

    id: str
    collection_id: str
    filename: str
    length: int
    offset: int
    created_at: datetime
    expires_at: datetime
    outcome: Became | None


@router.options("/collections/{collection}/uploads", include_in_schema=False)  # noqa: FAST003 - the same for all
@router.options("/uploads/{upload_id}", include_in_schema=False)
def offer(wired: Wired) -> Response:
    """What of tus is offered here, to everybody."""
    return offered(wired.parts.settings.max_resumable_bytes)


@router.post(
    "/collections/{collection}/uploads",
    operation_id="create_upload",
    status_code=201,
    response_model=UploadView,
    openapi_extra={"requestBody": _OCTETS},
    responses=documented(400, 401, 403, 404, 409, 410, 412, 413, 415, 422, 429, 460, 503, 507),
)
async def create_upload(
    request: Request,
    collection: str,
    found: Editor,
    wired: Wired,
    once: OnceDep,
    brought: Brought,
    upload_length: Count,
    upload_metadata: Annotated[str, Header(max_length=256 * 1024)] = "",
) -> Response:
    """Begin an upload in parts (tus 1.0); `Location` is where PATCH sends its bytes to.

    `Upload-Metadata` holds `filename`, and may hold `external_id`, `metadata` and `access` as JSON, and `unpack` as
    `true`, which makes documents of the files in an archive. The body may be the first bytes; `Upload-Offset` says how
    many of them were kept. Where they are refused, the upload is there all the same, at the `Location` of the problem;
    a repetition with the same `Idempotency-Key` then begins another one.
    """
    new = _new(upload_length, upload_metadata)
    response = await run_sync(_create, wired, found, once, collection, new)
    made = json.loads(bytes(response.body))
    response.headers["Location"] = f"/v1/uploads/{made['id']}"
    if brought.given:
        upload = await run_sync(_find, wired, found, made["id"])
        if not upload.offset:  # else an earlier request with the same Idempotency-Key has brought them
            try:
                upload = await _receive(request, wired, found, upload, brought.checksum)
            except IbidError as error:
                return await run_sync(_refused, request, once, response, made["id"], error)
        response.headers.update(_headers(upload))
    return response


def _refused(request: Request, once: Once, created: Response, upload_id: str, error: IbidError) -> Response:
    """The problem with the bytes that came with a creation, and where the upload is."""
    # A repetition that was refused takes nothing from the first request, nor does the first from one that was quicker.
    if not (created.headers.get("Idempotent-Replayed") or isinstance(error, resumable.OffsetMismatch)):
        once.give_back(upload_id)
    reply = problems.reply(error, problems.request_id(request))
    reply.headers["Location"] = created.headers["Location"]
    return reply


def _new(length: int, metadata: str) -> NewUpload:
    """The upload as its headers announce it."""
    told = _metadata(metadata)
    fields = intake.validated(
        {name: told[name] for name in told.keys() & {"external_id", "metadata", "access", "unpack"}}
    )
    described = (fields.external_id, fields.metadata, fields.access, fields.unpack)
    return NewUpload(told.get("filename", ""), length, *described)


def _create(wired: Wiring, found: Asker, once: Once, collection: str, new: NewUpload) -> Response:
    settings = wired.parts.settings

    def effect(session: Session) -> UploadView:
        collection_id = access.collection(session, found.scope, collection).id
        queue.check_room(session, collection_id, settings.max_queued)
        most = settings.max_resumable_bytes
        made = resumable.create(session, found.scope, collection, new, most=most, kept=_kept(wired))
        audit.record(session, found.who, "upload.create", made.id, {"collection_id": made.collection_id})
        return UploadView.model_validate(made)

    return once.run(201, effect)


@router.get("/uploads/{upload_id}", operation_id="get_upload", responses=documented(401, 403, 404))
def get_upload(upload_id: str, found: Editor, wired: Wired) -> UploadView:
    """How far an upload is, and what document it became. Only the key that began it sees it."""
    with wired.parts.db.read() as session:
        return UploadView.model_validate(resumable.find(session, found.scope, upload_id))


@router.head("/uploads/{upload_id}", include_in_schema=False)
def head_upload(upload_id: str, found: Editor, wired: Wired) -> Response:
    """Where to go on, in the headers of tus."""
    with wired.parts.db.read() as session:
        upload = resumable.find(session, found.scope, upload_id)
        return Response(
            headers=_headers(upload) | {"Upload-Length": str(upload.length), "Cache-Control": "no-store"}
        )


@router.patch(
    "/uploads/{upload_id}",
    operation_id="append_upload",
    status_code=204,
    response_class=Response,
    openapi_extra=_BODY,
    responses=documented(400, 401, 403, 404, 409, 412, 413, 415, 422, 460, 503, 507),
)
async def append_upload(
    request: Request,
    upload_id: str,
    found: Editor,
    wired: Wired,
    brought: Brought,
    upload_offset: Count,
) -> Response:
    """Append bytes at `Upload-Offset`; what is acknowledged is durable. The last bytes accept the document.

    The reply to them names it in `Ibid-Document-Id` and its job in `Ibid-Job-Id`. With `Upload-Checksum` no byte is kept
    before the sum of all is known to be right. After `507 no_room` the upload stands where it was, and goes on once
    there is room.
    """
    if not brought.given:
        raise WrongContentType(f"Send the bytes as {BYTES}.", param="Content-Type")
    upload = await run_sync(_at, wired, found, upload_id, upload_offset)
    upload = await _receive(request, wired, found, upload, brought.checksum)
    return Response(status_code=204, headers=_headers(upload))


@router.delete(
    "/uploads/{upload_id}",
    operation_id="delete_upload",
    status_code=204,
    response_class=Response,
    responses=documented(401, 403, 404),
)
def delete_upload(upload_id: str, found: Editor, wired: Wired) -> Response:
    """Give an upload up. A document that it became stays."""
    with wired.parts.db.begin() as session:
        gone = resumable.cancel(session, found.scope, upload_id)
        audit.record(session, found.who, "upload.delete", upload_id, {"collection_id": gone.collection_id})
    return Response(status_code=204)


def _at(wired: Wiring, found: Asker, upload_id: str, offset: int) -> PartialUpload:
    with wired.parts.db.read() as session:
        return resumable.at(session, found.scope, upload_id, offset)


async def _receive(
    request: Request, wired: Wiring, found: Asker, upload: PartialUpload, checksum: Checksum | None
) -> PartialUpload:
    """Keep what the request brings, as it comes; where it has a checksum, only once that is known to be right."""
    if checksum is not None:
        return await _receive_checked(request, wired, found, upload, checksum)
    waiting = bytearray()
    try:
        async for piece in request.stream():
            waiting += piece
            if len(waiting) >= PART:
                upload = await run_sync(_append, wired, found, upload, bytes(waiting))
                waiting.clear()
    except ClientDisconnect:
        if waiting:  # the sender has gone, and need not send these again
            await run_sync(_append, wired, found, upload, bytes(waiting))
        raise
    if waiting:
        upload = await run_sync(_append, wired, found, upload, bytes(waiting))
    return upload


async def _receive_checked(
    request: Request, wired: Wiring, found: Asker, upload: PartialUpload, checksum: Checksum
) -> PartialUpload:
    """Keep no byte before all have come and their checksum is right; take in no more than are missing."""
    came = upload.offset
    with intake.taking_files(), TemporaryFile() as file:
        async for piece in request.stream():
            came += len(piece)
            resumable.check_length(upload, came)
            checksum.update(piece)
            await run_sync(file.write, piece)
        checksum.verify()
        file.seek(0)
        while part := await run_sync(file.read, PART):
            upload = await run_sync(_append, wired, found, upload, part)
    return upload


def _find(wired: Wiring, found: Asker, upload_id: str) -> PartialUpload:
    with wired.parts.db.read() as session:
        return resumable.find(session, found.scope, upload_id)


def _append(wired: Wiring, found: Asker, upload: PartialUpload, content: bytes) -> PartialUpload:
    """Keep a part and count it; the last one together with the document."""
    parts = wired.parts
    part = resumable.store(parts.db, parts.blobs, found.scope, upload.id, upload.offset, content)
    if upload.offset + len(content) == upload.length:
        return _accept(wired, found, upload, part)
    with parts.db.begin() as session:
        return resumable.advance(session, found.scope, upload.id, part, kept=_kept(wired))


def _accept(wired: Wiring, found: Asker, upload: PartialUpload, part: str) -> PartialUpload:
    parts = wired.parts
    with intake.taking_files(), TemporaryFile() as file:
        resumable.assemble(parts.db, parts.blobs, upload.id, part, file)
        file.seek(0)
        check = media.check_archive if upload.unpack else media.check_upload
        kind = check(upload.filename, file.read(media.HEAD))
        kept = uploads.keep(parts.db, parts.blobs, file)
    described = (upload.external_id, upload.meta, upload.grants)
    whole: Upload | Archive = Upload(upload.filename, kind.name, kept, *described)
    if upload.unpack:
        whole = Archive(upload.filename, kept, *described)
    with parts.db.begin() as session:
        uploads.refer(session, kept)
        accepted = intake.accept(session, found.scope, upload.collection_id, whole)
        if isinstance(accepted, IbidError):
            raise accepted
        done = resumable.advance(session, found.scope, upload.id, part, kept=_kept(wired))
        resumable.end(done, accepted)
        _record(session, found, done, accepted)
        return done


def _record(session: Session, found: Asker, done: PartialUpload, accepted: Accepted | Expected) -> None:
    detail: dict[str, Any] = {"collection_id": done.collection_id}
    if isinstance(accepted, Expected):
        audit.record(session, found.who, "archive.upload", accepted.job_id, detail)
    else:
        detail |= {"version": accepted.version, "outcome": accepted.outcome}
        audit.record(session, found.who, "document.upload", accepted.document_id, detail)


def _kept(wired: Wiring) -> timedelta:
    return timedelta(hours=wired.parts.settings.upload_expiry_hours)


def _headers(upload: PartialUpload) -> dict[str, str]:
    expires = format_datetime(upload.expires_at, usegmt=True)
    headers = {"Upload-Offset": str(upload.offset), "Upload-Expires": expires}
    if upload.outcome is not None:
        if upload.outcome["id"]:
            headers["Ibid-Document-Id"] = upload.outcome["id"]
        if upload.outcome["job_id"]:
            headers["Ibid-Job-Id"] = upload.outcome["job_id"]
    return headers


def _metadata(header: str) -> dict[str, Any]:
    """The pairs of tus: a name, a blank, and the value in Base64."""
    pairs = {}
    for pair in header.split(","):
        name, _, encoded = pair.strip().partition(" ")
        if not name:
            continue
        try:
            pairs[name] = base64.b64decode(encoded, validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError, ValueError) as error:
            raise BadUploadMetadata(
                "Upload-Metadata is not a list of names with values in Base64 of UTF-8.",
                param="Upload-Metadata",
            ) from error
    return pairs
