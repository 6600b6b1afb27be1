"""Access rules, in one place: what a `Scope` may see, as predicates on tables and as look-ups that refuse.

What a scope may not see does not exist for it: look-ups raise `NotFound`, never `Forbidden`.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Select, and_, or_, select, true
from sqlalchemy.orm import Session

from ibid.clock import now
from ibid.db.tables import Arrival, Collection, CollectionGrant, Document, DocumentGrant, Job, Version
from ibid.errors import NotFound
from ibid.types import Scope

EVERYTHING: Final = Scope(key_id="", role="admin")
"""What the service itself sees, on nobody's behalf."""


class CollectionNotFound(NotFound):
    """No collection of this id or name is visible to the asker."""

    code = "collection_not_found"


class DocumentNotFound(NotFound):
    """No document of this id is visible to the asker."""

    code = "document_not_found"


class VersionNotFound(NotFound):
    """The document has no version of this number."""

    code = "version_not_found"


def sees_collection(scope: Scope) -> ColumnElement[bool]:
    """Predicate on `Collection`: not deleted, and within reach."""
    return and_(Collection.deleted_at.is_(None), reaches_collection(scope))


def reaches_collection(scope: Scope) -> ColumnElement[bool]:
    """Predicate on `Collection`, deleted or not: among the key's collections, and open or granted to a principal."""
    rules: list[ColumnElement[bool]] = []
    if scope.collections is not None:
        rules.append(Collection.id.in_(scope.collections))
    if scope.principals is not None:
        granted = select(CollectionGrant.collection_id).where(
            CollectionGrant.collection_id == Collection.id, CollectionGrant.principal.in_(scope.principals)
        )
        rules.append(or_(Collection.restricted.is_(False), granted.exists()))
    return and_(true(), *rules)


def sees_document(scope: Scope) -> ColumnElement[bool]:
    """Predicate on `Document` joined to its `Collection`: both visible."""
    return and_(Collection.deleted_at.is_(None), Document.deleted_at.is_(None), reaches_document(scope))


def reaches_document(scope: Scope) -> ColumnElement[bool]:
    """Predicate on `Document` joined to its `Collection`, deleted or not: both within reach."""
    rules = [reaches_collection(scope)]
    if scope.principals is not None:
        granted = select(DocumentGrant.document_id).where(
            DocumentGrant.document_id == Document.id, DocumentGrant.principal.in_(scope.principals)
        )
        rules.append(or_(Document.restricted.is_(False), granted.exists()))
    return and_(*rules)


def sees_arrival(scope: Scope) -> ColumnElement[bool]:
    """Predicate on `Job`: what it is to bring in has no access list, or the asker sent it.

    What became of an archive names the files that were refused, which are no documents with an access list to check.
    """
    if scope.principals is None:
        return true()
    own = and_(Arrival.key_id == scope.key_id, Arrival.actor == scope.actor)
    others = select(Arrival.job_id).where(Arrival.job_id == Job.id, Arrival.restricted, ~own)
    return ~others.exists()


def version_live(as_of: datetime | None) -> ColumnElement[bool]:
    """Predicate on `Version`: what readers saw at `as_of` (None: see now)."""
    if as_of is None:
        return and_(Version.live_from.is_not(None), Version.live_to.is_(None))
    return and_(Version.live_from <= as_of, or_(Version.live_to.is_(None), Version.live_to > as_of))


def named(scope: Scope, ref: str) -> Select[Collection]:
    """The visible collection with this id or, failing that, this name, if there is one."""
    either = or_(Collection.id == ref, Collection.name == ref)
    return select(Collection).where(sees_collection(scope), either).order_by(Collection.id != ref).limit(1)


def collection(session: Session, scope: Scope, ref: str, *, keep: bool = False) -> Collection:
    """The visible collection with this id or, failing that, this name; with `keep`, not deleted until we commit."""
    seen = named(scope, ref)
    if keep:
        seen = seen.with_for_update(read=True)
    found = session.scalar(seen)
    if found is None:
        raise no_collection(ref)
    return found


def no_collection(ref: str) -> CollectionNotFound:
    """The error of a collection that the asker may not see, or that is none."""
    return CollectionNotFound(f"There is no collection {ref!r}. GET /v1/collections lists those you may see.")


def document(session: Session, scope: Scope, document_id: str) -> Document:
    """The visible document with this id."""
    found = session.scalar(
        select(Document)
        .join(Collection, Collection.id == Document.collection_id)
        .where(Document.id == document_id, sees_document(scope))
    )
    if found is None:
        raise DocumentNotFound(f"There is no document {document_id!r}, or it was deleted.")
    return found


def version(session: Session, scope: Scope, document_id: str, number: int) -> tuple[Document, Version]:
    """The version of a visible document with this number."""
    owner = document(session, scope, document_id)
    found = session.scalar(select(Version).where(Version.document_id == owner.id, Version.number == number))
    if found is None:
        raise VersionNotFound(f"Document {document_id!r} has no version {number}.")
    return owner, found


def moment(scope: Scope) -> datetime:
    """The time a scope reads at."""
    return scope.as_of or now()
