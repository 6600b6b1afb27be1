"""The audit trail: who did what to what. A row names things by id and holds no text of a document."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ibid.clock import new_id, now
from ibid.db.tables import Audit

LONGEST_ACTOR = 256


@dataclass(frozen=True, slots=True)
class Who:
    """The key, the person it acts for (or the key itself), and the request."""

    key_id: str
    actor: str
    request_id: str


def record(
    session: Session, who: Who, action: str, resource: str, detail: Mapping[str, Any] | None = None
) -> None:
    """Write a row in the transaction of what it tells of, so that neither is without the other."""
    session.add(row(who, action, resource, detail or {}))


def row(who: Who, action: str, resource: str, detail: Mapping[str, Any]) -> Audit:
    """A row of the present moment."""
    return Audit(
        id=new_id("aud"),
        at=now(),
        key_id=who.key_id,
        actor=who.actor[:LONGEST_ACTOR],
        action=action,
        resource=resource[:256],
        request_id=who.request_id,
        detail=dict(detail),
    )


def listing(session: Session, *, action: str | None, after: str | None, limit: int) -> list[Audit]:
    """Newest first."""
    query = select(Audit).order_by(Audit.id.desc()).limit(limit)
    if action:
        query = query.where(Audit.action == action)
    if after:
        query = query.where(Audit.id < after)
    return list(session.scalars(query))
