"""What a search does, as a value: presets, and every knob of them."""

from dataclasses import dataclass
from typing import Final, Literal

Preset = Literal["fast", "balanced", "thorough"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How passages are found.

    `candidates` is how many each leg proposes. `dense_weight` (0 to 1) is the part of the meaning in the score of a
    passage, the rest is that of its words. `nearby_weight` is how much the better of its neighbours adds. So many chunks
    next to each other are one passage at most. `fitted` is the fit that the weights come from, if they do.
    """

    candidates: int = 100
    dense_weight: float = 0.5
    nearby_weight: float = 0.3
    passage_chunks: int = 3
    fitted: str | None = None


BALANCED: Final = Plan()
PRESETS: Final[dict[Preset, Plan]] = {
    "fast": Plan(candidates=30, nearby_weight=0.0, passage_chunks=1),
    "balanced": BALANCED,
    "thorough": Plan(candidates=400, passage_chunks=5),
}
"""`balanced` is what is searched with unless somebody asks otherwise or weights were fitted, and what is measured."""
