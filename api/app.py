"""The application: routers, middleware and the life of what they use, put together in one place."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from api import problems
from api.bodies import BodyLimit
from api.edge import Edge
from api.problems import Problem
from api.routes import (
    answers,
    api_keys,
    audit,
    budgets,
    catalogue,
    changes,
    collections,
    deletions,
    documents,
    fits,
    health,
    inventory,
    jobs,
    metrics,
    page,
    reference,
    reindexes,
    resumable,
    search,
    session,
    uploads,
    versions,
    webhooks,
)
from api.wiring import wired
from ibid.bootstrap import Parts
from ibid.settings import Settings

ABOUT = (
    "Answers with citations that a reader can check. Send a key as Authorization: Bearer …; errors are problem "
    "documents (RFC 9457) with a stable code; every POST takes an Idempotency-Key."
)
ROUTERS: Sequence[APIRouter] = (
    health.router,
    metrics.router,
    session.router,
    collections.router,
    changes.router,
    uploads.router,
    deletions.router,
    resumable.router,
    documents.router,
    versions.router,
    jobs.router,
    jobs.queue_router,
    search.router,
    answers.router,
    reindexes.router,
    fits.router,
    api_keys.router,
    webhooks.router,
    catalogue.router,
    budgets.router,
    inventory.router,
    audit.router,
    reference.router,
)
SENT = [
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "Last-Event-ID",
    "Ibid-User",
    "Ibid-Groups",
    "X-Request-Id",
    "Tus-Resumable",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
    "Upload-Checksum",
]
SHOWN = [
    "X-Request-Id",
    "Retry-After",
    "Idempotent-Replayed",
    "Content-Disposition",
    "Location",
    "Tus-Resumable",
    "Upload-Length",
    "Upload-Offset",
    "Upload-Expires",
    "Tus-Version",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Checksum-Algorithm",
    "Ibid-Document-Id",
    "Ibid-Job-Id",
]


def create_app(settings: Settings, parts: Parts | None = None) -> FastAPI:
    """The application. Parts that are given are used and left open; others are opened at start and closed at the end."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        async with wired(settings, parts) as made:
            app.state.wiring = made
            yield
            app.state.wiring = None

    app = FastAPI(
        title="Ibid",
        version=_version(),
        description=ABOUT,
        lifespan=life,
        middleware=_middleware(settings),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.wiring = None
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router)
    page.install(app)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _middleware(settings: Settings) -> list[Middleware]:
    """The outermost first."""
    origins = [origin.strip().rstrip("/") for origin in settings.cors_origins.split(",") if origin.strip()]
    cors = Middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=SENT,
        expose_headers=SHOWN,
    )
    return [Middleware(Edge, settings), *([cors] if origins else []), Middleware(BodyLimit, settings)]


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the problem document that every refusal is."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = Problem.model_json_schema()
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        for operation in (each for methods in made["paths"].values() for each in methods.values()):
            _tell_problems(operation)
        app.openapi_schema = made
    return app.openapi_schema


def _tell_problems(operation: dict[str, Any]) -> None:
    """Add what every operation may be refused with. FastAPI writes down its own shape of a 422; ours is a problem."""
    responses = operation["responses"]
    statuses = set(problems.ANYWHERE)
    if "422" in responses:
        statuses.add(422)
    if "requestBody" in operation:
        statuses.update(problems.WITH_BODY)
    if any(each["name"] == "idempotency-key" for each in operation.get("parameters", ())):
        statuses.update(problems.WITH_IDEMPOTENCY_KEY)
    told = {str(status): problem for status, problem in problems.documented(*statuses).items()}
    told["default"] = problems.documented(500)[500] | {"description": "Any other refusal"}
    operation["responses"] = dict(sorted((responses | told).items()))


def _version() -> str:
    try:
        return version("ibid")
    except PackageNotFoundError:
        return "0"
