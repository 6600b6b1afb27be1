"""The evidence gate: whether what a search found can hold an answer at all, before a model is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

from ibid.terms import share, terms, weights
from ibid.types import Hit
from retrieval.gate_calibration import BY_ENCODER, OTHERWISE, Calibration

LOOKED_AT = 5


@dataclass(frozen=True, slots=True)
class Features:
    """What the decision rests on, each 0 to 1.

    `dense` is the best cosine of a passage; `covered` the rarity-weighted share of the question's terms that the best
    passage holds, `together` that all looked at hold.
    """

    dense: float
    covered: float
    together: float


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to answer, and the probability (0 to 1) that the passages hold the answer."""

    sufficient: bool
    score: float
    features: Features


def decide(question: str, hits: Sequence[Hit], encoder: str) -> Decision:
    """Whether the passages hold evidence to answer from; cosines of an encoder not calibrated for are not looked at."""
    calibration = BY_ENCODER.get(encoder, OTHERWISE)
    found = features(question, hits)
    score = probability(found, calibration)
    return Decision(bool(hits) and score >= calibration.threshold, score, found)


def features(question: str, hits: Sequence[Hit]) -> Features:
    """The features of a question and its hits, best first."""
    wanted = terms(question)
    texts = [terms(" ".join((hit.text, *hit.heading, hit.document.replace("_", " ")))) for hit in hits]
    weight = weights(wanted, texts)
    looked_at = texts[:LOOKED_AT]
    return Features(
        dense=max((hit.legs.dense or 0.0 for hit in hits), default=0.0),
        covered=max((share(weight, text) for text in looked_at), default=0.0),
        together=share(weight, [term for text in looked_at for term in text]),
    )


def probability(found: Features, calibration: Calibration) -> float:
    """Logistic regression."""
    linear = (
        calibration.bias
        + calibration.dense * found.dense
        + calibration.covered * found.covered
        + calibration.together * found.together
    )
    return 1 / (1 + exp(-linear))
