"""A nudge that only counts: for a process that looks at the jobs table itself."""


class MemoryNudge:
    """Remembers how often work was announced."""

    def __init__(self) -> None:
        self.sent = 0

    def send(self) -> bool:
        """Always taken."""
        self.sent += 1
        return True
