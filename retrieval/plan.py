"""What a search does, as a value: presets, and every knob of them."""

from dataclasses import dataclass
from typing import Final, Literal

Preset = Literal["fast", "balanced", "thorough"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How passages are found.

    `candidates` is how many each leg proposes. `dense_weight` (0 to 1) is the part of the meaning in the score of a
    passage, the rest is that of its words. `nearby_weight` is how much the better of its neighbours adds, and
    `exact_weight` how much the identifiers, numbers and dates of the question do that a passage has. `quoted` asks for
    passages that hold what the question has in quotation marks. So many chunks next to each other are one passage at
    most. `diversity` (0 to 1) is how much a passage loses for being like one before it, and `max_tokens` how long the
    passages may be together, 0 for as long as they are.
    """

    candidates: int = 100
    dense_weight: float = 0.5
    nearby_weight: float = 0.3
    exact_weight: float = 0.0
    quoted: bool = True
    passage_chunks: int = 3
    diversity: float = 0.0
    max_tokens: int = 0


BALANCED: Final = Plan()
PRESETS: Final[dict[Preset, Plan]] = {
    "fast": Plan(candidates=30, nearby_weight=0.0, passage_chunks=1),
    "balanced": BALANCED,
    "thorough": Plan(candidates=400, passage_chunks=5),
}
"""`balanced` is what is searched with unless somebody asks otherwise, and what is measured."""
