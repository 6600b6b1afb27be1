"""The reranker port, and what a reranker's scores do to an order."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from ibid.errors import Invalid
from retrieval.fusion import Ranked, stretched
from retrieval.plan import Plan


class RerankerMissing(Invalid):
    """A search is to rerank, and nothing is configured that could."""

    code = "reranker_missing"


class Reranker(Protocol):
    """A model that reads a question together with a text."""

    @property
    def name(self) -> str:
        """What the setting calls it."""
        ...

    def scores(self, question: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers, the higher the better; comparable within one call, thread-safe."""
        ...


def mixed(ranked: Sequence[Ranked], scores: Mapping[str, float], plan: Plan) -> list[Ranked]:
    """The candidates with the scores of some of them, by id, mixed in; stretched like those of the legs.

    The others stay below what they were by the reranker's part, as if it had given them its worst.
    """
    given = dict(zip(scores, stretched(list(scores.values())), strict=True))
    mixed = [
        replace(
            each,
            score=(1 - plan.rerank_weight) * each.score
            + plan.rerank_weight * given.get(each.candidate.id, 0.0),
        )
        for each in ranked
    ]
    return sorted(mixed, key=lambda each: (-each.score, each.candidate.id))
