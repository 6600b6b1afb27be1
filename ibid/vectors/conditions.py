"""What a search may see, as conditions on the fields that `layout` keeps: the same ones for every engine.

An adapter puts them into its engine's words and knows nothing of what they are for.
"""

from dataclasses import dataclass

from ibid.filters import Comparison, Filter, Order
from ibid.marks import Span, spans, token
from ibid.vectors.layout import MARKS
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
    """What the filter means for the marks of a point, as `marks.may_hold` does."""
    if not isinstance(wanted, Comparison):
        those = tuple(_known(each) for each in wanted.filters)
        return Where(must=those) if wanted.type == "and" else Where(should=those)
    match wanted.type:
        case "eq" | "in":
            return Where(must=(_equal(wanted),))
        case "ne" | "nin":
            return Where(must_not=(_equal(wanted),))
        case order:
            return Where(should=tuple(map(_within, spans(wanted.key, order, wanted.values[0]))))


def _equal(wanted: Comparison) -> OneOf:
    tokens = [token(wanted.key, value) for value in wanted.values]
    return OneOf(f"{MARKS}[].value", tuple(dict.fromkeys(tokens)))


def _within(span: Span) -> Inside:
    return Inside(MARKS, Where(must=(OneOf("series", (span.series,)), Bound("at", span.order, span.at))))
