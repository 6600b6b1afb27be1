"""The outbox of webhooks: what happened is written down in the commit in which it happens, and sent afterwards.

A delivery is an event for one endpoint. It is sent at least once, always under the same id, until the endpoint takes
it or has refused it for about a day. Its payload is made of ids and states alone: it holds nothing of a document, so
that nothing needs to be withdrawn from it when the document is deleted.
"""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, Select, delete, func, select, update
from sqlalchemy.orm import Session

from ibid import audit
from ibid.clock import new_id, now
from ibid.db.tables import Delivery, Job, Webhook
from ibid.types import TERMINAL, JobKind, JobState

EVENTS = (
    "document.ready",
    "document.failed",
    "document.deleted",
    *sorted(f"job.{state}" for state in TERMINAL),
)
TEST = "webhook.test"
# Waits after the first attempts, as the Standard Webhooks specification has them, up to about a day in all.
SCHEDULE = tuple(
    timedelta(seconds=seconds) for seconds in (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600)
)
LEASE = timedelta(minutes=5)
BATCH = 5
DISABLED_AFTER = timedelta(days=3)
KEPT = timedelta(days=30)
HTTP_GONE = 410
SERVICE = audit.Who(key_id="", actor="service", request_id="")


@dataclass(frozen=True, slots=True)
class Message:
    """A delivery to be sent now; what becomes of it counts only while `attempt` is its last."""

    id: str
    attempt: int
    webhook_id: str
    url: str
    secret: str
    payload: Mapping[str, Any]


def announce_job(session: Session, job: Job) -> None:
    """Write down that a job has ended, and for an ingest that failed, that its document did."""
    error = {"code": job.error_code, "retryable": job.retryable} if job.error_code else None
    data = {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "attempt": job.attempt,
        "collection_id": job.collection_id,
        "document_id": job.document_id,
        "error": error,
    }
    _announce(session, f"job.{job.state}", job.collection_id, data)
    if job.kind == JobKind.INGEST and job.state == JobState.FAILED and job.document_id is not None:
        announce_document(session, "failed", job.collection_id, job.document_id, job_id=job.id, error=error)


def announce_document(
    session: Session, what: str, collection_id: str, document_id: str, **more: object
) -> None:
    """Write down what became of a document: ready, failed or deleted."""
    data = {"id": document_id, "collection_id": collection_id, **more}
    _announce(session, f"document.{what}", collection_id, data)


def try_out(session: Session, webhook: Webhook) -> Delivery:
    """A delivery that says nothing, for whoever sets up an endpoint."""
    return _write(session, webhook, TEST, {"webhook_id": webhook.id})


def due(session: Session, busy: Iterable[str]) -> bool:
    """Whether something is to be sent to an endpoint other than those."""
    return session.scalar(_due(busy).limit(1)) is not None


def claim(session: Session, busy: Iterable[str], endpoints: int) -> dict[str, list[Message]]:
    """What to send now, under a lease: some messages, oldest first, for each of at most so many endpoints."""
    place = func.row_number().over(partition_by=Delivery.webhook_id, order_by=(Delivery.next_at, Delivery.id))
    ranked = _due(busy).add_columns(place.label("place")).subquery()
    first = select(ranked.c.id).where(ranked.c.place <= BATCH).order_by(ranked.c.place, ranked.c.id)
    ids = list(session.scalars(first.limit(endpoints * BATCH)))
    moment = now()
    waiting = (
        select(Delivery, Webhook)
        .join(Webhook, Webhook.id == Delivery.webhook_id)
        .where(Delivery.id.in_(ids), Delivery.state == "pending", Delivery.next_at <= moment)
        .order_by(Delivery.id)
        .with_for_update(of=Delivery, skip_locked=True)
    )
    claimed: dict[str, list[Message]] = {}
    for row, webhook in session.execute(waiting):
        if webhook.id not in claimed and len(claimed) == endpoints:
            continue
        row.attempts += 1
        row.next_at = moment + LEASE
        message = Message(row.id, row.attempts, webhook.id, webhook.url, webhook.secret, row.payload)
        claimed.setdefault(webhook.id, []).append(message)
    return claimed


def delivered(session: Session, sent: Message, status: int) -> None:
    """The endpoint took it."""
    webhook = _locked(session, sent)
    taken = _end_attempt(session, sent, state="delivered", status=status, error=None, ended_at=now())
    if taken and webhook is not None:
        webhook.failing_since = None


def missed(session: Session, sent: Message, error: str, status: int | None = None) -> None:
    """The endpoint did not take it: it is sent again later, or was sent often enough.

    An endpoint that took nothing for days, or says that it is gone, is disabled.
    """
    moment = now()
    webhook = _locked(session, sent)
    over = sent.attempt > len(SCHEDULE)
    if over:
        ended = _end_attempt(session, sent, state="failed", status=status, error=error, ended_at=moment)
    else:
        wait = SCHEDULE[sent.attempt - 1] * random.uniform(1.0, 1.2)  # noqa: S311 - jitter
        ended = _end_attempt(session, sent, status=status, error=error, next_at=moment + wait)
    if not ended or webhook is None:
        return
    webhook.failing_since = webhook.failing_since or moment
    if status == HTTP_GONE:
        _disable(session, webhook, "gone")
    elif over and webhook.failing_since < moment - DISABLED_AFTER:
        _disable(session, webhook, "failing")


def expire(session: Session, moment: datetime) -> None:
    """Forget deliveries that are old, and those of endpoints that are gone."""
    gone = ~select(Webhook.id).where(Webhook.id == Delivery.webhook_id).exists()
    session.execute(delete(Delivery).where(gone | (Delivery.created_at < moment - KEPT)))


def _announce(session: Session, type_: str, collection_id: str, data: Mapping[str, Any]) -> None:
    for webhook in _enabled(session):
        everywhere = webhook.collections is None or collection_id in webhook.collections
        if everywhere and (webhook.events is None or type_ in webhook.events):
            _write(session, webhook, type_, data)


def _enabled(session: Session) -> list[Webhook]:
    """Asked once a transaction: deleting a collection tells of every document in it."""
    if "webhooks" not in session.info:
        session.info["webhooks"] = session.scalars(
            select(Webhook).where(Webhook.disabled_at.is_(None)).order_by(Webhook.id)
        ).all()
    return cast("list[Webhook]", session.info["webhooks"])


def _write(session: Session, webhook: Webhook, type_: str, data: Mapping[str, Any]) -> Delivery:
    moment = now()
    row = Delivery(
        id=new_id("msg"),
        webhook_id=webhook.id,
        type=type_,
        payload={"type": type_, "timestamp": moment.isoformat(), "data": dict(data)},
        state="pending",
        attempts=0,
        next_at=moment,
        created_at=moment,
    )
    session.add(row)
    return row


def _due(busy: Iterable[str]) -> Select[str]:
    return (
        select(Delivery.id)
        .join(Webhook, Webhook.id == Delivery.webhook_id)
        .where(
            Delivery.state == "pending",
            Delivery.next_at <= now(),
            Webhook.disabled_at.is_(None),
            Webhook.id.not_in(list(busy)),
        )
    )


def _locked(session: Session, sent: Message) -> Webhook | None:
    """The endpoint, locked before its delivery, as by whoever deletes both."""
    return session.get(Webhook, sent.webhook_id, with_for_update=True, populate_existing=True)


def _end_attempt(session: Session, sent: Message, **values: object) -> bool:
    """Whether the attempt was still the delivery's last, and so what became of it counts."""
    mine = update(Delivery).where(
        Delivery.id == sent.id, Delivery.attempts == sent.attempt, Delivery.state == "pending"
    )
    done = session.execute(mine.values(**values))
    return cast("CursorResult[Any]", done).rowcount == 1


def _disable(session: Session, webhook: Webhook, reason: str) -> None:
    if webhook.disabled_at is None:
        webhook.disabled_at, webhook.disabled_reason = now(), reason
        audit.record(session, SERVICE, "webhook.disable", webhook.id, {"reason": reason})
