"""Facets: which values documents have under a key, and how many documents have each. From SQL alone."""

from dataclasses import dataclass

from sqlalchemy import Select, func, or_, select

from ibid import access, described
from ibid.db.tables import Collection, Document, Version
from ibid.errors import Invalid
from ibid.filters import Filter, Scalar, is_key
from ibid.types import Scope
from retrieval.kit import Kit
from retrieval.search import check_as_of


class BadKey(Invalid):
    """What cannot be a key of a filter has no facet."""

    code = "invalid_key"


@dataclass(frozen=True, slots=True)
class Count:
    """How many documents have the value, alone or in a list."""

    value: Scalar
    count: int


@dataclass(frozen=True, slots=True)
class Facet:
    """The values under a key that most documents have, these first; `more` if there are others."""

    key: str
    values: tuple[Count, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Facets:
    """The facets of the keys that were asked for, in that order."""

    collection_id: str
    facets: tuple[Facet, ...]


def facets(
    kit: Kit, scope: Scope, collection_ref: str, keys: list[str], limit: int, *, filters: Filter | None = None
) -> Facets:
    """For each key at most `limit` values of the documents that a search with this filter would read."""
    check_as_of(kit, scope)
    for key in keys:
        if not is_key(key):
            raise BadKey(f"{key[:80]!r} cannot be a key of a filter.", param="keys")
    with kit.db.read() as session:
        collection = access.collection(session, scope, collection_ref)
        found = []
        for key in keys:
            facts = described.rows_of(session)()
            rows = _rows(scope, collection.id, facts).where(facts.key == key)
            if filters is not None:
                rows = rows.where(described.says(session, filters))
            counts = [_count(*row) for row in session.execute(_counted(rows, limit + 1))]
            found.append(Facet(key, tuple(counts[:limit]), more=len(counts) > limit))
        return Facets(collection.id, tuple(found))


def _rows(scope: Scope, collection_id: str, facts: described.Facts) -> Select[str, str, float, str]:
    """A row for each fact of each document that the scope reads: one of its versions was live at that time."""
    return (
        select(
            Document.id,
            facts.text.label("text"),
            facts.number.label("number"),
            facts.truth.label("truth"),
        )
        .select_from(Document)
        .join(Collection, Collection.id == Document.collection_id)
        .join(Version, Version.document_id == Document.id)
        .select_from(*facts.tables)
        .where(
            Document.collection_id == collection_id,
            access.sees_document(scope),
            access.version_live(scope.as_of),
            or_(facts.text.is_not(None), facts.number.is_not(None), facts.truth.is_not(None)),
        )
        .distinct()
    )


def _counted(rows: Select[str, str, float, str], limit: int) -> Select[str, float, str, int]:
    """The values of the rows, those of most documents first, and of as many in the order of their kind."""
    each = rows.subquery()
    many = func.count().label("many")
    values = (each.c.text, each.c.number, each.c.truth)
    return (
        select(*values, many)
        .group_by(*values)
        .order_by(many.desc(), *(value.nulls_last() for value in values))
        .limit(limit)
    )


def _count(text: str | None, number: float | None, truth: str | None, count: int) -> Count:
    if text is not None:
        return Count(text, count)
    if number is not None:
        return Count(number + 0.0, count)  # minus zero is zero, as it is to filters
    return Count(truth == "true", count)
