"""The catalogue of foundation models, and the route along which they are tried; both change while the service runs."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from api import models
from api.auth import Overseer
from api.models import Text
from api.problems import documented
from api.routes.injected import Wired
from ibid import access, audit, catalogue, routing
from ibid.catalogue import Capability, Effort, Entry, Provider, Status
from ibid.routing import Step

router = APIRouter(prefix="/v1/catalogue", tags=["models"])

Name = Annotated[str, Path(max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@-]*$")]
Price = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
Capabilities = Annotated[list[Capability], Field(max_length=10)]
Collections = Annotated[list[Text], Field(max_length=1000)]


class ModelBody(models.Request):
    """A model: `model` is its name at the provider, or of a local file; `key` names one of IBID_PROVIDER_KEYS.

    Prices are US dollars for a million tokens. A candidate is asked only by name, an approved one by the route.
    """

    provider: Provider
    model: Annotated[Text, Field(min_length=1, max_length=256)]
    base_url: Annotated[Text, Field(max_length=2000, pattern=r"^https?://")] | None = None
    key: Annotated[Text, Field(max_length=64)] | None = None
    capabilities: Capabilities = Field(default_factory=list)
    context_tokens: Annotated[int, Field(ge=512, le=100_000_000)] = 8_192
    output_tokens: Annotated[int, Field(ge=16, le=1_000_000)] = 1_024
    input_price: Price | None = None
    cached_price: Price | None = None
    output_price: Price | None = None
    effort: Effort | None = None
    region: Annotated[Text, Field(max_length=64)] = ""
    licence: Annotated[Text, Field(max_length=128)] = ""
    status: Status = "candidate"


class ModelChange(models.Request):
    """From the next question on."""

    status: Status


class ModelView(models.Response):
    """A model of the catalogue. The key's name is shown, its text never."""

    name: str
    provider: Provider
    model: str
    base_url: str | None
    key: str | None
    capabilities: list[Capability]
    context_tokens: int
    output_tokens: int
    input_price: float | None
    cached_price: float | None
    output_price: float | None
    effort: Effort | None
    region: str
    licence: str
    status: Status


class Models(models.Response):
    """The whole catalogue, by name; the extractive model, which is always there, is the last."""

    data: list[ModelView]


class StepBody(models.Request):
    """A model and when it is asked; what is left out always holds.

    `collections` are ids or names, `languages` two-letter codes of the collection's documents, `shortest` and `longest`
    characters of the question, `needs` what the model must be able to do, and `left` US dollars that budgets must hold.
    """

    model: Annotated[Text, Field(max_length=128)]
    collections: Collections = Field(default_factory=list)
    languages: Annotated[list[Text], Field(max_length=200, default_factory=list)]
    shortest: Annotated[int, Field(ge=0)] = 0
    longest: Annotated[int, Field(ge=1)] | None = None
    needs: Capabilities = Field(default_factory=list)
    left: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class RouteBody(models.Request):
    """The models in the order in which they are tried. No steps: every approved model, the cheapest first."""

    steps: Annotated[list[StepBody], Field(max_length=routing.MOST_STEPS)]


class StepView(models.Response):
    """A step, with ids of collections."""

    model: str
    collections: list[str]
    languages: list[str]
    shortest: int
    longest: int | None
    needs: list[Capability]
    left: float | None


class RouteView(models.Response):
    """The route in force. Null: every approved model, the cheapest first. The extractive model ends every route."""

    id: str | None
    steps: list[StepView] | None
    created_at: datetime | None


MADE_OR_REPLACED: dict[int | str, dict[str, Any]] = {201: {"model": ModelView, "description": "It is new"}}


@router.get("/models", operation_id="list_models", responses=documented(401, 403))
def list_models(_found: Overseer, wired: Wired) -> Models:
    """All models that may be asked, and those that may not at present."""
    with wired.parts.db.read() as session:
        return Models(data=[ModelView.model_validate(entry) for entry in catalogue.entries(session)])


@router.get("/models/{model}", operation_id="get_model", responses=documented(401, 403, 404))
def get_model(model: Name, _found: Overseer, wired: Wired) -> ModelView:
    """A model."""
    with wired.parts.db.read() as session:
        return ModelView.model_validate(catalogue.get(session, model))


@router.put(
    "/models/{model}",
    operation_id="put_model",
    response_model=ModelView,
    responses=MADE_OR_REPLACED | documented(401, 403, 409, 422),
)
def put_model(model: Name, body: ModelBody, found: Overseer, wired: Wired) -> Response:
    """Add a model, or replace the one of this name, from the next question on."""
    values: dict[str, Any] = body.model_dump() | {"capabilities": tuple(body.capabilities)}
    entry = Entry(name=model, **values)
    with wired.parts.db.begin() as session:
        new = catalogue.put(session, entry)
        told = ("provider", "model", "base_url", "key", "status")
        detail = {name: getattr(entry, name) for name in told}
        audit.record(session, found.who, "model.put", model, detail)
        shown = ModelView.model_validate(catalogue.get(session, model)).model_dump(mode="json")
    return JSONResponse(shown, 201 if new else 200)


@router.patch("/models/{model}", operation_id="switch_model", responses=documented(401, 403, 404, 409, 422))
def switch_model(model: Name, body: ModelChange, found: Overseer, wired: Wired) -> ModelView:
    """Approve a model, or disable it: the next question goes past it."""
    with wired.parts.db.begin() as session:
        entry = catalogue.switch(session, model, body.status)
        audit.record(session, found.who, "model.switch", model, {"status": body.status})
        return ModelView.model_validate(entry)


@router.delete(
    "/models/{model}", operation_id="delete_model", status_code=204, responses=documented(401, 403, 404, 409)
)
def delete_model(model: Name, found: Overseer, wired: Wired) -> None:
    """Take a model out of the catalogue; answers that it wrote keep its name."""
    with wired.parts.db.begin() as session:
        catalogue.remove(session, model)
        audit.record(session, found.who, "model.delete", model)


@router.get("/route", operation_id="get_route", responses=documented(401, 403))
def get_route(_found: Overseer, wired: Wired) -> RouteView:
    """The order in which models are tried."""
    with wired.parts.db.read() as session:
        return RouteView.model_validate(routing.current(session))


@router.put("/route", operation_id="put_route", responses=documented(401, 403, 404, 422))
def put_route(body: RouteBody, found: Overseer, wired: Wired) -> RouteView:
    """Set the order, from the next question on."""
    with wired.parts.db.begin() as session:
        steps = []
        for step in body.steps:
            ids = tuple(access.collection(session, found.scope, ref).id for ref in step.collections)
            named: dict[str, Any] = {name: tuple(value) for name, value in step if isinstance(value, list)}
            plain = {name: value for name, value in step if not isinstance(value, list)}
            steps.append(Step(**plain | named | {"collections": ids}))
        made = routing.replace(session, steps)
        audit.record(
            session, found.who, "route.put", made.id or "", {"models": [step.model for step in steps]}
        )
        return RouteView.model_validate(made)
