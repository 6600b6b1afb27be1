"""API keys: made, listed and revoked by administrators; the text of one is shown once."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, Field

from api import models
from api.auth import Admin
from api.models import After, Limit, Page, Text, page
from api.once import REPLAYED, OnceDep
from api.problems import documented
from api.routes.injected import Wired
from ibid import access, audit, keys
from ibid.keys import NewKey
from ibid.replies import Reply
from ibid.types import Role

router = APIRouter(prefix="/v1/api-keys", tags=["api keys"])


class NewApiKey(models.Request):
    """`collections` are ids or names, null for all. `may_act_for` lets the key's holder ask for users it names."""

    name: Annotated[Text, Field(max_length=200)]
    role: Role
    collections: Annotated[list[Text], Field(max_length=1000)] | None = None
    expires_at: AwareDatetime | None = None
    may_act_for: bool = False


class ApiKeyView(models.Response):
    """A key without its text."""

    id: str
    name: str
    role: Role
    collections: list[str] | None
    may_act_for: bool
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class MadeApiKey(ApiKeyView):
    """A new key. `key` is its text, shown this once: a repetition under the same Idempotency-Key has null."""

    key: str | None


@router.post(
    "",
    operation_id="create_api_key",
    status_code=201,
    response_model=MadeApiKey,
    responses=documented(401, 403, 404, 409, 422),
)
def create_api_key(body: NewApiKey, found: Admin, wired: Wired, once: OnceDep) -> Response:
    """Make a key that has no more than your own."""
    with once.reserved() as mine:
        if isinstance(mine, Reply):
            return JSONResponse(mine.body, mine.status, REPLAYED)
        with wired.parts.db.begin() as session:
            ids = None
            if body.collections is not None:
                ids = [access.collection(session, found.scope, ref).id for ref in body.collections]
            wanted = NewKey(body.name, body.role, ids, body.expires_at, body.may_act_for)
            row, text = keys.create(session, found.holder, wanted)
            audit.record(session, found.who, "api_key.create", row.id, {"role": row.role, "collections": ids})
            made = ApiKeyView.model_validate(row).model_dump(mode="json")
            once.save(session, mine, 201, made | {"key": None})
    return JSONResponse(made | {"key": text}, 201)


@router.get("", operation_id="list_api_keys", responses=documented(401, 403))
def list_api_keys(found: Admin, wired: Wired, after: After = None, limit: Limit = 50) -> Page[ApiKeyView]:
    """All keys, never their text."""
    with wired.parts.db.read() as session:
        rows = keys.listing(session, found.holder, after=after, limit=limit + 1)
        return page(rows, limit, ApiKeyView.model_validate, lambda row: str(row.id))


@router.get("/{key_id}", operation_id="get_api_key", responses=documented(401, 403, 404))
def get_api_key(key_id: str, found: Admin, wired: Wired) -> ApiKeyView:
    """A key, never its text."""
    with wired.parts.db.read() as session:
        return ApiKeyView.model_validate(keys.get(session, found.holder, key_id))


@router.delete("/{key_id}", operation_id="revoke_api_key", responses=documented(401, 403, 404, 409))
def revoke_api_key(key_id: str, found: Admin, wired: Wired) -> ApiKeyView:
    """Take a key back at once, with every session that came from it."""
    with wired.parts.db.begin() as session:
        row = keys.revoke(session, found.holder, key_id)
        audit.record(session, found.who, "api_key.revoke", row.id)
        return ApiKeyView.model_validate(row)
