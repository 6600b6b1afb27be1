"""Conditions in the words of Qdrant Edge."""

import qdrant_edge as edge

from ibid.vectors.conditions import Bound, Condition, Inside, OneOf, Where


def filter_of(where: Where) -> edge.Filter:
    """The filter that means the same; without conditions of a kind nothing is asked of it."""
    return edge.Filter(
        must=[_condition(each) for each in where.must] or None,
        should=[_condition(each) for each in where.should] or None,
        must_not=[_condition(each) for each in where.must_not] or None,
    )


def _condition(condition: Condition) -> "edge.ConditionType":
    if isinstance(condition, OneOf):
        return edge.FieldCondition(condition.field, match=edge.MatchAny(list(condition.values)))
    if isinstance(condition, Bound):
        return edge.FieldCondition(
            condition.field, range=edge.RangeFloat(**{condition.order: condition.number})
        )
    if isinstance(condition, Inside):
        return edge.NestedCondition(condition.field, filter_of(condition.where))
    return filter_of(condition)
