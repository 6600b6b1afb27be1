"""The exact text that encoders read for a chunk."""

from collections.abc import Sequence


def encoder_text(heading: Sequence[str], text: str) -> str:
    """The two nearest headings above the chunk, then its own words."""
    return "\n".join([*heading[-2:], text])
