"""Routing: which models a question may be put to, in which order, and why the others are passed over.

Without a route of its own, a service tries every approved model, the cheapest first. The extractive model ends every
route: it is there when all else fails.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from ibid import catalogue
from ibid.catalogue import EXTRACTIVE, LAST_RESORT, Capability, Entry
from ibid.clock import new_id
from ibid.db.session import moment
from ibid.db.tables import Route
from ibid.errors import Invalid

MOST_STEPS: Final = 50

Passed = Literal["disabled", "candidate", "condition", "context"]
"""Why a model of the route was not asked."""


class BadRoute(Invalid):
    """The route names a model twice."""

    code = "bad_route"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A model and when it is asked; an empty condition always holds.

    `collections` are ids, `languages` those of the collection's documents, `shortest` and `longest` lengths of the
    question in characters, `needs` capabilities that the entry must have, `left` US dollars that the tightest budget must
    still hold.
    """

    model: str
    collections: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    shortest: int = 0
    longest: int | None = None
    needs: tuple[Capability, ...] = ()
    left: float | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What the conditions look at. `left` is None where no budget in money applies; `tokens` what the prompt has."""

    collection_id: str
    languages: tuple[str, ...]
    length: int
    tokens: int
    left: float | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """A model that is asked when its turn comes, or the reason why not."""

    entry: Entry
    passed: Passed | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """A route as it is in force; `steps` is None where every approved model is tried, the cheapest first."""

    id: str | None = None
    steps: tuple[Step, ...] | None = None
    created_at: datetime | None = None


def current(session: Session) -> Order:
    """The route in force."""
    row = session.scalar(select(Route).order_by(Route.created_at.desc(), Route.id.desc()).limit(1))
    return Order() if row is None else _order(row)


def replace(session: Session, steps: Sequence[Step]) -> Order:
    """Put a route in force, from the next question on; one without steps is the default."""
    names = [step.model for step in steps]
    if len(set(names)) < len(names):
        raise BadRoute("A route names each model once.", param="steps")
    catalogue.known(session, names, param="steps")
    row = Route(id=new_id("rte"), steps=list(map(_written, steps)), created_at=moment(session))
    session.add(row)
    session.flush()
    return _order(row)


def choices(session: Session, asked: Asked, wanted: str | None = None) -> tuple[Choice, ...]:
    """The models in the order in which they are tried, the last resort at the end.

    `wanted` is the model that the asker names: it comes first, also as a candidate, under the conditions of its step if
    it has one.
    """
    there = {entry.name: entry for entry in catalogue.entries(session)}
    steps = current(session).steps or _by_price(there.values())
    found = [_named(there[wanted], steps, asked)] if wanted in there else []
    seen = {LAST_RESORT, wanted}
    for step in steps:
        if step.model == LAST_RESORT and step.model != wanted and _passed(step, EXTRACTIVE, asked) is None:
            break  # nothing after a model that never fails is ever reached
        entry = there.get(step.model)
        if entry is not None and step.model not in seen:
            found.append(Choice(entry, _passed(step, entry, asked)))
    if wanted != LAST_RESORT:
        found.append(Choice(EXTRACTIVE))
    return tuple(found)


def _named(entry: Entry, steps: Sequence[Step], asked: Asked) -> Choice:
    step = next((step for step in steps if step.model == entry.name), Step(model=entry.name))
    as_if = dataclasses.replace(entry, status="approved") if entry.status == "candidate" else entry
    return Choice(entry, _passed(step, as_if, asked))


def _by_price(entries: Iterable[Entry]) -> tuple[Step, ...]:
    ranked = sorted(entries, key=lambda entry: (entry.price, entry.name))
    return tuple(Step(model=entry.name) for entry in ranked if entry.name != LAST_RESORT)


def _passed(step: Step, entry: Entry, asked: Asked) -> Passed | None:
    if entry.status != "approved":
        return entry.status
    if asked.tokens + entry.output_tokens > entry.context_tokens:
        return "context"
    return None if _holds(step, entry, asked) else "condition"


def _holds(step: Step, entry: Entry, asked: Asked) -> bool:
    return (
        (not step.collections or asked.collection_id in step.collections)
        and (not step.languages or not set(step.languages).isdisjoint(asked.languages))
        and step.shortest <= asked.length
        and (step.longest is None or asked.length <= step.longest)
        and set(step.needs) <= set(entry.capabilities)
        and (step.left is None or asked.left is None or asked.left >= step.left)
    )


def _order(row: Route) -> Order:
    return Order(row.id, tuple(map(_step, row.steps)) or None, row.created_at)


def _step(kept: dict[str, Any]) -> Step:
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()
    }
    return Step(**values)


def _written(step: Step) -> dict[str, Any]:
    return {name: getattr(step, name) for name in Step.__slots__}
