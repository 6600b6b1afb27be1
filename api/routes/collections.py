"""Collections of documents."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field
from sqlalchemy.orm import Session

from api import models
from api.auth import Admin, Asker, Editor, KeyLimited, Reader
from api.models import After, Limit, Page, Text, page
from api.once import OnceDep
from api.problems import documented
from api.routes.injected import Wired, grace
from ibid import access, audit, collections, integrity
from ibid.db.tables import Collection

router = APIRouter(prefix="/v1/collections", tags=["collections"])


class NewCollection(models.Request):
    """`access` names who may see it (`user:…`, `group:…`, `key:…`); without it, every key may."""

    name: Text
    description: Annotated[Text, Field(max_length=4000)] = ""
    access: Annotated[list[Text], Field(max_length=200)] | None = None


class CollectionView(models.Response):
    """A collection; `documents` counts those the asker may see."""

    id: str
    name: str
    description: str
    restricted: bool
    documents: int
    active_generation_id: str
    created_at: datetime


class Deleted(models.Response):
    """Gone for every reader; the job cleans up."""

    id: str
    job_id: str


class Repair(models.Request):
    """Whether to mend what is found."""

    repair: bool = False


class Comparison(models.Response):
    """One generation before any repair.

    `orphans` are points without a chunk, `gaps` chunks without a point, `stale` points with other rights or times.
    """

    generation_id: str
    chunks: int
    points: int
    orphans: int
    gaps: int
    stale: int
    repaired: bool


class Verification(models.Response):
    """What the comparison of SQL and vectors found."""

    collection_id: str
    generations: list[Comparison]


@router.post(
    "",
    operation_id="create_collection",
    status_code=201,
    response_model=CollectionView,
    responses=documented(401, 403, 409, 422),
)
def create_collection(body: NewCollection, found: Editor, wired: Wired, once: OnceDep) -> Response:
    """Make an empty collection."""
    if not found.unlimited:
        raise KeyLimited(
            "This key is limited to some collections, so it cannot make another. Ask an administrator."
        )
    recipe = wired.parts.recipe()

    def create(session: Session) -> CollectionView:
        made = collections.create(
            session, name=body.name, description=body.description, grants=body.access, recipe=recipe
        )
        audit.record(session, found.who, "collection.create", made.id)
        return _shown((made, 0))

    return once.run(201, create)


@router.get("", operation_id="list_collections", responses=documented(401))
def list_collections(
    found: Reader, wired: Wired, after: After = None, limit: Limit = 50
) -> Page[CollectionView]:
    """Collections in order of creation."""
    with wired.parts.db.read() as session:
        rows = collections.listing(session, found.scope, after=after, limit=limit + 1)
        return page(rows, limit, _shown, lambda row: str(row[0].id))


@router.get("/{collection}", operation_id="get_collection", responses=documented(401, 404))
def get_collection(collection: str, found: Reader, wired: Wired) -> CollectionView:
    """A collection by id or name."""
    with wired.parts.db.read() as session:
        row = access.collection(session, found.scope, collection)
        return _shown((row, collections.size(session, found.scope, row)))


@router.delete("/{collection}", operation_id="delete_collection", responses=documented(401, 403, 404))
def delete_collection(collection: str, found: Editor, wired: Wired) -> Deleted:
    """Delete a collection with all its documents, for every reader at once; its job's statistics become the certificate."""
    with wired.parts.db.begin() as session:
        row = access.collection(session, found.scope, collection)
        job = collections.delete(session, found.scope, row.id, grace=grace(wired))
        audit.record(session, found.who, "collection.delete", row.id)
        return Deleted(id=row.id, job_id=job.id)


@router.post(
    "/{collection}/verify",
    operation_id="verify_collection",
    response_model=Verification,
    responses=documented(401, 403, 404, 503),
)
def verify_collection(
    collection: str, found: Admin, wired: Wired, once: OnceDep, body: Repair | None = None
) -> Response:
    """Compare SQL and the vector store both ways, and repair the store if asked."""
    return once.run_outside(200, lambda: _verify(found, wired, collection, repair=bool(body and body.repair)))


def _verify(found: Asker, wired: Wired, ref: str, *, repair: bool) -> Verification:
    compared = integrity.verify(wired.parts, found.scope, ref, repair=repair)
    with wired.parts.db.begin() as session:
        row = access.collection(session, found.scope, ref)
        audit.record(session, found.who, "collection.verify", row.id, {"repair": repair})
    return Verification(
        collection_id=row.id,
        generations=[
            Comparison(
                generation_id=each.generation_id,
                chunks=each.chunks,
                points=each.points,
                orphans=each.orphans,
                gaps=each.gaps,
                stale=each.stale,
                repaired=each.repaired,
            )
            for each in compared
        ],
    )


def _shown(row: tuple[Collection, int]) -> CollectionView:
    made, documents = row
    return CollectionView(
        id=made.id,
        name=made.name,
        description=made.description,
        restricted=made.restricted,
        documents=documents,
        active_generation_id=made.active_generation_id,
        created_at=made.created_at,
    )
