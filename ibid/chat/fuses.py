"""A fuse: what keeps a model that fails again and again from being asked.

Ours, since libraries of circuit breakers count whatever is no failure as a success: a reader who stops a model that
hangs would mend it.
"""

from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import Final, Literal

from ibid.errors import Unavailable

FAILURES: Final = 3
"""In a row, after which a model is left alone for a while."""


class CircuitOpen(Unavailable):
    """A model failed so often that it is left alone for a while."""

    code = "circuit_open"


class Fuse:
    """Blows after `FAILURES` in a row; after a pause of `seconds` lets one call through to see whether that works."""

    def __init__(self, seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._lock = Lock()
        self._failures = 0
        self._until = 0.0
        self._trying = False

    def ask(self) -> None:
        """Raise `CircuitOpen` unless a call may be made now; whoever makes one notes how it went."""
        with self._lock:
            if self._failures < FAILURES:
                return
            if self._trying or self._clock() < self._until:
                raise CircuitOpen(f"It failed {FAILURES} times in a row, and is left alone for a while.")
            self._trying = True

    def note(self, how: Literal["worked", "failed", "neither"]) -> None:
        """How a call went; `neither` if that says nothing of the model."""
        with self._lock:
            self._trying = False
            if how == "worked":
                self._failures = 0
            elif how == "failed":
                self._failures += 1
                self._until = self._clock() + self._seconds
