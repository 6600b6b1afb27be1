"""Measurements for Prometheus."""

from hmac import compare_digest
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response, Security
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials

from api.auth import BEARER, asker
from api.problems import documented
from api.routes.injected import Wired
from api.wiring import Wiring, wiring
from ibid import metrics
from ibid.errors import Forbidden

router = APIRouter(tags=["health"])
TEXT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Prometheus's text format",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
}


class MetricsLimited(Forbidden):
    """The key reaches some collections, and the measurements are about all."""

    code = "metrics_limited"


def measurer(
    request: Request,
    wired: Annotated[Wiring, Depends(wiring)],
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)],
) -> None:
    """Let in whoever has the token of the settings, or an admin's key that reaches every collection."""
    token = wired.parts.settings.metrics_token
    if token and bearer is not None:
        offered, wanted = bearer.credentials.encode(), token.get_secret_value().encode()
        if compare_digest(offered, wanted):
            return
    found = asker(request, wired, bearer)
    found.require("admin")
    if not found.unlimited:
        raise MetricsLimited("This key is limited to some collections, and the measurements are about all.")


@router.get(
    "/metrics",
    operation_id="metrics",
    dependencies=[Depends(measurer)],
    response_class=PlainTextResponse,
    responses=TEXT | documented(401, 403),
)
def measured(wired: Wired) -> Response:
    """Measurements for Prometheus: the queue, documents, requests, searches, answers, and the stages of ingestion."""
    return Response(metrics.exposition(wired.parts.db), media_type=metrics.MEDIA_TYPE)
