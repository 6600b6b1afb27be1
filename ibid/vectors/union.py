"""Candidates from what each leg proposes, for every engine alike."""

from collections.abc import Mapping

from ibid.vectors.port import Candidate, HybridQuery

# By id: the score in the leg that proposes the point, its version, its place there, and of how many.
Proposals = dict[str, tuple[float, str, int, int]]


def united(
    by_dense: Proposals,
    by_sparse: Proposals,
    more_dense: Mapping[str, float],
    more_sparse: Mapping[str, float],
) -> list[Candidate]:
    """All proposals in the order of ids; `more_…` are the scores of those that only the other leg proposes.

    A point that was deleted between the two questions has no score any more, and is no candidate. Sharing no word is a
    score of 0 to some engines, and none at all to others.
    """
    dense = dict(more_dense) | {point_id: score for point_id, (score, *_) in by_dense.items()}
    sparse = dict(more_sparse) | {point_id: score for point_id, (score, *_) in by_sparse.items()}
    return [
        Candidate(point_id, version_id, ordinal, of, dense[point_id], sparse.get(point_id) or None)
        for point_id, (_, version_id, ordinal, of) in sorted((by_sparse | by_dense).items())
        if point_id in dense
    ]


def sees_nothing(query: HybridQuery) -> bool:
    """Whether no point can be an answer: nothing is asked for, or no document is allowed."""
    return query.candidates < 1 or query.filter.document_ids == frozenset()
