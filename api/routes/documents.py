"""Documents and their versions."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from itertools import chain
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

from api import models
from api.auth import Editor, Reader
from api.models import After, Limit, Page, page
from api.problems import documented
from api.routes.injected import Wired, grace
from ibid import access, audit, documents, versions
from ibid.db.tables import Blob, Version
from ibid.types import JobState, ReadBy

router = APIRouter(prefix="/v1", tags=["documents"])

Number = Annotated[int, Path(ge=1, le=2**31 - 1)]


class DocumentView(models.Response):
    """A document: `version` is the newest, `live_version` the one readers are answered from (null before the first).

    `batch_id` is the job that unpacked the archive in which it came last.
    """

    id: str
    name: str
    external_id: str | None
    collection_id: str
    parent_id: str | None
    batch_id: str | None
    version: int
    live_version: int | None
    state: JobState
    media_type: str
    size: int
    sha256: str
    metadata: dict[str, Any]
    access: list[str] | None
    created_at: datetime
    updated_at: datetime
    job_id: str


class VersionView(models.Response):
    """One content of a document; readers are answered from it between `live_from` and `live_to`."""

    id: str
    number: int
    filename: str
    media_type: str
    size: int
    sha256: str
    read_by: ReadBy
    job_id: str
    live_from: datetime | None
    live_to: datetime | None
    created_at: datetime


class Versions(models.Response):
    """All versions, newest first."""

    data: list[VersionView]
    next: None = None


class PageCounts(models.Response):
    """`total` is null where the format has no pages. Empty pages were read and hold no text; unreadable ones may.

    The text of those in `ocr` was recognised from their picture; that of those `waiting` was not, in this version.
    """

    total: int | None
    with_text: int | None
    ocr: list[int]
    empty: list[int]
    unreadable: list[int]
    waiting: list[int]


class ElementCounts(models.Response):
    """What the parser told apart. Hidden characters are in the file, and no reader of it would see them."""

    total: int | None
    tables: int | None
    images_skipped: int | None
    links: int | None
    hidden_characters: int | None


class ChunkCounts(models.Response):
    """`made` is the chunker's own count; `reused` and `embedded` are parts of it; the others are what is stored."""

    made: int | None
    reused: int | None
    embedded: int | None
    stored_sql: int | None
    stored_vectors: int | None


class StageSeconds(models.Response):
    """Seconds of the document's own parse; the other stages are shared by the batch it was in."""

    parse: float | None
    chunk: float | None
    embed: float | None
    index: float | None


class Receipt(models.Response):
    """What is known of a version: a number is null, and not 0, until the stage that counts it has ended."""

    document_id: str
    version: int
    state: JobState
    generation_id: str
    parser: str | None
    pages: PageCounts
    characters: int | None
    languages: list[str]
    elements: ElementCounts
    chunks: ChunkCounts
    warnings: list[str]
    seconds: StageSeconds


class Deleted(models.Response):
    """Gone for every reader; the job cleans up."""

    id: str
    job_id: str


@router.get(
    "/collections/{collection}/documents", operation_id="list_documents", responses=documented(401, 404)
)
def list_documents(
    collection: str,
    found: Reader,
    wired: Wired,
    batch: Annotated[
        str | None, Query(description="the job that unpacked their archive", max_length=64)
    ] = None,
    after: After = None,
    limit: Limit = 50,
) -> Page[DocumentView]:
    """The documents of a collection, or of an archive that was unpacked into it, newest first."""
    with wired.parts.db.read() as session:
        rows = documents.listing(session, found.scope, collection, after=after, limit=limit + 1, batch=batch)
        return page(rows, limit, DocumentView.model_validate, lambda row: str(row.id))


@router.get("/documents/{document_id}", operation_id="get_document", responses=documented(401, 404))
def get_document(document_id: str, found: Reader, wired: Wired) -> DocumentView:
    """A document as it stands."""
    with wired.parts.db.read() as session:
        row = access.document(session, found.scope, document_id)
        return DocumentView.model_validate(asdict(documents.view(session, row)))


@router.delete(
    "/documents/{document_id}", operation_id="delete_document", responses=documented(401, 403, 404)
)
def delete_document(document_id: str, found: Editor, wired: Wired) -> Deleted:
    """Delete a document with all its versions, for every reader at once; its job's statistics become the certificate."""
    with wired.parts.db.begin() as session:
        job = documents.delete(session, found.scope, document_id, grace=grace(wired))
        audit.record(session, found.who, "document.delete", document_id, {"collection_id": job.collection_id})
        return Deleted(id=document_id, job_id=job.id)


class Children(models.Response):
    """The documents inside another, in the order in which they were found."""

    data: list[DocumentView]
    next: None = None


@router.get("/documents/{document_id}/children", operation_id="list_children", responses=documented(401, 404))
def list_children(document_id: str, found: Reader, wired: Wired) -> Children:
    """The documents that were inside this one, such as the attachments of a mail."""
    with wired.parts.db.read() as session:
        rows = documents.children(session, found.scope, document_id)
        return Children(data=[DocumentView.model_validate(row) for row in rows])


@router.get("/documents/{document_id}/receipt", operation_id="get_receipt", responses=documented(401, 404))
def get_receipt(document_id: str, found: Reader, wired: Wired) -> Receipt:
    """What each stage saw of the newest version: pages, elements, chunks made, reused, embedded and stored.

    It may be asked for at any time: until `state` is that of a job that has ended, it tells what is known so far.
    """
    with wired.parts.db.read() as session:
        return Receipt.model_validate(documents.receipt(session, found.scope, document_id))


@router.get("/documents/{document_id}/versions", operation_id="list_versions", responses=documented(401, 404))
def list_versions(document_id: str, found: Reader, wired: Wired) -> Versions:
    """The versions of a document, newest first."""
    with wired.parts.db.read() as session:
        rows = versions.listing(session, found.scope, document_id)
        return Versions(data=[VersionView.model_validate(row) for row in rows])


@router.get(
    "/documents/{document_id}/versions/{number}/text",
    operation_id="get_text",
    response_class=PlainTextResponse,
    responses=documented(401, 404, 409),
)
def get_text(document_id: str, number: Number, found: Reader, wired: Wired) -> PlainTextResponse:
    """The canonical text, whose code points all offsets count."""
    with wired.parts.db.read() as session:
        return PlainTextResponse(versions.text(session, found.scope, document_id, number))


@router.get(
    "/documents/{document_id}/versions/{number}/original",
    operation_id="get_original",
    response_class=Response,
    responses=documented(401, 404, 503),
)
def get_original(document_id: str, number: Number, found: Reader, wired: Wired) -> StreamingResponse:
    """The bytes as uploaded, to be saved and never shown in place."""
    with wired.parts.db.read() as session:
        _, version = access.version(session, found.scope, document_id, number)
        key = session.get_one(Blob, version.blob_id).key
    headers = _attachment(version) | {"Content-Length": str(version.size)}
    return StreamingResponse(
        _begun(wired.parts.blobs.open(key)), media_type=version.media_type, headers=headers
    )


def _begun(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces, the first of them read now: an error can still become a problem document."""
    return chain([next(pieces, b"")], pieces)


def _attachment(version: Version) -> dict[str, str]:
    plain = version.filename.encode("ascii", "replace").decode().translate(str.maketrans('"\\?', "___"))
    encoded = quote(version.filename, safe="")
    return {
        "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
