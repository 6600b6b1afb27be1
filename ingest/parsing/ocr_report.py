"""What a receipt says in words of pages that were recognised."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from ingest.parsing.recognised import RecognisedPage

HARD: Final = 0.85
"""Pages read with less confidence than this are named; clear print has 0.98."""


def warnings_of(recognised: Sequence[RecognisedPage]) -> Iterator[str]:
    """Pages that were hard to read, and those that were not read."""
    hard = [page for page in recognised if page.lines and page.confidence < HARD]
    if hard:
        least = min(page.confidence for page in hard)
        yield (
            f"{listed([page.number for page in hard])} could be recognised only with {least:.0%} confidence or little "
            "more: compare what is quoted from there with the page."
        )
    reasons: dict[str, list[int]] = defaultdict(list)
    for page in recognised:
        if page.failure:
            reasons[page.failure].append(page.number)
    for reason, numbers in reasons.items():
        yield f"{listed(numbers)} could not be recognised and cannot be searched: {reason}"


def unread(recognised: Sequence[RecognisedPage]) -> str:
    """Why nothing was recognised; empty where pages were looked at and hold no words."""
    return next((page.failure for page in recognised if page.failure), "")


def listed(numbers: Sequence[int]) -> str:
    """Page numbers in words."""
    return f"{'Page' if len(numbers) == 1 else 'Pages'} {', '.join(map(str, numbers))}"
