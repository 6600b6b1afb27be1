"""Saved replies: a POST repeated with its `Idempotency-Key` has its effect once and the same reply twice.

A request first reserves its key under a lease, then saves its reply in the transaction of its effect. If it dies in
between, the lease ends and a repetition runs again; a first request that was only slow then finds its reservation
taken, and its transaction is rolled back.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, delete, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ibid.clock import now
from ibid.db.tables import Document, PartialUpload, SavedReply, SavedReplyName
from ibid.errors import Conflict, Invalid
from ibid.withdrawal import SourceDeleted

LEASE = timedelta(seconds=60)
KEPT = timedelta(hours=24)
LONGEST_KEY = 255
WITHDRAWN = 410
_ID = re.compile(r'"((?:doc|up)_[0-9a-f]{1,60})"')


class BadIdempotencyKey(Invalid):
    """The header cannot be a key."""

    code = "bad_idempotency_key"


class KeyReused(Invalid):
    """The same key came with another request."""

    code = "idempotency_key_reused"


class InProgress(Conflict):
    """The first request with this key has not ended. `retry_after` is in seconds."""

    code = "idempotency_in_progress"
    retryable = True

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Reservation:
    """The right to save the reply of one request; `until` fences it against who takes over after the lease."""

    key_id: str
    idempotency_key: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered the first time."""

    status: int
    body: dict[str, Any]


def reserve(session: Session, key_id: str, idempotency_key: str, request_hash: str) -> Reservation | Reply:
    """The saved reply, or the right to make it.

    Raises `KeyReused`, `InProgress` or `BadIdempotencyKey`, and `SourceDeleted` for a reply that may not be given again.
    """
    if not 0 < len(idempotency_key) <= LONGEST_KEY or not idempotency_key.isprintable():
        raise BadIdempotencyKey(
            f"Idempotency-Key is 1 to {LONGEST_KEY} printable characters.", param="Idempotency-Key"
        )
    moment = now()
    mine = Reservation(key_id, idempotency_key, moment + LEASE)
    same = (
        select(SavedReply)
        .where(SavedReply.key_id == key_id, SavedReply.idempotency_key == idempotency_key)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    row = None
    while row is None:  # the first request may be refused, and give its key back, between the two looks
        if _insert(session, mine, request_hash, moment):
            return mine
        row = session.scalar(same)
    if row.created_at < moment - KEPT and row.lease_until < moment:
        session.execute(delete(SavedReplyName).where(*_names_of(row)))
        row.request_hash, row.status, row.body, row.created_at = request_hash, None, None, moment
    if row.request_hash != request_hash:
        raise KeyReused(
            "This Idempotency-Key came with another request before. Use a new key for a new request."
        )
    if row.status is not None and row.body is not None:
        _check_sources(session, row)
        return Reply(row.status, row.body)
    if row.lease_until > moment:
        wait = (row.lease_until - moment).total_seconds()
        raise InProgress(
            "The first request with this Idempotency-Key is still being worked on.",
            retry_after=min(wait, 2.0),
        )
    row.lease_until = mine.until
    return mine


def save(session: Session, reservation: Reservation, status: int, body: Mapping[str, Any]) -> None:
    """Keep the reply, in the transaction of the effect; raises `InProgress` if the reservation was taken over."""
    done = session.execute(
        update(SavedReply).where(*_is(reservation)).values(status=status, body=dict(body), lease_until=now())
    )
    if cast("CursorResult[Any]", done).rowcount != 1:
        raise InProgress("This request took too long, and a repetition of it is being worked on now.")
    mine = {"key_id": reservation.key_id, "idempotency_key": reservation.idempotency_key}
    session.add_all(SavedReplyName(**mine, named=id_) for id_ in sorted(_named(body)))
    session.flush()


def release(session: Session, reservation: Reservation) -> None:
    """Give a key back whose request had no effect, so that it may be tried again at once."""
    session.execute(delete(SavedReply).where(*_is(reservation)))


def forget(session: Session, key_id: str, idempotency_key: str, named: str) -> None:
    """Give a key back whose saved reply names the document or upload, unless it was saved anew meanwhile."""
    mine = (SavedReply.key_id == key_id, SavedReply.idempotency_key == idempotency_key, naming({named}))
    row = session.scalar(select(SavedReply).where(*mine).with_for_update())
    if row is not None:
        session.execute(delete(SavedReplyName).where(*_names_of(row)))
        session.delete(row)


def expire(session: Session, moment: datetime) -> None:
    """Remove replies that are older than a day."""
    old = SavedReply.created_at < moment - KEPT
    session.execute(delete(SavedReply).where(old, SavedReply.lease_until < moment))


def naming(ids: Collection[str]) -> ColumnElement[bool]:
    """Predicate on `SavedReply`: it names one of the ids of documents or uploads."""
    told = select(SavedReplyName.key_id, SavedReplyName.idempotency_key)
    replies = tuple_(SavedReply.key_id, SavedReply.idempotency_key)
    return replies.in_(told.where(SavedReplyName.named.in_(ids)))


def withdraw(session: Session, ids: Collection[str]) -> int:
    """Empty the replies that name one of the ids of documents or uploads; their keys stay taken. Gives how many."""
    order = (SavedReply.key_id, SavedReply.idempotency_key)
    found = session.scalars(select(SavedReply).where(naming(ids)).order_by(*order).with_for_update()).all()
    for row in found:
        row.status, row.body = WITHDRAWN, {}
        session.execute(delete(SavedReplyName).where(*_names_of(row)))
    return len(found)


def _named(body: Mapping[str, Any]) -> set[str]:
    return set(_ID.findall(json.dumps(body)))


def _names_of(row: SavedReply) -> tuple[ColumnElement[bool], ...]:
    return SavedReplyName.key_id == row.key_id, SavedReplyName.idempotency_key == row.idempotency_key


def _check_sources(session: Session, row: SavedReply) -> None:
    """Raise `SourceDeleted` if the reply told of a document that was deleted since, or of an upload that is over."""
    named = _named(row.body or {})
    gone = select(Document.id).where(Document.id.in_(named), Document.deleted_at.is_not(None))
    uploads = {id_ for id_ in named if id_.startswith("up_")}
    going = select(PartialUpload.id).where(PartialUpload.id.in_(uploads), PartialUpload.expires_at > now())
    over = uploads.difference(session.scalars(going))
    if row.status == WITHDRAWN or over or session.scalar(gone.limit(1)) is not None:
        raise SourceDeleted(
            "The document or upload that the first reply told of was deleted. Use a new key for a new request."
        )


def _insert(session: Session, mine: Reservation, request_hash: str, moment: datetime) -> bool:
    try:
        with session.begin_nested():
            session.add(
                SavedReply(
                    key_id=mine.key_id,
                    idempotency_key=mine.idempotency_key,
                    request_hash=request_hash,
                    lease_until=mine.until,
                    created_at=moment,
                )
            )
    except IntegrityError:
        return False
    return True


def _is(reservation: Reservation) -> tuple[Any, ...]:
    return (
        SavedReply.key_id == reservation.key_id,
        SavedReply.idempotency_key == reservation.idempotency_key,
        SavedReply.lease_until == reservation.until,
        SavedReply.status.is_(None),
    )
