"""Search: passages without an answer."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from api import models
from api.auth import Reader
from api.once import IdempotencyKey
from api.problems import documented
from api.routes.injected import Wired
from retrieval.search import search as find

router = APIRouter(prefix="/v1/search", tags=["search"])


class Query(models.Request):
    """A question for a collection, by id or name."""

    collection: models.Text
    query: str
    limit: Annotated[int, Field(description="from 1 to 50")] = 10


class Legs(models.Response):
    """Scores in each leg; null where that leg did not find the passage."""

    dense: float | None
    sparse: float | None


class HitView(models.Response):
    """A passage: `text` is the canonical text's slice [start, end); `page` counts from 1, null without pages."""

    document_id: str
    document: str
    version: int
    chunk_id: str
    text: str
    start: int
    end: int
    page: int | None
    heading: list[str]
    score: float
    legs: Legs


class Found(models.Response):
    """Passages, best first. `timings` are in milliseconds."""

    hits: list[HitView]
    collection_id: str
    generation_id: str
    timings: dict[str, float]


@router.post("", operation_id="search", responses=documented(401, 404, 422, 503))
def search(
    body: Query,
    found: Reader,
    wired: Wired,
    idempotency_key: IdempotencyKey = None,  # noqa: ARG001 - documented, and honoured by having no effect
) -> Found:
    """The passages nearest to a question. A search changes nothing, so a repetition simply searches again."""
    result = find(wired.kit, found.scope, body.collection, body.query, body.limit)
    seen = {"documents": sorted({hit.document_id for hit in result.hits}), "hits": len(result.hits)}
    wired.trail.note(found.who, "search", result.collection_id, seen)
    return Found.model_validate(result)
