"""Webhooks: endpoints of others that are told what becomes of documents and jobs."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from pydantic import Field
from sqlalchemy.orm import Session

from api import models
from api.auth import Admin, Asker
from api.models import After, Limit, Page, Text, page
from api.once import REPLAYED, OnceDep
from api.problems import documented
from api.routes.injected import Wired
from ibid import access, audit, outbox, webhooks
from ibid.replies import Reply
from ibid.webhooks import Wanted

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

State = Literal["pending", "delivered", "failed"]
Url = Annotated[Text, Field(max_length=webhooks.LONGEST_URL)]
Collections = Annotated[list[Text], Field(max_length=1000)]
Events = Annotated[list[Text], Field(max_length=100)]


class NewWebhook(models.Request):
    """`collections` are ids or names, null for all; `events` are names such as document.ready, null for all."""

    url: Url
    collections: Collections | None = None
    events: Events | None = None


class WebhookChange(models.Request):
    """What is left out stays as it is. `disabled` false sends again, beginning with what waits."""

    url: Url | None = None
    collections: Collections | None = None
    events: Events | None = None
    disabled: bool | None = None


class WebhookView(models.Response):
    """An endpoint without its secret. It is disabled because somebody asked, it says it is gone, or it keeps failing."""

    id: str
    url: str
    collections: list[str] | None
    events: list[str] | None
    created_at: datetime
    failing_since: datetime | None
    disabled_at: datetime | None
    disabled_reason: Literal["asked", "gone", "failing"] | None


class MadeWebhook(WebhookView):
    """A new endpoint. `secret` is shown this once: a repetition under the same Idempotency-Key has null."""

    secret: str | None


class DeliveryView(models.Response):
    """An event for the endpoint; its id is the message's `webhook-id`. `error` is why the last attempt did not do."""

    id: str
    type: str
    payload: dict[str, Any]
    state: State
    attempts: int
    next_at: datetime
    status: int | None
    error: str | None
    created_at: datetime
    ended_at: datetime | None


@router.post(
    "",
    operation_id="create_webhook",
    status_code=201,
    response_model=MadeWebhook,
    responses=documented(401, 403, 404, 409, 422),
)
def create_webhook(body: NewWebhook, found: Admin, wired: Wired, once: OnceDep) -> Response:
    """Have an endpoint told of events from now on, signed as the Standard Webhooks specification says."""
    with once.reserved() as mine:
        if isinstance(mine, Reply):
            return JSONResponse(mine.body, mine.status, REPLAYED)
        with wired.parts.db.begin() as session:
            ids = _ids(session, found, body.collections)
            row, secret = webhooks.create(session, found.holder, Wanted(body.url, ids, body.events))
            audit.record(
                session, found.who, "webhook.create", row.id, {"collections": ids, "events": row.events}
            )
            made = WebhookView.model_validate(row).model_dump(mode="json")
            once.save(session, mine, 201, made | {"secret": None})
    return JSONResponse(made | {"secret": secret}, 201)


@router.get("", operation_id="list_webhooks", responses=documented(401, 403))
def list_webhooks(found: Admin, wired: Wired, after: After = None, limit: Limit = 50) -> Page[WebhookView]:
    """All endpoints, oldest first, never their secrets."""
    with wired.parts.db.read() as session:
        rows = webhooks.listing(session, found.holder, after=after, limit=limit + 1)
        return page(rows, limit, WebhookView.model_validate, lambda row: str(row.id))


@router.get("/{webhook_id}", operation_id="get_webhook", responses=documented(401, 403, 404))
def get_webhook(webhook_id: str, found: Admin, wired: Wired) -> WebhookView:
    """An endpoint, never its secret."""
    with wired.parts.db.read() as session:
        return WebhookView.model_validate(webhooks.get(session, found.holder, webhook_id))


@router.patch("/{webhook_id}", operation_id="update_webhook", responses=documented(401, 403, 404, 422))
def update_webhook(webhook_id: str, body: WebhookChange, found: Admin, wired: Wired) -> WebhookView:
    """Change where an endpoint is and what it is told of, disable it or enable it again."""
    with wired.parts.db.begin() as session:
        row = webhooks.get(session, found.holder, webhook_id, change=True)
        given = body.model_fields_set
        wanted = Wanted(
            body.url or row.url,
            _ids(session, found, body.collections) if "collections" in given else row.collections,
            body.events if "events" in given else row.events,
        )
        webhooks.change(row, found.holder, wanted)
        if body.disabled is not None:
            webhooks.switch(row, disabled=body.disabled)
        audit.record(session, found.who, "webhook.update", row.id, {"changed": sorted(given)})
        return WebhookView.model_validate(row)


@router.delete("/{webhook_id}", operation_id="delete_webhook", responses=documented(401, 403, 404))
def delete_webhook(webhook_id: str, found: Admin, wired: Wired) -> WebhookView:
    """Forget an endpoint with all that was or is to be sent to it."""
    with wired.parts.db.begin() as session:
        row = webhooks.get(session, found.holder, webhook_id, change=True)
        gone = WebhookView.model_validate(row)
        webhooks.delete(session, row)
        audit.record(session, found.who, "webhook.delete", webhook_id)
        return gone


@router.post(
    "/{webhook_id}/test",
    operation_id="test_webhook",
    status_code=202,
    response_model=DeliveryView,
    responses=documented(401, 403, 404, 409),
)
def test_webhook(webhook_id: str, found: Admin, once: OnceDep) -> Response:
    """Send the endpoint an event `webhook.test`; the list of deliveries tells what became of it."""

    def send(session: Session) -> DeliveryView:
        row = webhooks.get(session, found.holder, webhook_id)
        delivery = outbox.try_out(session, row)
        audit.record(session, found.who, "webhook.test", webhook_id)
        return DeliveryView.model_validate(delivery)

    return once.run(202, send)


@router.get("/{webhook_id}/deliveries", operation_id="list_deliveries", responses=documented(401, 403, 404))
def list_deliveries(
    webhook_id: str,
    found: Admin,
    wired: Wired,
    state: Annotated[State | None, Query()] = None,
    after: After = None,
    limit: Limit = 50,
) -> Page[DeliveryView]:
    """What was or is to be sent to the endpoint, newest first, for thirty days."""
    with wired.parts.db.read() as session:
        row = webhooks.get(session, found.holder, webhook_id)
        rows = webhooks.deliveries(session, row, state=state, after=after, limit=limit + 1)
        return page(rows, limit, DeliveryView.model_validate, lambda each: str(each.id))


def _ids(session: Session, found: Asker, refs: list[str] | None) -> list[str] | None:
    return None if refs is None else [access.collection(session, found.scope, ref).id for ref in refs]
