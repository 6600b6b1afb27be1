"""What models cost: budgets of keys and collections, and the ledger of calls that they are compared with.

Before a call the most that it may take is put into the ledger, and afterwards what it took, so that calls side by side
do not pass a budget together. A call whose process died stays at its most: the provider may have charged it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import delete as sql_delete
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from ibid import access
from ibid.catalogue import Entry
from ibid.clock import new_id, now
from ibid.db.session import moment
from ibid.db.tables import ApiKey, Budget, Spending
from ibid.errors import Conflict, Invalid, NotFound
from ibid.types import Scope

LONGEST: Final = 366 * 86_400
"""Seconds of the longest window."""


class BadBudget(Invalid):
    """A budget is of one key or one collection, and limits tokens, money or both."""

    code = "bad_budget"


class BudgetNotFound(NotFound):
    """There is no budget of this id."""

    code = "budget_not_found"


class BudgetSpent(Conflict):
    """A call could pass what a key or a collection may spend."""

    code = "budget_spent"


@dataclass(frozen=True, slots=True)
class Spender:
    """On whose behalf a model is called."""

    answer_id: str
    key_id: str
    collection_id: str


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens and US dollars."""

    tokens: int
    usd: float


def budgets(session: Session, *, key_id: str | None = None, collection_id: str | None = None) -> list[Budget]:
    """All budgets, or those of a key or a collection, oldest first."""
    query = select(Budget).order_by(Budget.created_at, Budget.id)
    if key_id is not None:
        query = query.where(Budget.key_id == key_id)
    if collection_id is not None:
        query = query.where(Budget.collection_id == collection_id)
    return list(session.scalars(query))


def limit(session: Session, scope: Scope, wanted: "Limit") -> Budget:
    """A new budget for a key or a collection that the scope sees."""
    if (wanted.key_id is None) == (wanted.collection is None):
        raise BadBudget("A budget is of one key or of one collection.", param="key_id")
    if wanted.tokens is None and wanted.usd is None:
        raise BadBudget("A budget limits `tokens`, `usd` or both.", param="tokens")
    if wanted.key_id is not None and session.get(ApiKey, wanted.key_id) is None:
        raise BadBudget(
            f"There is no key {wanted.key_id!r}. GET /v1/api-keys lists those there are.", param="key_id"
        )
    collection_id = (
        None if wanted.collection is None else access.collection(session, scope, wanted.collection).id
    )
    row = Budget(
        id=new_id("bud"),
        key_id=wanted.key_id,
        collection_id=collection_id,
        seconds=wanted.seconds,
        tokens=wanted.tokens,
        usd=wanted.usd,
        created_at=now(),
    )
    session.add(row)
    session.flush()
    return row


@dataclass(frozen=True, slots=True)
class Limit:
    """A budget as it is wished for: of a key (by id) or a collection (by id or name), in a window of `seconds`."""

    seconds: int
    key_id: str | None = None
    collection: str | None = None
    tokens: int | None = None
    usd: float | None = None


def lift(session: Session, budget_id: str) -> None:
    """Remove a budget."""
    row = session.get(Budget, budget_id)
    if row is None:
        raise BudgetNotFound(f"There is no budget {budget_id!r}. GET /v1/budgets lists those there are.")
    session.delete(row)
    session.flush()


def spent(session: Session, budget: Budget) -> Spent:
    """What was spent in the budget's window up to now."""
    since = moment(session) - timedelta(seconds=budget.seconds)
    mine = (
        Spending.key_id == budget.key_id if budget.key_id else Spending.collection_id == budget.collection_id
    )
    tokens = func.coalesce(func.sum(Spending.tokens), 0)
    usd = func.coalesce(func.sum(Spending.usd), 0.0)
    found = session.execute(select(tokens, usd).where(mine, Spending.at >= since)).one()
    return Spent(int(found[0]), float(found[1]))


def left(session: Session, spender: Spender) -> float | None:
    """US dollars that the tightest budget of the key and the collection still has; None if none counts money."""
    found = [
        budget.usd - spent(session, budget).usd for budget in _of(session, spender) if budget.usd is not None
    ]
    return min(found, default=None)


def reserve(session: Session, spender: Spender, entry: Entry, read: int) -> str:
    """Note the most that a call may take, `read` tokens of prompt; raises `BudgetSpent`. Gives the ledger's id for it.

    Calls of one key, or on one collection, wait for one another here if it has a budget.
    """
    tokens, usd = read + entry.output_tokens, entry.cost(read, entry.output_tokens)
    for budget in _of(session, spender, lock=True):
        had = spent(session, budget)
        over = (budget.tokens is not None and had.tokens + tokens > budget.tokens) or (
            budget.usd is not None and had.usd + usd > budget.usd
        )
        if over:
            raise BudgetSpent(f"Budget {budget.id} does not allow another call of {entry.name!r} now.")
    row = Spending(
        id=new_id("spd"),
        answer_id=spender.answer_id,
        key_id=spender.key_id,
        collection_id=spender.collection_id,
        model=entry.name,
        tokens=tokens,
        usd=usd,
        at=moment(session),
    )
    session.add(row)
    session.flush()
    return row.id


def settle(session: Session, spending_id: str, took: Spent) -> None:
    """Replace the most that a call might take by what it took."""
    row = session.get_one(Spending, spending_id)
    row.tokens, row.usd = took.tokens, took.usd
    session.flush()


def expire(session: Session) -> None:
    """Forget calls that no budget looks at any more."""
    session.execute(
        sql_delete(Spending).where(Spending.at < moment(session) - timedelta(seconds=LONGEST + 86_400))
    )


def _of(session: Session, spender: Spender, *, lock: bool = False) -> Sequence[Budget]:
    query = (
        select(Budget)
        .where(or_(Budget.key_id == spender.key_id, Budget.collection_id == spender.collection_id))
        .order_by(Budget.id)
    )
    return session.scalars(query.with_for_update() if lock else query).all()
