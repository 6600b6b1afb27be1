"""How Qdrant Edge is asked for candidates: each leg for its best, then each for its scores of what only the other has."""

from collections.abc import Iterable

import qdrant_edge as edge

from ibid.vectors.layout import DENSE, IN_VIEW, OVERSAMPLING, PROPOSED, SPARSE, proposed
from ibid.vectors.port import Candidate, HybridQuery
from ibid.vectors.union import Proposals, united

_APPROXIMATE = edge.SearchParams(
    hnsw_ef=IN_VIEW, quantization=edge.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING)
)
_EXACT = edge.SearchParams(exact=True)


def candidates(
    shard: edge.EdgeShard, query: HybridQuery, seen: edge.Filter, *, graph: bool
) -> list[Candidate]:
    """What either leg has among its best, in the order of ids; `seen` is the query's filter in the engine's words.

    Where the shard has a `graph`, it proposes for the dense leg. A filter may cut it into pieces, so when it finds too
    few, all are read.
    """
    words = edge.SparseVector(list(query.sparse.indices), list(query.sparse.values))
    legs = (
        edge.Query.Nearest(query.dense.tolist(), using=DENSE),
        edge.Query.Nearest(words, using=SPARSE),
    )
    by_dense, by_sparse = _best(shard, query.candidates, legs, seen, _APPROXIMATE if graph else None)
    if graph and len(by_dense) < query.candidates:
        (by_dense,) = _best(shard, query.candidates, legs[:1], seen, _EXACT)
    only_sparse, only_dense = by_sparse.keys() - by_dense.keys(), by_dense.keys() - by_sparse.keys()
    rest = [_scores_of(leg, ids) for leg, ids in zip(legs, (only_sparse, only_dense), strict=True)]
    more_dense, more_sparse = map(_scores, shard.query_batch(edge.QueryBatchRequest(rest)))
    return united(by_dense, by_sparse, more_dense, more_sparse)


def _best(
    shard: edge.EdgeShard,
    limit: int,
    legs: Iterable[edge.Query],
    seen: edge.Filter,
    how: edge.SearchParams | None,
) -> Iterable[Proposals]:
    requests = [
        edge.QueryRequest(limit=limit, query=leg, filter=seen, params=how, with_payload=list(PROPOSED))
        for leg in legs
    ]
    return map(_proposals, shard.query_batch(edge.QueryBatchRequest(requests)))


def _scores_of(leg: edge.Query, ids: Iterable[str]) -> edge.QueryRequest:
    """These points' scores; a graph would be no help, and might miss one."""
    those = edge.Filter(must=[edge.HasIdCondition(set(ids))])
    return edge.QueryRequest(limit=max(1, len(set(ids))), query=leg, filter=those, params=_EXACT)


def _proposals(points: Iterable[edge.ScoredPoint]) -> Proposals:
    return {str(point.id): (point.score, *proposed(point.payload)) for point in points}


def _scores(points: Iterable[edge.ScoredPoint]) -> dict[str, float]:
    return {str(point.id): point.score for point in points}
