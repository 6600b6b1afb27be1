"""What a search does, as a value: presets, and every knob of them."""

from dataclasses import dataclass, replace
from typing import Final, Literal

Preset = Literal["fast", "balanced", "thorough"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How passages are found.

    `candidates` is how many each leg proposes. `dense_weight` (0 to 1) is the part of the meaning in the score of a
    passage, the rest is that of its words. `nearby_weight` is how much the better of its neighbours adds, and
    `exact_weight` how much the identifiers, numbers and dates of the question do that a passage has. `quoted` asks for
    passages that hold what the question has in quotation marks. `feedback` is how far the best passages of a first
    search turn the question's vector towards theirs. `rerank` candidates are read again by the reranker, whose part in
    their score is `rerank_weight`. As many as `passage_chunks` chunks next to each other are one passage, and a passage
    grows to `section_chunks` where its section has them. `diversity` (0 to 1) is how much a passage loses for being like
    one before it. `max_tokens` is how long the passages may be together, 0 for as long as they are. `fitted` is the fit
    that the weights come from, if they do.
    """

    candidates: int = 100
    dense_weight: float = 0.5
    nearby_weight: float = 0.3
    exact_weight: float = 0.0
    quoted: bool = True
    feedback: float = 0.0
    rerank: int = 0
    rerank_weight: float = 0.5
    passage_chunks: int = 3
    section_chunks: int = 0
    diversity: float = 0.0
    max_tokens: int = 0
    fitted: str | None = None


BALANCED: Final = Plan()
PRESETS: Final[dict[Preset, Plan]] = {
    "fast": Plan(candidates=30, nearby_weight=0.0, passage_chunks=1),
    "balanced": BALANCED,
    "thorough": Plan(candidates=400, passage_chunks=5, section_chunks=5),
}
"""`balanced` is what is searched with unless somebody asks otherwise or weights were fitted, and what is measured."""
RERANKED: Final = 40
"""Candidates that the preset `thorough` has read again."""


def preset(name: Preset, *, reranks: bool) -> Plan:
    """The plan of that name; `thorough` reranks where a reranker is configured."""
    plan = PRESETS[name]
    return replace(plan, rerank=RERANKED) if reranks and name == "thorough" else plan
