"""Ways to search that can be compared: each makes, of what readers search with, something else to search with."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal

from evals.shelf import ADMIN
from ibid.errors import Invalid
from ibid.types import Hit
from ibid.vectors.port import HybridQuery, PointHit, PointRef, VectorReader
from retrieval.kit import Kit
from retrieval.search import search

LegName = Literal["dense", "sparse"]
Run = Callable[[str], Sequence[Hit]]
"""A question to its hits, best first."""


class WayUnknown(Invalid):
    """No way to search has this name."""

    code = "way_unknown"


@dataclass(frozen=True, slots=True)
class Leg:
    """A store whose searches give one leg's own ranking, read off the scores that every fused hit carries."""

    store: VectorReader
    leg: LegName

    def search(self, generation: str, query: HybridQuery) -> list[PointHit]:
        """The leg's best points first: all that it brought to the fusion, down to the limit."""
        whole = replace(query, limit=2 * query.candidates, offset=0)
        found = [(hit, getattr(hit, self.leg)) for hit in self.store.search(generation, whole)]
        scored = [(hit, score) for hit, score in found if score is not None]
        scored.sort(key=lambda pair: (-pair[1], pair[0].id))
        return [hit for hit, _ in scored[query.offset : query.offset + query.limit]]

    def count(self, generation: str, *, version_id: str | None = None, document_id: str | None = None) -> int:
        """As the store says."""
        return self.store.count(generation, version_id=version_id, document_id=document_id)

    def scan(
        self, generation: str, *, batch: int = 1000, after: str | None = None
    ) -> Iterator[list[PointRef]]:
        """As the store says."""
        return self.store.scan(generation, batch=batch, after=after)

    def generations(self) -> set[str]:
        """As the store says."""
        return self.store.generations()


def run(kit: Kit, collection: str, way: str, depth: int) -> Run:
    """Searches of a collection by a way of `WAYS`, each giving `depth` hits at most; raises `WayUnknown`."""
    check(way)
    kit = WAYS[way](kit)
    return lambda question: search(kit, ADMIN, collection, question, depth).hits


def check(way: str) -> None:
    """Raise `WayUnknown` unless there is such a way."""
    if way not in WAYS:
        raise WayUnknown(f"There is no way to search called {way!r}; there are {', '.join(WAYS)}.")


def _fused(kit: Kit) -> Kit:
    return kit


def _alone(leg: LegName, kit: Kit) -> Kit:
    return replace(kit, vectors=Leg(kit.vectors, leg))


WAYS: Final[dict[str, Callable[[Kit], Kit]]] = {
    "fused": _fused,
    "dense": partial(_alone, "dense"),
    "sparse": partial(_alone, "sparse"),
}
"""`fused` is how every reader searches, the others are each half of that alone."""
