"""The headings above each element as a document goes on."""


class Outline:
    """A stack of headings; level 0 is the highest."""

    def __init__(self) -> None:
        self._open: list[tuple[int, str]] = []

    @property
    def path(self) -> tuple[str, ...]:
        """The headings in force, highest first."""
        return tuple(text for _, text in self._open)

    def enter(self, level: int, text: str) -> tuple[str, ...]:
        """Take a heading in, which closes those of its level and below; gives the path above it."""
        while self._open and self._open[-1][0] >= level:
            self._open.pop()
        above = self.path
        self._open.append((level, " ".join(text.split())))
        return above
