"""Filters by what is said of a document: their shape, what they mean, and the evaluator that all others agree with.

The shape is OpenAI's: a comparison `{"type": "eq", "key": "team", "value": "HR"}`, or a compound
`{"type": "and", "filters": [...]}`. What a comparison means:

- Compared are the texts (up to 512 characters), numbers and booleans that the metadata hold under the key itself, or in
  a list there. Null, objects, longer texts and what lies deeper are as if they were absent.
- Texts, numbers and booleans are three kinds, and what is of two kinds is never equal and in no order: "5" is not 5,
  and true is not 1. Numbers are compared as floats of 64 bits, so 1 is 1.0; texts by their code points, so dates as
  ISO 8601 writes them are in the order of time.
- `eq`, `in`, `gt`, `gte`, `lt`, `lte` hold if any of the values does. A document without the key has none.
- `ne` and `nin` are the opposites of `eq` and `in`, so they hold for a document without the key, and for a list
  only if none of its values is equal.

What is said of a document is said of all its versions: a search of the past filters by what is said today.
"""

import math
import operator
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, get_args

from ibid.errors import Invalid

Kind = Literal["text", "number", "truth"]
Scalar = str | float | bool
Order = Literal["gt", "gte", "lt", "lte"]
Operator = Literal["eq", "ne", "in", "nin"] | Order
Joint = Literal["and", "or"]

LONGEST_KEY: Final = 64
LONGEST_TEXT: Final = 512
MOST_VALUES: Final = 200
MOST_COMPARISONS: Final = 100
DEEPEST: Final = 8
MOST_FACTS: Final = 128

_ORDERS: Final = get_args(Order)
_OPERATORS: Final = ("eq", "ne", "in", "nin", *_ORDERS)
_JOINTS: Final = get_args(Joint)
HOLDS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


class BadFilter(Invalid):
    """The filter is not of the shape that is asked for."""

    code = "invalid_filter"


class Fact(NamedTuple):
    """A value that is said of a document under a key. A number is a finite float, and zero has no sign."""

    key: str
    kind: Kind
    value: Scalar


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a value under a key must be like. `values` are several only for `in` and `nin`; all are as in a `Fact`."""

    type: Operator
    key: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Compound:
    """All of the filters, or any of them."""

    type: Joint
    filters: tuple["Filter", ...]


Filter = Comparison | Compound


def facts(metadata: Mapping[str, Any]) -> tuple[Fact, ...]:
    """What can be compared of metadata, each once, in a fixed order."""
    found = {
        Fact(key, kind_of(value), value)
        for key, held in metadata.items()
        if is_key(key)
        for each in (held if isinstance(held, list) else [held])
        if (value := _comparable(each)) is not None
    }
    return tuple(sorted(found, key=lambda fact: (fact.key, fact.kind, fact.value)))


def kind_of(value: Scalar) -> Kind:
    """Which of the three kinds a value is of."""
    if isinstance(value, bool):
        return "truth"
    return "text" if isinstance(value, str) else "number"


def matches(wanted: Filter, metadata: Mapping[str, Any]) -> bool:
    """Whether the filter holds for a document with these metadata."""
    return holds(wanted, facts(metadata))


def holds(wanted: Filter, known: Collection[Fact]) -> bool:
    """Whether the filter holds for a document of which these are the facts."""
    if isinstance(wanted, Compound):
        those = (holds(each, known) for each in wanted.filters)
        return all(those) if wanted.type == "and" else any(those)
    negative = wanted.type in {"ne", "nin"}
    return negative != any(_compares(wanted, fact) for fact in known if fact.key == wanted.key)


def parse(given: object) -> Filter:
    """The filter that a request's JSON means. Raises `BadFilter`, which says where it is wrong."""
    parsed = _parsed(given, "filters", 1)
    if sum(1 for _ in comparisons(parsed)) > MOST_COMPARISONS:
        raise BadFilter(f"A filter makes at most {MOST_COMPARISONS} comparisons.", param="filters")
    return parsed


def comparisons(wanted: Filter) -> Iterable[Comparison]:
    """All comparisons in a filter."""
    if isinstance(wanted, Comparison):
        yield wanted
    else:
        for each in wanted.filters:
            yield from comparisons(each)


def written(wanted: Filter) -> dict[str, Any]:
    """The filter as JSON, which `parse` takes."""
    if isinstance(wanted, Compound):
        return {"type": wanted.type, "filters": [written(each) for each in wanted.filters]}
    value = list(wanted.values) if wanted.type in {"in", "nin"} else wanted.values[0]
    return {"type": wanted.type, "key": wanted.key, "value": value}


def _compares(wanted: Comparison, fact: Fact) -> bool:
    """Whether the fact, whose key it is, is what `eq`, `in` or an order asks for."""
    alike = [value for value in wanted.values if kind_of(value) == fact.kind]
    holding: Callable[[Any, Any], bool] = HOLDS.get(wanted.type, operator.eq)
    return any(holding(fact.value, value) for value in alike)


def is_key(text: str) -> bool:
    """Whether what is said under this key can be filtered by."""
    return 1 <= len(text) <= LONGEST_KEY and text.isprintable()


def _comparable(value: object) -> Scalar | None:
    """The value as a fact has it; None for what cannot be compared."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if len(value) <= LONGEST_TEXT and is_storable(value) else None
    if isinstance(value, int | float):
        return _finite(value)
    return None


def _finite(value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:  # a whole number of more than 308 digits
        return None
    return number + 0.0 if math.isfinite(number) else None  # minus zero becomes zero


def is_storable(text: str) -> bool:
    """Whether every database and engine can hold the text: no null character, and no half of a surrogate pair."""
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _parsed(given: object, where: str, depth: int) -> Filter:
    if not isinstance(given, dict):
        raise BadFilter("A filter is an object with a type.", param=where)
    type_: Any = given.get("type")
    if type_ in _JOINTS:
        _only_has(given, {"type", "filters"}, where)
        return Compound(type_, _members(given.get("filters"), where, depth))
    if type_ in _OPERATORS:
        _only_has(given, {"type", "key", "value"}, where)
        return Comparison(type_, _key(given.get("key"), where), _values(type_, given.get("value"), where))
    known = ", ".join((*_OPERATORS, *_JOINTS))
    raise BadFilter(f"{str(type_)[:40]!r} is no type of a filter. Use one of {known}.", param=f"{where}.type")


def _only_has(given: Mapping[str, object], allowed: set[str], where: str) -> None:
    if unknown := sorted(given.keys() - allowed):
        raise BadFilter(f"A filter of this type has no {str(unknown[0])[:40]!r}.", param=where)


def _members(given: object, where: str, depth: int) -> tuple[Filter, ...]:
    if not isinstance(given, list) or not 1 <= len(given) <= MOST_COMPARISONS:
        raise BadFilter(
            f"filters is a list of 1 to {MOST_COMPARISONS} filters.",
            param=f"{where}.filters",
        )
    if depth == DEEPEST:
        raise BadFilter(f"Filters lie in each other at most {DEEPEST} deep.", param=where)
    return tuple(_parsed(each, f"{where}.filters.{n}", depth + 1) for n, each in enumerate(given))


def _key(given: object, where: str) -> str:
    if not isinstance(given, str) or not is_key(given):
        raise BadFilter(f"A key is 1 to {LONGEST_KEY} printable characters.", param=f"{where}.key")
    return given


def _values(type_: str, given: object, where: str) -> tuple[Scalar, ...]:
    param = f"{where}.value"
    several = type_ in {"in", "nin"}
    if several and not (isinstance(given, list) and 1 <= len(given) <= MOST_VALUES):
        raise BadFilter(
            f"The value of {type_} is a list of 1 to {MOST_VALUES} texts or numbers.", param=param
        )
    values = [_comparable(each) for each in (given if isinstance(given, list) and several else [given])]
    allowed = str | float if several or type_ in _ORDERS else Scalar
    kept = tuple(value for value in values if isinstance(value, allowed) and value is not None)
    if len(kept) < len(values) or (allowed != Scalar and any(isinstance(value, bool) for value in kept)):
        what = "texts or numbers" if allowed != Scalar else "a text, a number, or true or false"
        raise BadFilter(
            f"{type_} compares with {what}; a text has at most {LONGEST_TEXT} characters.", param=param
        )
    return kept
