"""Deleting documents by what they are called and what is said of them."""

import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from ibid import access, families, removal
from ibid.db.tables import Collection, Document, Job
from ibid.errors import Invalid
from ibid.types import Scope

AT_ONCE: Final = 1000


class NoFilter(Invalid):
    """A deletion by filter that has none would delete everything."""

    code = "no_filter"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which documents: all that is given must hold. `name` is a glob, `external_id` a beginning."""

    name: str | None = None
    external_id: str | None = None
    before: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    batch: str | None = None

    def __post_init__(self) -> None:
        if not self.metadata and self.before is None and not (self.name or self.external_id or self.batch):
            raise NoFilter(
                "Say which documents: name, external_id, before, batch or metadata.KEY. "
                "To delete all of them, delete the collection."
            )

    def matches(self, document: Document) -> bool:
        """Whether the document is meant."""
        return (
            (self.name is None or fnmatchcase(document.name, self.name))
            and (self.external_id is None or (document.external_id or "").startswith(self.external_id))
            and (self.before is None or document.updated_at < self.before)
            and (self.batch is None or document.batch_id == self.batch)
            and all(_says(document.meta, key, value) for key, value in self.metadata.items())
        )


def matching(session: Session, scope: Scope, ref: str, wanted: Filter) -> list[str]:
    """Ids of the visible documents of the collection that the filter means, in order of creation."""
    collection = access.collection(session, scope, ref)
    seen = (
        select(Document)
        .join(Collection, Collection.id == Document.collection_id)
        .where(Document.collection_id == collection.id, access.sees_document(scope))
        .order_by(Document.id)
        .execution_options(yield_per=500)
    )
    return [document.id for document in session.scalars(seen) if wanted.matches(document)]


def delete(session: Session, scope: Scope, ids: list[str], *, grace: timedelta | None) -> list[Job]:
    """Delete them for every reader in this commit, each with a job that cleans up; one that is gone is left out.

    One that is inside another of them goes with that, and its job is not given.
    """
    held = {document.id: document for document in families.hold(session, ids)}
    seen = (
        select(Document.id)
        .join(Collection, Collection.id == Document.collection_id)
        .where(Document.id.in_(ids), access.sees_document(scope))
    )
    meant = [held[id_] for id_ in sorted(session.scalars(seen)) if id_ in held]
    others = {document.id for document in meant}
    alone = [document for document in meant if not _goes_with(session, document, others)]
    for document in alone:
        families.keep_out(session, document)
    return removal.remove(session, alone, grace=grace)


def _goes_with(session: Session, document: Document, others: AbstractSet[str]) -> bool:
    return any(above.id in others for above in families.around(session, document))


def _says(meta: Mapping[str, object], key: str, value: str) -> bool:
    """Whether metadata hold the value: a text as it is, anything else as JSON."""
    return key in meta and (meta[key] == value or json.dumps(meta[key]) == value)
