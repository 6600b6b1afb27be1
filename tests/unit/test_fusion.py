"""One order from the scores of both legs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibid.vectors.port import Candidate
from retrieval.fusion import fused
from retrieval.plan import Plan

DENSE, SPARSE = Plan(dense_weight=1.0, nearby_weight=0.0), Plan(dense_weight=0.0, nearby_weight=0.0)
BOTH = Plan(dense_weight=0.5, nearby_weight=0.0)


def candidate(
    number: int, dense: float, sparse: float | None, version: str = "ver_1", of: int = 50
) -> Candidate:
    return Candidate(f"point-{number:02}", version, number, of, dense, sparse)


def order(candidates: list[Candidate], plan: Plan) -> list[int]:
    return [ranked.candidate.ordinal for ranked in fused(candidates, plan)]


FOUR = [candidate(10, 0.9, None), candidate(20, 0.5, 4.0), candidate(30, 0.8, 3.0), candidate(40, 0.1, 1.0)]


def test_each_leg_alone_has_its_own_order():
    assert order(FOUR, DENSE) == [10, 30, 20, 40]
    assert order(FOUR, SPARSE) == [20, 30, 40, 10]


def test_both_legs_prefer_what_is_good_in_both():
    ranked = fused(FOUR, BOTH)
    assert [each.candidate.ordinal for each in ranked] == [30, 20, 10, 40]
    assert ranked[0].score == pytest.approx(0.5 * 0.875 + 0.5 * 0.75)


def test_a_neighbour_that_fits_adds():
    candidates = [
        candidate(1, 0.9, None),
        candidate(5, 0.8, None),
        candidate(6, 0.85, None),
        candidate(9, 0.0, None),
    ]
    assert order(candidates, DENSE) == [1, 6, 5, 9]
    assert order(candidates, Plan(dense_weight=1.0, nearby_weight=0.3)) == [6, 5, 1, 9]


def test_a_chunk_of_another_version_is_no_neighbour():
    candidates = [
        candidate(1, 0.9, None),
        candidate(5, 0.8, None),
        candidate(6, 0.85, None, version="ver_2"),
        candidate(9, 0.0, None),
    ]
    assert order(candidates, Plan(dense_weight=1.0, nearby_weight=0.3)) == [1, 6, 5, 9]


def test_a_chunk_that_is_its_whole_document_is_its_own_place():
    candidates = [
        candidate(0, 0.9, None, version="ver_2", of=1),
        candidate(5, 0.92, None),
        candidate(9, 0.0, None),
    ]
    assert order(candidates, DENSE) == [5, 0, 9]
    assert order(candidates, Plan(dense_weight=1.0, nearby_weight=0.3)) == [0, 5, 9]


def test_nothing_and_one():
    assert fused([], BOTH) == []
    (only,) = fused([candidate(1, 0.3, None)], BOTH)
    assert only.score == 0.0


scores = st.floats(-1, 1).map(lambda value: round(value, 3))
corpora = st.lists(
    st.tuples(st.integers(0, 40), scores, st.none() | st.floats(0, 30)),
    unique_by=lambda each: each[0],
    max_size=30,
)


@given(corpora, st.floats(0, 1), st.floats(0, 1))
def test_whatever_the_weights_each_candidate_has_a_score_from_0_to_1(corpus, dense_weight, nearby_weight):
    candidates = [candidate(*each) for each in corpus]
    ranked = fused(candidates, Plan(dense_weight=dense_weight, nearby_weight=nearby_weight))
    assert sorted(each.candidate.id for each in ranked) == sorted(each.id for each in candidates)
    assert all(-1e-9 <= each.score <= 1 + 1e-9 for each in ranked)
    assert [each.score for each in ranked] == sorted((each.score for each in ranked), reverse=True)


@given(corpora)
def test_the_order_does_not_depend_on_the_order_of_candidates(corpus):
    candidates = [candidate(*each) for each in corpus]
    assert fused(candidates, Plan()) == fused(candidates[::-1], Plan())


@given(corpora)
def test_a_leg_alone_never_ranks_the_worse_first(corpus):
    ranked = [each.candidate.dense for each in fused([candidate(*each) for each in corpus], DENSE)]
    assert ranked == sorted(ranked, reverse=True)
