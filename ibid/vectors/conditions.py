"""What a search may see, as conditions on the fields that `layout` keeps: the same ones for every engine.

An adapter puts them into its engine's words and knows nothing of what they are for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ibid.filters import Comparison, Filter, Kind, Order, Scalar, kind_of
from ibid.vectors.layout import META, place, token
from ibid.vectors.port import ANYONE, PointFilter


@dataclass(frozen=True, slots=True)
class OneOf:
    """The field is, or holds, one of these texts."""

    field: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bound:
    """The field is a number in this order to another one."""

    field: str
    order: Order
    number: float


@dataclass(frozen=True, slots=True)
class Where:
    """All of `must`, one of `should` if there are any, and none of `must_not`."""

    must: tuple["Condition", ...] = ()
    should: tuple["Condition", ...] = ()
    must_not: tuple["Condition", ...] = ()


@dataclass(frozen=True, slots=True)
class Inside:
    """One object in the list that is the field fulfils everything."""

    field: str
    where: Where


Condition = OneOf | Bound | Where | Inside


def visible(wanted: PointFilter) -> Where:
    """Live at that time, meeting one of the principals, of one of the documents, of which such facts are known.

    A current version has no `live_to`, so no bound on it excludes that one.
    """
    must: list[Condition] = [Bound("live_from", "lte", wanted.as_of)]
    if wanted.principals is not None:
        must.append(OneOf("access", (ANYONE, *sorted(wanted.principals))))
    if wanted.document_ids is not None:
        must.append(OneOf("document_id", tuple(sorted(wanted.document_ids))))
    if wanted.facts is not None:
        must.append(_known(wanted.facts))
    return Where(must=tuple(must), must_not=(Bound("live_to", "lte", wanted.as_of),))


def _known(wanted: Filter) -> Where:
    """What the filter means for the facts of a point; a text in order is taken by its first bytes (see `layout.place`)."""
    if not isinstance(wanted, Comparison):
        those = tuple(_known(each) for each in wanted.filters)
        return Where(must=those) if wanted.type == "and" else Where(should=those)
    match wanted.type:
        case "eq" | "in":
            return Where(should=tuple(_equal(wanted)))
        case "ne" | "nin":
            return Where(must_not=tuple(_equal(wanted)))
        case order:
            return Where(must=(_ordered(wanted.key, order, wanted.values[0]),))


def _equal(wanted: Comparison) -> Iterator[Inside]:
    """For each kind among the values, a fact of that kind with one of them."""
    tokens: dict[Kind, list[str]] = {}
    for value in wanted.values:
        tokens.setdefault(kind_of(value), []).append(token(value))
    for kind, those in tokens.items():
        yield _fact(wanted.key, kind, [OneOf("value", tuple(dict.fromkeys(those)))])


def _ordered(key: str, order: Order, value: Scalar) -> Inside:
    if not isinstance(value, str):
        return _fact(key, "number", [Bound("at", order, value)])
    at, then = place(value)
    strictly: Order = "gt" if order in {"gt", "gte"} else "lt"
    or_equal: Order = "gte" if strictly == "gt" else "lte"
    same_start = Where(must=(Bound("at", "gte", at), Bound("at", "lte", at), Bound("then", or_equal, then)))
    first = Where(should=(Bound("at", strictly, at), same_start))
    return _fact(key, "text", [first], but=[OneOf("value", (value,))] if order == strictly else [])


def _fact(key: str, kind: Kind, those: Sequence[Condition], but: Sequence[Condition] = ()) -> Inside:
    must = (OneOf("key", (key,)), OneOf("kind", (kind,)), *those)
    return Inside(META, Where(must=must, must_not=tuple(but)))
