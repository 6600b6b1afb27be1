"""Deleting many documents at once."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from api import models
from api.auth import Editor
from api.problems import documented
from api.routes.injected import Wired, grace
from ibid import audit, deletions
from ibid.deletions import Filter
from ibid.errors import Invalid

router = APIRouter(prefix="/v1/collections", tags=["documents"])

KNOWN = {"name", "external_id", "before", "batch", "dry_run"}
METADATA = "metadata."


class UnknownFilter(Invalid):
    """A filter that is not known would be left out, and more be deleted than was meant."""

    code = "unknown_filter"


class DeletedDocuments(models.Response):
    """How many documents the filter means, and the jobs that clean up after those deleted now, at most 1,000 a call.

    Each job's statistics become the certificate of its document.
    """

    matched: int
    deleted: int
    job_ids: list[str]
    dry_run: bool


def meant(
    request: Request,
    name: Annotated[str | None, Query(description="a glob, such as `*.tmp`", max_length=512)] = None,
    external_id: Annotated[str | None, Query(description="how it begins", max_length=512)] = None,
    before: Annotated[datetime | None, Query(description="last changed before")] = None,
    batch: Annotated[
        str | None, Query(description="the job that unpacked their archive", max_length=64)
    ] = None,
) -> Filter:
    """The filter of a deletion."""
    return Filter(name, external_id, _zoned(before), _metadata(request), batch)


@router.delete(
    "/{collection}/documents",
    operation_id="delete_documents",
    responses=documented(401, 403, 404, 422),
)
def delete_documents(
    collection: str,
    found: Editor,
    wired: Wired,
    wanted: Annotated[Filter, Depends(meant)],
    *,
    dry_run: Annotated[bool, Query(description="only say how many")] = False,
) -> DeletedDocuments:
    """Delete the documents that all the given filters mean; `metadata.KEY=VALUE` is one, too. At least one is needed."""
    with wired.parts.db.begin() as session:
        ids = deletions.matching(session, found.scope, collection, wanted)
        some = [] if dry_run else ids[: deletions.AT_ONCE]
        jobs = deletions.delete(session, found.scope, some, grace=grace(wired))
        for job in jobs:
            detail = {"collection_id": job.collection_id, "by_filter": True}
            audit.record(session, found.who, "document.delete", job.document_id or "", detail)
        return DeletedDocuments(
            matched=len(ids), deleted=len(jobs), job_ids=[job.id for job in jobs], dry_run=dry_run
        )


def _metadata(request: Request) -> dict[str, str]:
    given = request.query_params
    if unknown := {key for key in given if key not in KNOWN and not key.startswith(METADATA)}:
        raise UnknownFilter(f"There is no filter {min(unknown)!a}, so nothing was deleted.", param="query")
    return {key.removeprefix(METADATA): given[key] for key in given if key.startswith(METADATA)}


def _zoned(moment: datetime | None) -> datetime | None:
    """A moment without a zone is one of UTC."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
