"""Reindexes: another generation built beside the active one, switched to, and rolled back."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import Field
from sqlalchemy.orm import Session

from api import models
from api.auth import Admin, Asker
from api.once import OnceDep
from api.problems import documented
from api.routes.injected import Wired
from api.wiring import Wiring
from ibid import access, audit, generations
from ibid.db.tables import Generation, Reindex
from ibid.embedding.registry import encoder_for
from ibid.types import ChunkerConfig, Recipe

router = APIRouter(prefix="/v1", tags=["reindexes"])


class Chunker(models.Request):
    """Budgets of a chunk in tokens of the embedder."""

    max_tokens: Annotated[int, Field(ge=1, le=8192)] = 200
    min_tokens: Annotated[int, Field(ge=1, le=8192)] = 40
    overlap_sentences: Annotated[int, Field(ge=0, le=20)] = 0


class NewReindex(models.Request):
    """What the new generation is made with; what is left out stays as it is."""

    embedder: models.Text | None = None
    chunker: Chunker | None = None


class ReindexView(models.Response):
    """A reindex: building, switched, rolled_back, failed or cancelled. The job tells how far it is."""

    id: str
    collection_id: str
    from_generation_id: str
    to_generation_id: str
    job_id: str
    state: str
    embedder: str
    chunker: dict[str, Any]
    created_at: datetime
    switched_at: datetime | None
    rolled_back_at: datetime | None


class Reindexes(models.Response):
    """All reindexes of a collection, newest first."""

    data: list[ReindexView]
    next: None = None


@router.post(
    "/collections/{collection}/reindexes",
    operation_id="start_reindex",
    status_code=202,
    response_model=ReindexView,
    responses=documented(401, 403, 404, 409, 422, 503),
)
def start_reindex(
    collection: str, found: Admin, wired: Wired, once: OnceDep, body: NewReindex | None = None
) -> Response:
    """Build another generation beside the active one; readers are switched to it in one commit when it is whole."""
    recipe = _recipe(wired, found, collection, body or NewReindex())

    def start(session: Session) -> ReindexView:
        made = generations.start_reindex(session, found.scope, collection, recipe)
        detail = {"reindex_id": made.id, "embedder": recipe.embedder}
        audit.record(session, found.who, "reindex.start", made.collection_id, detail)
        return _shown(session, made)

    return once.run(202, start)


@router.get(
    "/collections/{collection}/reindexes", operation_id="list_reindexes", responses=documented(401, 403, 404)
)
def list_reindexes(collection: str, found: Admin, wired: Wired) -> Reindexes:
    """The reindexes of a collection, newest first."""
    with wired.parts.db.read() as session:
        rows = generations.listing(session, found.scope, collection)
        return Reindexes(data=[_shown(session, row) for row in rows])


@router.get("/reindexes/{reindex_id}", operation_id="get_reindex", responses=documented(401, 403, 404))
def get_reindex(reindex_id: str, found: Admin, wired: Wired) -> ReindexView:
    """A reindex as it stands."""
    with wired.parts.db.read() as session:
        return _shown(session, generations.get(session, found.scope, reindex_id))


@router.post(
    "/reindexes/{reindex_id}/rollback",
    operation_id="roll_back",
    response_model=ReindexView,
    responses=documented(401, 403, 404, 409, 503),
)
def roll_back(reindex_id: str, found: Admin, wired: Wired, once: OnceDep) -> Response:
    """Answer from the former generation again, at once."""
    with wired.parts.db.read() as session:
        recipe = generations.kept_recipe(session, found.scope, reindex_id)
    if recipe is not None:  # loaded before readers are sent there: the next search needs it
        encoder_for(wired.parts.encoders, recipe)

    def back(session: Session) -> ReindexView:
        row = generations.roll_back(session, found.scope, reindex_id)
        audit.record(session, found.who, "reindex.roll_back", row.collection_id, {"reindex_id": row.id})
        return _shown(session, row)

    return once.run(200, back)


def _recipe(wired: Wiring, found: Asker, collection: str, body: NewReindex) -> Recipe:
    """How the new generation is made; loads the encoder, so outside of any transaction."""
    with wired.parts.db.read() as session:
        row = access.collection(session, found.scope, collection)
        current = generations.recipe_of(session.get_one(Generation, row.active_generation_id))
    recipe = wired.parts.recipe(body.embedder or current.embedder)
    longest = wired.parts.encoders.get(recipe.embedder).max_tokens
    chunker = ChunkerConfig(**body.chunker.model_dump()) if body.chunker else current.chunker.fitted(longest)
    generations.check_budget(chunker, longest)
    return replace(recipe, chunker=chunker)


def _shown(session: Session, row: Reindex) -> ReindexView:
    return ReindexView.model_validate(generations.view(session, row))
