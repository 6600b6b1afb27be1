"""What an index keeps of facts cannot be read; that filters find by it what they mean is in `contracts/test_filters`."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibid.filters import Comparison, Order, facts, holds
from ibid.marks import marks, may_hold
from tests.described import metadata


def marked(value: object, key: str = "k") -> tuple[Any, ...]:
    return marks(facts({key: value}))


@given(metadata)
def test_hold_only_digests_and_numbers(given_: dict[str, Any]) -> None:
    for mark in marks(facts(given_)):
        assert [len(bytes.fromhex(digest)) for digest in (mark.series, mark.value)] == [16, 16]
        assert isinstance(mark.at, float)


@given(metadata, metadata)
def test_are_equal_only_for_equal_facts(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (marks(facts(one)) == marks(facts(other))) == (facts(one) == facts(other))


@pytest.mark.parametrize(
    ("one", "other"), [("1", 1), ("true", True), (1, True), ("a", "A"), ("2026-01-31", "2026-01-31T10")]
)
def test_tell_values_apart(one: object, other: object) -> None:
    assert marked(one)[0].value != marked(other)[0].value
    assert marked(one)[0].value != marked(one, "key")[0].value


numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(st.sampled_from(["gt", "gte", "lt", "lte"]), numbers, numbers)
def test_leave_no_number_out(order: Order, asked: float, value: float) -> None:
    wanted = Comparison(order, "k", (asked,))
    assert may_hold(wanted, marked(value)) or not holds(wanted, facts({"k": value}))


@pytest.mark.parametrize(("asked", "value"), [(2026, 2025), (0.1, 0.0999999), (1767225600001, 1767225600000)])
def test_order_numbers_by_their_first_digits(asked: float, value: float) -> None:
    assert not may_hold(Comparison("gte", "k", (asked,)), marked(value))
    assert may_hold(Comparison("lte", "k", (asked,)), marked(value))


def test_order_texts_by_their_day() -> None:
    after = Comparison("gt", "k", ("2026-01-31T10:00",))
    found = [
        may_hold(after, marked(value)) for value in ("2026-01-30", "2026-01-31T09:00", "2026-02-01", "x")
    ]
    assert found == [False, True, True, True]
