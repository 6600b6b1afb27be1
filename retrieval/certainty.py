"""How sure a mean is: bootstrap intervals and a paired randomisation test, the same each time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

LEVEL: Final = 0.95
DRAWS: Final = 10_000
SEED: Final = 20_260_101
AT_ONCE: Final = 1_000_000
# Rounding must not make a sum of the same differences in another order look smaller.
_EQUAL: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean of `n` values, and the limits between which it lies with `LEVEL` certainty."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """By how much the first is better than the second, question by question, and how easily chance does as much.

    `p` is two-sided, from above 0 to 1. `better`, `worse` and `equal` count the questions.
    """

    difference: Interval
    p: float
    better: int
    worse: int
    equal: int


def interval(values: Sequence[float]) -> Interval:
    """The percentile bootstrap (Efron 1979) of the mean."""
    array = np.asarray(values, dtype=float)
    rng = np.random.default_rng(SEED)
    means = [
        array[rng.integers(len(array), size=(draws, len(array)))].mean(axis=1) for draws in _portions(array)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(array.mean()), float(low), float(high), len(array))


def compare(first: Sequence[float], second: Sequence[float]) -> Comparison:
    """Of values of the same questions in the same order, by flipping the signs of the differences (Fisher 1935)."""
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    rng = np.random.default_rng(SEED)
    seen = abs(differences.sum())
    extreme = 0
    for draws in _portions(differences):
        signs = rng.choice([-1.0, 1.0], size=(draws, len(differences)))
        extreme += int((np.abs(signs @ differences) >= seen - _EQUAL).sum())
    return Comparison(
        difference=interval(differences.tolist()),
        p=float((extreme + 1) / (DRAWS + 1)),
        better=int((differences > 0).sum()),
        worse=int((differences < 0).sum()),
        equal=int((differences == 0).sum()),
    )


def _portions(values: npt.NDArray[np.float64]) -> Iterator[int]:
    """All draws, in portions of some megabytes."""
    step = max(1, AT_ONCE // len(values))
    for begin in range(0, DRAWS, step):
        yield min(step, DRAWS - begin)
