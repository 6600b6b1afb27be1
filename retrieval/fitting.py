"""Weights of the legs, chosen on questions whose answers are known. Numbers in, numbers out: no row, no engine, no text.

The engine is asked once for each question. What other weights would have shown follows from what it proposed, whose
scores in both legs are known, by the same fusion that searches use.

Weights that are chosen on questions look better on these than they are. So the questions are parted into five folds by
their ids, the weights for each fold are chosen on the other four, and only those count that saw none of its questions.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from math import log2, sqrt
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ibid.fits import GENERATED
from ibid.vectors.port import Candidate
from retrieval import certainty, fusion
from retrieval.certainty import Interval
from retrieval.plan import BALANCED, Plan

DENSE_WEIGHTS: Final = tuple(step / 10 for step in range(11))
NEARBY_WEIGHTS: Final = (0.0, 0.15, 0.3, 0.45)
GRID: Final = tuple(
    replace(BALANCED, dense_weight=dense, nearby_weight=nearby)
    for dense in DENSE_WEIGHTS
    for nearby in NEARBY_WEIGHTS
)
PRESET: Final = GRID.index(BALANCED)
LEGS: Final = {
    "dense": GRID.index(replace(BALANCED, dense_weight=1.0, nearby_weight=0.0)),
    "sparse": GRID.index(replace(BALANCED, dense_weight=0.0, nearby_weight=0.0)),
}
"""Each leg alone, as points of the grid."""
FOLDS: Final = 5
FEWEST: Final = 30
"""Fewer questions tell no weights from chance."""
FURTHEST: Final = 0.2
"""How far the part of the meaning may move from the preset's for questions made of the collection's own words."""
DEPTH: Final = 10
MEASURE: Final = f"nDCG@{DEPTH}"
CAUTION: Final = (
    "These questions were made of words of the passages that answer them. That favours the search by words over the one "
    f"by meaning, so the dense weight may move by {FURTHEST} at most. Questions that people ask tell more."
)

Values = npt.NDArray[np.float64]
"""The measure by question (rows) and point of the grid (columns)."""


@dataclass(frozen=True, slots=True)
class Question:
    """What the engine proposed for a question, by whose `id` its fold is told.

    `things` says of the live candidates in what they stand: a document, a page, or the chunk itself;
    `gold` are those of these things that answer the question.
    """

    id: str
    candidates: tuple[Candidate, ...]
    things: Mapping[str, str]
    gold: frozenset[str]


@dataclass(frozen=True, slots=True)
class Judged:
    """The measure of a question at each point of the grid, 0 to 1."""

    id: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What a fit found. `means` are of questions that the weights did not see; `gain` is that of fitted over preset.

    `left_out` counts questions whose answers are not, or no longer, in what is searched. `weights` were chosen on all
    questions, and those of each fold without it. `means` and `gain` are None without a question.
    """

    source: str
    measure: str
    questions: int
    left_out: int
    means: dict[str, float] | None
    gain: Interval | None
    weights: tuple[float, float]
    fold_weights: tuple[tuple[float, float], ...]
    adopted: bool
    reason: str
    caution: str | None

    def as_json(self) -> dict[str, Any]:
        """For programs; the same questions give the same object."""
        return asdict(self) | {
            "weights": _named(self.weights),
            "fold_weights": [_named(weights) for weights in self.fold_weights],
        }


def judged(question: Question) -> Judged:
    """The measure at each point of the grid."""
    if question.gold.isdisjoint(question.things.values()):
        return Judged(question.id, (0.0,) * len(GRID))
    return Judged(question.id, tuple(ndcg(question, plan) for plan in GRID))


def ndcg(question: Question, plan: Plan) -> float:
    """nDCG@10 (Järvelin and Kekäläinen 2002) of the things in the order of a plan, each where its best chunk ranks."""
    ranked = (question.things.get(each.candidate.id) for each in fusion.fused(question.candidates, plan))
    shown = islice(dict.fromkeys(thing for thing in ranked if thing is not None), DEPTH)
    gain = sum(1 / log2(rank + 2) for rank, thing in enumerate(shown) if thing in question.gold)
    return gain / sum(1 / log2(rank + 2) for rank in range(min(DEPTH, len(question.gold))))


def fold_of(question_id: str) -> int:
    """The fold of a question, from 0: always the same, whatever other questions there are."""
    return int(hashlib.sha256(question_id.encode()).hexdigest()[:8], 16) % FOLDS


def fit(questions: Sequence[Judged], source: str, left_out: int = 0) -> Report:
    """Choose weights, and say whether they are to count: not unless that is better than chance on unseen questions."""
    values = np.array([each.values for each in questions], dtype=np.float64).reshape(-1, len(GRID))
    allowed = _allowed(source)
    chosen = choose(values, allowed)
    folds = np.array([fold_of(each.id) for each in questions], dtype=np.int64)
    by_fold = tuple(choose(values[folds != fold], allowed) for fold in range(FOLDS))
    means, gain = None, None
    if len(values):
        unseen = values[np.arange(len(values)), np.array(by_fold)[folds]]
        columns = {"fitted": unseen, "preset": values[:, PRESET]}
        columns |= {leg: values[:, point] for leg, point in LEGS.items()}
        means = {name: float(column.mean()) for name, column in columns.items()}
        gain = certainty.interval((unseen - values[:, PRESET]).tolist())
    adopted, reason = _decided(means, gain, chosen)
    return Report(
        source=source,
        measure=MEASURE,
        questions=len(values),
        left_out=left_out,
        means=means,
        gain=gain,
        weights=_weights(chosen),
        fold_weights=tuple(map(_weights, by_fold)),
        adopted=adopted,
        reason=reason,
        caution=CAUTION if source == GENERATED else None,
    )


def choose(values: Values, allowed: Sequence[int]) -> int:
    """Of the points within one standard error of the best, that which moves the least from the preset.

    The error is that of the difference from the best, question by question. Points that are worse than a leg alone are
    left out, unless even the best is. Without questions it is the preset.
    """
    if not len(values):
        return PRESET
    means = values.mean(axis=0)
    best = min(allowed, key=lambda point: (-means[point], _moved(point)))
    gaps = values[:, [best]] - values
    errors = gaps.std(axis=0, ddof=min(1, len(values) - 1)) / sqrt(len(values))
    floor = min(means[best], max(means[point] for point in LEGS.values()))
    near = [point for point in allowed if gaps[:, point].mean() <= errors[point] and means[point] >= floor]
    return min(near, key=lambda point: (_moved(point), -means[point], point))


def _decided(means: Mapping[str, float] | None, gain: Interval | None, chosen: int) -> tuple[bool, str]:
    """The guard: whether the weights count, and why in a sentence."""
    if means is None or gain is None or gain.n < FEWEST:
        n = gain.n if gain is not None else 0
        counted = "is 1 question" if n == 1 else f"are {n} questions"
        return (
            False,
            f"There {counted}, and {FEWEST} are the fewest that tell anything: nothing is changed.",
        )
    if chosen == PRESET:
        return (
            False,
            "No weights are better than the preset's by more than a standard error: nothing is changed.",
        )
    leg = max(LEGS, key=lambda name: means[name])
    if means["fitted"] < means[leg]:
        return False, (
            f"The fitted weights are worse on unseen questions than the {leg} leg alone "
            f"({means['fitted']:.3f} against {means[leg]:.3f}): nothing is changed."
        )
    told = f"{gain.mean:+.3f}, {certainty.LEVEL:.0%} interval {gain.low:+.3f} to {gain.high:+.3f}"
    if gain.low <= 0:
        return (
            False,
            f"What is gained over the preset on unseen questions may be chance ({told}): nothing is changed.",
        )
    return True, f"On unseen questions the fitted weights are better than the preset's ({told})."


def _allowed(source: str) -> list[int]:
    """Points of the grid that may be chosen."""
    reach = FURTHEST if source == GENERATED else 1.0
    slack = 1e-9  # 0.7 - 0.5 is a little less than 0.2, and 0.5 - 0.3 may be more
    return [
        number
        for number, plan in enumerate(GRID)
        if abs(plan.dense_weight - BALANCED.dense_weight) <= reach + slack
    ]


def _moved(point: int) -> int:
    """How many steps of the grid away from the preset."""
    dense, nearby = divmod(point, len(NEARBY_WEIGHTS))
    preset_dense, preset_nearby = divmod(PRESET, len(NEARBY_WEIGHTS))
    return abs(dense - preset_dense) + abs(nearby - preset_nearby)


def _weights(point: int) -> tuple[float, float]:
    return GRID[point].dense_weight, GRID[point].nearby_weight


def _named(weights: tuple[float, float]) -> dict[str, float]:
    return {"dense_weight": weights[0], "nearby_weight": weights[1]}
