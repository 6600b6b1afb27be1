"""One order from the scores of both legs.

Each leg's scores are stretched so that its best candidate has 1 and its worst 0, and summed with weights. Both legs'
scores are known for every candidate, whichever leg proposed it: a passage that one leg ranks at 101 is not taken for
one that it does not know at all, which is what fusing two lists by rank does.

A passage in a place that fits as a whole is likelier to be what was meant than one that fits alone, so the better of
its two neighbours in the document adds to its score. Only candidates are looked at: the least of all scores stands for
a neighbour that is none. A passage that is its whole document is its own place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ibid.vectors.port import Candidate
from retrieval.plan import Plan


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate with its fused score, 0 to 1."""

    candidate: Candidate
    score: float


def fused(candidates: Sequence[Candidate], plan: Plan) -> list[Ranked]:
    """Best first; equal scores are in the order of ids, so that the same search twice gives the same."""
    dense = stretched([candidate.dense for candidate in candidates])
    sparse = stretched([candidate.sparse or 0.0 for candidate in candidates])
    alone = [
        plan.dense_weight * meaning + (1 - plan.dense_weight) * words
        for meaning, words in zip(dense, sparse, strict=True)
    ]
    by_place = {
        (candidate.version_id, candidate.ordinal): score
        for candidate, score in zip(candidates, alone, strict=True)
    }
    least = min(alone, default=0.0)
    ranked = [
        Ranked(
            candidate,
            (score + plan.nearby_weight * _nearby(candidate, by_place, least)) / (1 + plan.nearby_weight),
        )
        for candidate, score in zip(candidates, alone, strict=True)
    ]
    return sorted(ranked, key=lambda each: (-each.score, each.candidate.id))


def stretched(scores: Sequence[float]) -> list[float]:
    """From 0 to 1; where all are alike there is nothing to tell apart, and each has 0."""
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    span = high - low
    return [(score - low) / span if span > 0 else 0.0 for score in scores]


def _nearby(candidate: Candidate, scores: Mapping[tuple[str, int], float], least: float) -> float:
    """The better score of the chunks before and after."""
    steps = (-1, 1) if candidate.of > 1 else (0,)
    return max(scores.get((candidate.version_id, candidate.ordinal + step), least) for step in steps)
