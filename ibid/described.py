"""Filters and facets in SQL, over what the rows say of documents; `filters` says what they mean.

Each database takes the metadata apart with its own functions, into the same four columns: a row for each fact.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Double,
    FromClause,
    Numeric,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.orm import Session

from ibid.db.tables import Document
from ibid.filters import LONGEST_TEXT, Comparison, Filter, Scalar, kind_of

_LARGEST: Final = int(sys.float_info.max)


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of a document as rows beside it; of the last three columns only the one of its kind is not null."""

    tables: tuple[FromClause, ...]
    key: ColumnElement[str]
    text: ColumnElement[str]
    number: ColumnElement[float]
    truth: ColumnElement[str]


def says(session: Session, wanted: Filter) -> ColumnElement[bool]:
    """Predicate on `Document`: the filter holds for it."""
    return _says(rows_of(session), wanted)


def rows_of(session: Session) -> Callable[[], Facts]:
    """What takes the metadata of `Document` apart in the database that the session talks to."""
    return _in_sqlite if session.get_bind().dialect.name == "sqlite" else _in_postgres


def _says(rows: Callable[[], Facts], wanted: Filter) -> ColumnElement[bool]:
    if not isinstance(wanted, Comparison):
        those = [_says(rows, each) for each in wanted.filters]
        return and_(true(), *those) if wanted.type == "and" else or_(*those)
    facts = rows()
    held = select(literal(1)).select_from(*facts.tables).where(facts.key == wanted.key)
    found = held.where(_compared(facts, wanted)).correlate(Document).exists()
    return not_(found) if wanted.type in {"ne", "nin"} else found


def _compared(facts: Facts, wanted: Comparison) -> ColumnElement[bool]:
    """Whether a fact is what `eq`, `in` or an order asks for. A null of another kind is never true."""
    if wanted.type in {"eq", "ne", "in", "nin"}:
        return or_(*(_column(facts, value) == _bound(value) for value in wanted.values))
    column, value = _column(facts, wanted.values[0]), _bound(wanted.values[0])
    orders = {"gt": column > value, "gte": column >= value, "lt": column < value, "lte": column <= value}
    return orders[wanted.type]


def _column(facts: Facts, value: Scalar) -> ColumnElement[Any]:
    kinds: dict[str, ColumnElement[Any]] = {"text": facts.text, "number": facts.number, "truth": facts.truth}
    return kinds[kind_of(value)]


def _bound(value: Scalar) -> ColumnElement[Any]:
    if isinstance(value, bool):
        return literal("true" if value else "false")
    return literal(value) if isinstance(value, str) else literal(value, Double)


def _in_sqlite() -> Facts:
    """SQLite's `json_each` unpacks a list; what is none is unpacked as a list of one, and then read where it was."""
    member = func.json_each(Document.meta).table_valued("key", "value", "type", "atom", joins_implicitly=True)
    listed = case((member.c.type == "array", member.c.value), else_="[0]")
    each = func.json_each(listed).table_valued("type", "atom", joins_implicitly=True)
    in_list = member.c.type == "array"
    type_, atom = (
        case((in_list, each.c.type), else_=member.c.type),
        case((in_list, each.c.atom), else_=member.c.atom),
    )
    number = cast(atom, Double)
    return Facts(
        (member, each),
        member.c.key,
        case((and_(type_ == "text", func.length(atom) <= LONGEST_TEXT), atom)),
        case((and_(type_.in_(["integer", "real"]), func.abs(number) <= sys.float_info.max), number)),
        case((type_.in_(["true", "false"]), type_)),
    )


def _in_postgres() -> Facts:
    """PostgreSQL: texts in the order of code points, and numbers too large for a float kept from becoming one."""
    member = func.json_each(Document.meta).table_valued("key", "value", joins_implicitly=True)
    listed = case(
        (func.json_typeof(member.c.value) == "array", member.c.value),
        else_=func.json_build_array(member.c.value),
    )
    each = func.json_array_elements(listed).table_valued("value", joins_implicitly=True)
    type_ = func.json_typeof(each.c.value)
    plain = each.c.value.op("#>>", return_type=Text())(literal_column("'{}'"))
    exact = case((type_ == "number", cast(plain, Numeric)))
    return Facts(
        (member, each),
        member.c.key,
        case((and_(type_ == "string", func.char_length(plain) <= LONGEST_TEXT), plain.collate("C"))),
        case((func.abs(exact) <= cast(literal(str(_LARGEST)), Numeric), cast(exact, Double))),
        case((type_ == "boolean", plain)),
    )
