"""What an index keeps of a document's facts: enough to compare them by, and no word of them.

An engine's files hold what was deleted until the engine rewrites them, so they may hold nothing that can be read
(decision 0008). Keys and values are digests there; only numbers are kept, and days, without which there is no order.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from hashlib import blake2b
from typing import Final, Literal, NamedTuple

from ibid.filters import HOLDS, Compound, Fact, Filter, Order, Scalar, kind_of

Series = Literal["number", "day", "text", "truth"]

_DAY: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_BYTES: Final = 16
_SOMEWHERE: Final = 0.0
# What engines give back as they were given it, whatever reads their numbers: so many digits, in this range.
_DIGITS: Final = 14
_LEAST: Final = 1e-8
_MOST: Final = 1e15
# A place may stand for several texts, so one in the same place may be before and after.
_LOOSE: Final[Mapping[Order, Order]] = {"gt": "gte", "gte": "gte", "lt": "lte", "lte": "lte"}


class Mark(NamedTuple):
    """A fact that can be compared and not read. `series` is a key, with what has one order under it.

    `at` is the place in that order: the first digits of a number, and the day with which a text begins. Texts without
    one have no order here, and are all in one place.
    """

    series: str
    value: str
    at: float


class Span(NamedTuple):
    """The marks of a series in this order to a place."""

    series: str
    order: Order
    at: float


def marks(facts: Iterable[Fact]) -> tuple[Mark, ...]:
    """A mark for each fact, in their order."""
    return tuple(
        Mark(_digest(fact.key, _series(fact.value)), token(fact.key, fact.value), _place(fact.value))
        for fact in facts
    )


def token(key: str, value: Scalar) -> str:
    """The mark of a value under a key: two have the same one only if they are of one kind, and equal."""
    return _digest(key, kind_of(value), value if isinstance(value, str) else repr(value))


def spans(key: str, order: Order, value: Scalar) -> tuple[Span, ...]:
    """Where the marks are of all facts in this order to the value, and those of others that are too close to tell."""
    series = _series(value)
    there = Span(_digest(key, series), _LOOSE[order], _place(value))
    match series:
        case "day":
            return there, _all(key, "text")
        case "text":
            return _all(key, "day"), _all(key, "text")
        case _:
            return (there,)


def may_hold(wanted: Filter, known: Collection[Mark]) -> bool:
    """Whether the filter may hold for a document with these marks: it does, unless it asks for an order."""
    if isinstance(wanted, Compound):
        those = (may_hold(each, known) for each in wanted.filters)
        return all(those) if wanted.type == "and" else any(those)
    match wanted.type:
        case "eq" | "in" | "ne" | "nin":
            equal = {token(wanted.key, value) for value in wanted.values}
            return (wanted.type in {"ne", "nin"}) != any(mark.value in equal for mark in known)
        case order:
            within = spans(wanted.key, order, wanted.values[0])
            return any(
                mark.series == span.series and HOLDS[span.order](mark.at, span.at)
                for span in within
                for mark in known
            )


def _all(key: str, series: Series) -> Span:
    return Span(_digest(key, series), "gte", _SOMEWHERE)


def _place(value: Scalar) -> float:
    if isinstance(value, bool):
        return _SOMEWHERE
    if not isinstance(value, str):
        first_digits = min(max(float(f"{value:.{_DIGITS}g}"), -_MOST), _MOST)
        return first_digits if abs(first_digits) >= _LEAST else 0.0
    day = _DAY.match(value)
    return _SOMEWHERE if day is None else float("".join(day.groups()))


def _series(value: Scalar) -> Series:
    if isinstance(value, str):
        return "day" if _DAY.match(value) else "text"
    return "truth" if isinstance(value, bool) else "number"


def _digest(*parts: str) -> str:
    told = "".join(f"{len(part)}:{part}" for part in parts)
    return blake2b(told.encode(), digest_size=_BYTES).hexdigest()
