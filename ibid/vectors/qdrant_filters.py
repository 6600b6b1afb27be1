"""Conditions in the words of the Qdrant server's client."""

from qdrant_client import models

from ibid.vectors.conditions import Bound, Condition, Inside, OneOf, Where


def filter_of(where: Where) -> models.Filter:
    """The filter that means the same; without conditions of a kind nothing is asked of it."""
    return models.Filter(
        must=[_condition(each) for each in where.must] or None,
        should=[_condition(each) for each in where.should] or None,
        must_not=[_condition(each) for each in where.must_not] or None,
    )


def _condition(condition: Condition) -> models.Condition:
    if isinstance(condition, OneOf):
        return models.FieldCondition(key=condition.field, match=models.MatchAny(any=list(condition.values)))
    if isinstance(condition, Bound):
        return models.FieldCondition(
            key=condition.field, range=models.Range(**{condition.order: condition.number})
        )
    if isinstance(condition, Inside):
        nested = models.Nested(key=condition.field, filter=filter_of(condition.where))
        return models.NestedCondition(nested=nested)
    return filter_of(condition)
