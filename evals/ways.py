"""Ways to search that can be compared: plans by name."""

from collections.abc import Callable, Sequence
from typing import Final

from evals.shelf import ADMIN
from ibid.errors import Invalid
from ibid.types import Hit
from retrieval.kit import Kit
from retrieval.plan import BALANCED, Plan
from retrieval.search import search

Run = Callable[[str], Sequence[Hit]]
"""A question to its hits, best first."""

WAYS: Final = {
    "fused": BALANCED,
    "dense": Plan(dense_weight=1.0, nearby_weight=0.0),
    "sparse": Plan(dense_weight=0.0, nearby_weight=0.0),
}
"""`fused` is how every reader searches, the others are each half of that alone."""


class WayUnknown(Invalid):
    """No way to search has this name."""

    code = "way_unknown"


def run(kit: Kit, collection: str, way: str, depth: int) -> Run:
    """Searches of a collection by a way of `WAYS`, each giving `depth` hits at most; raises `WayUnknown`."""
    check(way)
    plan = WAYS[way]
    return lambda question: search(kit, ADMIN, collection, question, depth, plan=plan).hits


def check(way: str) -> None:
    """Raise `WayUnknown` unless there is such a way."""
    if way not in WAYS:
        raise WayUnknown(f"There is no way to search called {way!r}; there are {', '.join(WAYS)}.")
