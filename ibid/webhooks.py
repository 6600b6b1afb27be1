"""Webhooks: endpoints of others that are told what happens here, and the signature by which they know us.

Messages are signed as the Standard Webhooks specification says. A secret is kept as it is, since signing needs it.
"""

import base64
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import urlsplit

from sqlalchemy import delete as sql_delete
from sqlalchemy import select
from sqlalchemy.orm import Session

from ibid.clock import new_id, now
from ibid.db.tables import Delivery, Webhook
from ibid.errors import Forbidden, Invalid, NotFound
from ibid.keys import Holder, within
from ibid.outbound import SCHEMES
from ibid.outbox import EVENTS

MARK = "whsec_"
SECRET_BYTES = 32
LONGEST_URL = 2000


class WebhookNotFound(NotFound):
    """No webhook of this id is visible to the asker."""

    code = "webhook_not_found"


class BadWebhook(Invalid):
    """The endpoint's address or its events make no sense."""

    code = "bad_webhook"


class WebhookTooMighty(Forbidden):
    """A webhook cannot be told of more than its maker may see."""

    code = "webhook_exceeds_maker"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an endpoint should be told: of these collections (ids) and events; None is all."""

    url: str
    collections: Sequence[str] | None = None
    events: Sequence[str] | None = None


def create(session: Session, maker: Holder, wanted: Wanted) -> tuple[Webhook, str]:
    """A new endpoint and its secret, to be shown this once."""
    secret = MARK + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    row = Webhook(id=new_id("whk"), secret=secret, created_at=now())
    change(row, maker, wanted)
    session.add(row)
    session.flush()
    return row, secret


def change(row: Webhook, maker: Holder, wanted: Wanted) -> None:
    """Make the endpoint as it should be."""
    _check(maker, wanted)
    row.url = wanted.url
    row.collections = None if wanted.collections is None else list(wanted.collections)
    row.events = None if wanted.events is None else list(wanted.events)


def switch(row: Webhook, *, disabled: bool) -> None:
    """Disable or enable the endpoint; what waits for it is sent once it is enabled again."""
    if not disabled:
        row.disabled_at = row.disabled_reason = row.failing_since = None
    elif row.disabled_at is None:
        row.disabled_at, row.disabled_reason = now(), "asked"


def listing(session: Session, asker: Holder, *, after: str | None, limit: int) -> list[Webhook]:
    """All endpoints, oldest first, as far as the asker's collections reach."""
    query = select(Webhook).order_by(Webhook.id)
    if after:
        query = query.where(Webhook.id > after)
    return [row for row in session.scalars(query) if within(row.collections, asker.collections)][:limit]


def get(session: Session, asker: Holder, webhook_id: str, *, change: bool = False) -> Webhook:
    """The endpoint, if it is told of no more than the asker may see; locked, if it is to be changed."""
    row = session.get(Webhook, webhook_id, with_for_update=change or None)
    if row is None or not within(row.collections, asker.collections):
        raise WebhookNotFound(f"There is no webhook {webhook_id!r}. GET /v1/webhooks lists those there are.")
    return row


def delete(session: Session, row: Webhook) -> None:
    """Forget the endpoint with all that was or is to be sent to it."""
    session.execute(sql_delete(Delivery).where(Delivery.webhook_id == row.id))
    session.delete(row)
    session.flush()


def deliveries(
    session: Session, row: Webhook, *, state: str | None, after: str | None, limit: int
) -> list[Delivery]:
    """What was or is to be sent to the endpoint, newest first."""
    query = select(Delivery).where(Delivery.webhook_id == row.id).order_by(Delivery.id.desc()).limit(limit)
    if state:
        query = query.where(Delivery.state == state)
    if after:
        query = query.where(Delivery.id < after)
    return list(session.scalars(query))


def signed(secret: str, id_: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of a message sent at this Unix time."""
    key = base64.b64decode(secret.removeprefix(MARK))
    signature = hmac.digest(key, f"{id_}.{timestamp}.".encode() + body, sha256)
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": "v1," + base64.b64encode(signature).decode(),
    }


def _check(maker: Holder, wanted: Wanted) -> None:
    if not within(wanted.collections, maker.collections):
        raise WebhookTooMighty(
            "Your key is limited to some collections. Name those of them that the webhook is to be told of."
        )
    for event in wanted.events or ():
        if event not in EVENTS:
            raise BadWebhook(f"There is no event {event!r}. There are {', '.join(EVENTS)}.", param="events")
    if not _is_address(wanted.url):
        raise BadWebhook(
            f"A webhook's url is an https or http address of at most {LONGEST_URL} characters, without a user or a "
            "fragment.",
            param="url",
        )


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= LONGEST_URL
    return plain and named and parts.scheme in SCHEMES and "@" not in parts.netloc and not parts.fragment
