"""Fused hits with their scores in each leg, in an order that does not change between pages."""

from collections.abc import Iterable, Mapping

from ibid.vectors.port import HybridQuery, PointHit

# (id, version id, fused score)
Fused = tuple[str, str, float]


def page(
    fused: Iterable[Fused], dense: Mapping[str, float], sparse: Mapping[str, float], query: HybridQuery
) -> list[PointHit]:
    """The part of the fused list that the query asks for; equal scores are in the order of ids.

    Engines order equal scores as they please, which would show a point on two pages and another on none, so
    they are asked for the whole fused list and it is cut here.
    """
    ranked = sorted(fused, key=lambda hit: (-hit[2], hit[0]))
    return [
        PointHit(point_id, version_id, score, dense.get(point_id), sparse.get(point_id))
        for point_id, version_id, score in ranked[query.offset : query.offset + query.limit]
    ]


def fused_limit(query: HybridQuery) -> int:
    """The longest list that fusing both legs can give."""
    return 2 * query.candidates


def sees_nothing(query: HybridQuery) -> bool:
    """Whether no point can be an answer: nothing is asked for, or no document is allowed."""
    return query.limit < 1 or query.candidates < 1 or query.filter.document_ids == frozenset()
