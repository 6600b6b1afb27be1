"""What a search does, as a value: presets, and every knob of them."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Plan:
    """How passages are found.

    `candidates` is how many each leg proposes. `dense_weight` (0 to 1) is the part of the meaning in the score of a
    passage, the rest is that of its words. `nearby_weight` is how much the better of its neighbours adds. So many chunks
    next to each other are one passage at most.
    """

    candidates: int = 100
    dense_weight: float = 0.5
    nearby_weight: float = 0.3
    passage_chunks: int = 3


BALANCED: Final = Plan()
