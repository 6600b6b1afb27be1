"""The nudge port. The jobs table is the queue; a nudge only shortens the wait until a worker looks."""

from typing import Protocol


class Nudge(Protocol):
    """Tells workers to look at the jobs table."""

    def send(self) -> bool:
        """Whether the broker took the message; a False costs latency (the sweeper nudges again), never a job."""
        ...
