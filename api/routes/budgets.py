"""Budgets: what keys and collections may spend on foundation models, and what they have spent."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field
from sqlalchemy.orm import Session

from api import models
from api.auth import Overseer
from api.models import Text
from api.once import OnceDep
from api.problems import documented
from api.routes.injected import Wired
from ibid import audit, spending
from ibid.db.tables import Budget
from ibid.spending import Limit

router = APIRouter(prefix="/v1/budgets", tags=["models"])


class NewBudget(models.Request):
    """A limit on tokens, US dollars or both, in a sliding window of `seconds`, for a key or for a collection.

    Once it is spent, questions go to models that fit in what is left, and at last to the extractive one, which is free.
    """

    key_id: Text | None = None
    collection: Text | None = None
    seconds: Annotated[int, Field(ge=1, le=spending.LONGEST)]
    tokens: Annotated[int, Field(ge=0, le=10**15)] | None = None
    usd: Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)] | None = None


class BudgetView(models.Response):
    """A budget with what was spent in its window up to now, calls on their way at their most."""

    id: str
    key_id: str | None
    collection_id: str | None
    seconds: int
    tokens: int | None
    usd: float | None
    spent_tokens: int
    spent_usd: float
    created_at: datetime


class Budgets(models.Response):
    """Budgets, the oldest first."""

    data: list[BudgetView]


@router.post(
    "",
    operation_id="create_budget",
    status_code=201,
    response_model=BudgetView,
    responses=documented(401, 403, 404, 409, 422),
)
def create_budget(body: NewBudget, found: Overseer, once: OnceDep) -> Response:
    """Limit what a key, or all that ask a collection, may spend from now on."""

    def create(session: Session) -> BudgetView:
        row = spending.limit(session, found.scope, Limit(**body.model_dump()))
        detail = {
            "key_id": row.key_id,
            "collection_id": row.collection_id,
            "usd": row.usd,
            "tokens": row.tokens,
        }
        audit.record(session, found.who, "budget.create", row.id, detail)
        return _shown(session, row)

    return once.run(201, create)


@router.get("", operation_id="list_budgets", responses=documented(401, 403))
def list_budgets(
    _found: Overseer,
    wired: Wired,
    key_id: Annotated[str | None, Query(max_length=64)] = None,
    collection_id: Annotated[str | None, Query(max_length=64)] = None,
) -> Budgets:
    """All budgets, or those of a key or a collection."""
    with wired.parts.db.read() as session:
        rows = spending.budgets(session, key_id=key_id, collection_id=collection_id)
        return Budgets(data=[_shown(session, row) for row in rows])


@router.delete(
    "/{budget_id}", operation_id="delete_budget", status_code=204, responses=documented(401, 403, 404)
)
def delete_budget(budget_id: str, found: Overseer, wired: Wired) -> None:
    """Lift a limit."""
    with wired.parts.db.begin() as session:
        spending.lift(session, budget_id)
        audit.record(session, found.who, "budget.delete", budget_id)


def _shown(session: Session, row: Budget) -> BudgetView:
    spent = spending.spent(session, row)
    return BudgetView(
        id=row.id,
        key_id=row.key_id,
        collection_id=row.collection_id,
        seconds=row.seconds,
        tokens=row.tokens,
        usd=row.usd,
        spent_tokens=spent.tokens,
        spent_usd=spent.usd,
        created_at=row.created_at,
    )
