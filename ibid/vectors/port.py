"""The vector store port: points of a generation, written by workers and queried by searches.

A generation is one physical collection of the engine with a dense vector (cosine) and a BM25 sparse vector
(the engine applies IDF). Point ids are UUID strings, deterministic in (generation, version, ordinal), so writing
a point twice is writing it once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ibid.filters import Filter
from ibid.marks import Mark
from ibid.types import SparseVector

Vector = npt.NDArray[np.float32]
ANYONE = "*"


@dataclass(frozen=True, slots=True)
class PointPayload:
    """What the engine filters by. Times are seconds since the epoch; `live_to` is None for the current version.

    `access` names the principals that may see the document, `("*",)` when it is not restricted; `marks` stand for
    the facts that are said of it.
    """

    document_id: str
    version_id: str
    access: tuple[str, ...]
    live_from: float
    live_to: float | None
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """One chunk in the engine: `dense` has shape (dimensions,); it is chunk `ordinal`, from 0, `of` those of its version."""

    id: str
    dense: Vector
    sparse: SparseVector
    payload: PointPayload
    ordinal: int
    of: int


@dataclass(frozen=True, slots=True)
class Fence:
    """The right of one attempt of one job to write; the store's owner refuses it once the attempt is over."""

    job_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class PointFilter:
    """What a search may see: points live at `as_of` (epoch seconds) whose access meets `principals` (None: all).

    `document_ids` limits to these documents, `facts` to those of which such facts are known; None is every document.
    Marks are in the order of facts only nearly: where `facts` asks for one, points may come that SQL then drops, and
    none is left out.
    """

    as_of: float
    principals: frozenset[str] | None = None
    document_ids: frozenset[str] | None = None
    facts: Filter | None = None


@dataclass(frozen=True, slots=True)
class HybridQuery:
    """A question in both representations. `candidates` is how many points each leg proposes."""

    dense: Vector
    sparse: SparseVector
    filter: PointFilter
    candidates: int = 100


@dataclass(frozen=True, slots=True)
class Candidate:
    """A point that one leg or both proposed, with its exact scores in both: its cosine with the question, and its BM25.

    `sparse` is None where the point shares no word with the question.
    """

    id: str
    version_id: str
    ordinal: int
    of: int
    dense: float
    sparse: float | None


@dataclass(frozen=True, slots=True)
class PointRef:
    """A stored point, as a scan sees it."""

    id: str
    payload: PointPayload


class VectorReader(Protocol):
    """Questions to the store. Raises `Unavailable` when it cannot be reached, `GenerationMissing` when unknown."""

    def candidates(self, generation: str, query: HybridQuery) -> list[Candidate]:
        """What either leg has among its best, in the order of ids.

        They are fewer than `query.candidates` only when they are all points that the filter lets through.
        """
        ...

    def count(self, generation: str, *, version_id: str | None = None, document_id: str | None = None) -> int:
        """Exact number of points, all or those of one version or document."""
        ...

    def scan(
        self, generation: str, *, batch: int = 1000, after: str | None = None
    ) -> Iterator[list[PointRef]]:
        """Every stored point once, or those whose id comes `after` one, in batches, in the order of ids."""
        ...

    def generations(self) -> set[str]:
        """The generations that exist in the store."""
        ...


class VectorWriter(Protocol):
    """Changes to the store; each is idempotent, and durable when it returns, points with the next `sync`."""

    def create(self, generation: str, dimensions: int) -> None:
        """Make the generation's physical collection; nothing happens if it exists with these dimensions."""
        ...

    def upsert(self, generation: str, points: Sequence[Point], *, fence: Fence | None = None) -> None:
        """Write points; an owner that knows the fence's attempt to be over raises `Fenced` and writes nothing."""
        ...

    def sync(self, generation: str) -> None:
        """Make all points durable that were written: once for many documents, since it waits for the disk."""
        ...

    def supersede(self, generation: str, version_id: str, live_to: float) -> None:
        """Give all points of a version an end (epoch seconds)."""
        ...

    def describe(
        self,
        generation: str,
        document_id: str,
        access: tuple[str, ...],
        marks: tuple[Mark, ...],
        *,
        fence: Fence | None = None,
    ) -> None:
        """Replace the access list and the marks of all points of a document; fenced as `upsert`."""
        ...

    def delete(
        self,
        generation: str,
        *,
        point_ids: Sequence[str] = (),
        version_id: str | None = None,
        document_id: str | None = None,
        fence: Fence | None = None,
    ) -> None:
        """Remove points by id, and all of a version, and all of a document, as far as given; fenced as `upsert`."""
        ...

    def drop(self, generation: str) -> None:
        """Remove the generation with all its points; nothing happens if there is none."""
        ...


class VectorStore(VectorReader, VectorWriter, Protocol):
    """Both halves, and an end."""

    def close(self) -> None:
        """Release files and connections; the store is not used afterwards."""
        ...
