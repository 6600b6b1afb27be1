"""Collections: created with an active generation, and deleted for readers in one commit."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ibid import access, forgetting, generations, jobs, outbox, withdrawal
from ibid.clock import new_id, now
from ibid.db.tables import Collection, CollectionGrant, Document, Job
from ibid.errors import Conflict, Invalid
from ibid.principals import checked
from ibid.types import JobKind, Recipe, Scope


class CollectionExists(Conflict):
    """There is a collection of this name."""

    code = "collection_exists"


class BadCollectionName(Invalid):
    """The name cannot be used in addresses."""

    code = "bad_collection_name"


def create(
    session: Session,
    *,
    name: str,
    description: str,
    grants: Sequence[str] | None,
    recipe: Recipe,
) -> Collection:
    """A new, empty collection. `grants` None leaves it open to every key; a list restricts it to these principals."""
    name = name.strip()
    if not name or len(name) > 200 or not name.isprintable() or "/" in name or name.startswith("col_"):
        raise BadCollectionName(
            "A collection's name is 1 to 200 printable characters without '/' and does not begin with 'col_'.",
            param="name",
        )
    collection = Collection(
        id=new_id("col"),
        name=name,
        description=description,
        restricted=grants is not None,
        active_generation_id="",
        created_at=now(),
    )
    try:
        with session.begin_nested():
            session.add(collection)
    except IntegrityError as error:
        raise CollectionExists(f"There is already a collection named {name!r}.", param="name") from error
    collection.active_generation_id = generations.create(session, collection.id, recipe, "active").id
    for principal in checked(grants or ()):
        session.add(CollectionGrant(collection_id=collection.id, principal=principal))
    session.flush()
    return collection


def listing(session: Session, scope: Scope, *, after: str | None, limit: int) -> list[tuple[Collection, int]]:
    """Visible collections in order of creation, each with the number of documents the asker may see in it."""
    query = select(Collection).where(access.sees_collection(scope)).order_by(Collection.id).limit(limit)
    if after:
        query = query.where(Collection.id > after)
    return [(found, size(session, scope, found)) for found in session.scalars(query)]


def size(session: Session, scope: Scope, collection: Collection) -> int:
    """How many documents of the collection the asker may see."""
    seen = (
        select(func.count())
        .select_from(Document)
        .join(Collection, Collection.id == Document.collection_id)
        .where(Document.collection_id == collection.id, access.sees_document(scope))
    )
    return session.scalar(seen) or 0


def delete(session: Session, scope: Scope, ref: str, *, grace: timedelta | None) -> Job:
    """Delete the collection with all its documents for every reader in this commit; the job cleans up after it.

    `grace` is as for `documents.delete`.
    """
    found = access.collection(session, scope, ref)
    collection = generations.lock_collection(session, found.id)
    if collection.deleted_at is not None:
        raise access.CollectionNotFound(f"There is no collection {ref!r}: it was deleted a moment ago.")
    living = select(Document).where(Document.collection_id == collection.id, Document.deleted_at.is_(None))
    rows = session.scalars(living.order_by(Document.id).with_for_update()).all()
    theirs = select(Job.id).where(Job.collection_id == collection.id).order_by(Job.id)
    session.execute(theirs.with_for_update()).all()  # ended ones too: what they said is withdrawn
    last_lease = jobs.cancel_for(session, collection_id=collection.id)
    collection.deleted_at = now()
    not_before = (last_lease or now()) + grace if grace is not None else None
    job = jobs.enqueue(session, JobKind.PURGE, collection.id, not_before=not_before)
    for document in rows:
        document.deleted_at = collection.deleted_at
    withdrawn = withdrawal.withdraw(
        session, select(Document.id).where(Document.collection_id == collection.id)
    )
    for document in rows:
        forgetting.note(session, job.id, document.id, withdrawn[document.id])
        outbox.announce_document(session, "deleted", collection.id, document.id)
    session.flush()
    return job
