"""Weights of the evidence gate. Written by `python -m evals.calibrate_gate`; do not edit by hand."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Calibration:
    """Weights of a logistic regression over the gate's features, and the score from which to answer."""

    bias: float
    dense: float
    covered: float
    together: float
    threshold: float


# Fitted 2026-11-30 on one half of the questions of Contoso and SQuAD 2.0, each asked of its own
# and of the other collection. Refused in the other half:
#   all-MiniLM-L6-v2@int8: contoso: 0 of 99
#   all-MiniLM-L6-v2@int8: squad: 5 of 44
#   all-MiniLM-L6-v2@int8: contoso, not in the documents: 14 of 22
#   all-MiniLM-L6-v2@int8: squad, not in the paragraph: 10 of 61
#   all-MiniLM-L6-v2@int8: squad's questions to contoso: 104 of 105
#   all-MiniLM-L6-v2@int8: contoso's questions to squad: 99 of 99
#   any other encoder: contoso: 6 of 99
#   any other encoder: squad: 1 of 44
#   any other encoder: contoso, not in the documents: 8 of 22
#   any other encoder: squad, not in the paragraph: 3 of 61
#   any other encoder: squad's questions to contoso: 79 of 105
#   any other encoder: contoso's questions to squad: 79 of 99
BY_ENCODER: Final = {
    "all-MiniLM-L6-v2": Calibration(
        bias=-4.129, dense=5.928, covered=3.649, together=-1.676, threshold=0.254
    ),
    "all-MiniLM-L6-v2@int8": Calibration(
        bias=-4.129, dense=5.928, covered=3.649, together=-1.676, threshold=0.254
    ),
}
OTHERWISE: Final = Calibration(bias=-1.868, dense=0.0, covered=5.534, together=-1.639, threshold=0.216)
