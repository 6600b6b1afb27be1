"""The audit trail, for administrators of everything."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query

from api import models
from api.auth import Overseer
from api.models import After, Limit, Page, page
from api.problems import documented
from api.routes.injected import Wired
from ibid import audit

router = APIRouter(prefix="/v1/audit", tags=["audit"])


class AuditRow(models.Response):
    """Who did what to what."""

    id: str
    at: datetime
    key_id: str
    actor: str
    action: str
    resource: str
    request_id: str
    detail: dict[str, Any]


@router.get("", operation_id="list_audit", responses=documented(401, 403))
def list_audit(
    _found: Overseer,
    wired: Wired,
    action: Annotated[str | None, Query(max_length=64)] = None,
    after: After = None,
    limit: Limit = 50,
) -> Page[AuditRow]:
    """Newest first."""
    wired.trail.settle()
    with wired.parts.db.read() as session:
        rows = audit.listing(session, action=action, after=after, limit=limit + 1)
        return page(rows, limit, AuditRow.model_validate, lambda row: str(row.id))
