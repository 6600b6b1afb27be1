"""The store without an engine: numpy in this process, nothing kept. The same scores as the engine's, to rounding."""

import math
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ibid.marks import Mark, may_hold
from ibid.vectors.names import check_points, check_same, checked, is_name, missing
from ibid.vectors.port import (
    ANYONE,
    Candidate,
    Fence,
    HybridQuery,
    Point,
    PointFilter,
    PointPayload,
    PointRef,
)
from ibid.vectors.union import sees_nothing

Scores = dict[str, float]


@dataclass(slots=True)
class _Generation:
    dimensions: int
    points: dict[str, Point] = field(default_factory=dict)


class MemoryVectorStore:
    """Points in dictionaries behind one lock. Superseding and describing replace payloads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._generations: dict[str, _Generation] = {}

    def candidates(self, generation: str, query: HybridQuery) -> list[Candidate]:
        """What either leg has among its best, in the order of ids."""
        with self._lock:
            points = self._known(generation).points
            if sees_nothing(query):
                return []
            visible = [point for point in points.values() if _visible(point.payload, query.filter)]
            dense, sparse = _dense_scores(visible, query), _sparse_scores(visible, points, query)
            proposed = _best(dense, query.candidates) | _best(sparse, query.candidates)
            return [
                Candidate(
                    point.id,
                    point.payload.version_id,
                    point.ordinal,
                    point.of,
                    dense[point.id],
                    sparse.get(point.id),
                )
                for point in (points[point_id] for point_id in sorted(proposed))
            ]

    def count(self, generation: str, *, version_id: str | None = None, document_id: str | None = None) -> int:
        """Exact number of points, all or those of one version or document."""
        with self._lock:
            return sum(
                version_id in {None, point.payload.version_id}
                and document_id in {None, point.payload.document_id}
                for point in self._known(generation).points.values()
            )

    def scan(
        self, generation: str, *, batch: int = 1000, after: str | None = None
    ) -> Iterator[list[PointRef]]:
        """Every point stored when the scan began, or those after one, in batches, in the order of ids."""
        with self._lock:
            refs = [
                PointRef(point_id, point.payload)
                for point_id, point in sorted(self._known(generation).points.items())
                if after is None or point_id > after
            ]
        for first in range(0, len(refs), batch):
            yield refs[first : first + batch]

    def generations(self) -> set[str]:
        """The generations that exist in the store."""
        with self._lock:
            return {name for name in self._generations if is_name(name)}

    def create(self, generation: str, dimensions: int) -> None:
        """Make the generation; nothing happens if it exists with these dimensions."""
        with self._lock:
            existing = self._generations.setdefault(checked(generation), _Generation(dimensions))
            check_same(generation, existing.dimensions, dimensions)

    def upsert(self, generation: str, points: Sequence[Point], *, fence: Fence | None = None) -> None:  # noqa: ARG002 - the port's signature
        """Write points. Whoever lends the store to others (`remote`) checks the fence."""
        with self._lock:
            known = self._known(generation)
            check_points(generation, points, known.dimensions)
            for point in points:
                point_id = str(uuid.UUID(point.id))
                known.points[point_id] = replace(point, id=point_id, dense=_unit(point.dense))

    def sync(self, generation: str) -> None:
        """Nothing outlives the process; raises `GenerationMissing` as others do."""
        with self._lock:
            self._known(generation)

    def supersede(self, generation: str, version_id: str, live_to: float) -> None:
        """Give all points of a version an end (epoch seconds)."""
        self._rewrite(
            generation,
            lambda payload: payload.version_id == version_id,
            lambda p: replace(p, live_to=live_to),
        )

    def describe(
        self,
        generation: str,
        document_id: str,
        access: tuple[str, ...],
        marks: tuple[Mark, ...],
        *,
        fence: Fence | None = None,  # noqa: ARG002 - the port's signature
    ) -> None:
        """Replace the access list and the marks of all points of a document."""
        self._rewrite(
            generation,
            lambda payload: payload.document_id == document_id,
            lambda p: replace(p, access=access, marks=marks),
        )

    def delete(
        self,
        generation: str,
        *,
        point_ids: Sequence[str] = (),
        version_id: str | None = None,
        document_id: str | None = None,
        fence: Fence | None = None,  # noqa: ARG002 - the port's signature
    ) -> None:
        """Remove points by id, and all of a version, and all of a document, as far as given."""
        doomed = {str(uuid.UUID(point_id)) for point_id in point_ids}
        with self._lock:
            known = self._known(generation)
            known.points = {
                point_id: point
                for point_id, point in known.points.items()
                if point_id not in doomed
                and (version_id is None or point.payload.version_id != version_id)
                and (document_id is None or point.payload.document_id != document_id)
            }

    def drop(self, generation: str) -> None:
        """Remove the generation; nothing happens if there is none."""
        with self._lock:
            self._generations.pop(checked(generation), None)

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._generations.clear()

    def _known(self, generation: str) -> _Generation:
        known = self._generations.get(checked(generation))
        if known is None:
            raise missing(generation)
        return known

    def _rewrite(
        self,
        generation: str,
        concerns: Callable[[PointPayload], bool],
        change: Callable[[PointPayload], PointPayload],
    ) -> None:
        with self._lock:
            points = self._known(generation).points
            for point_id, point in points.items():
                if concerns(point.payload):
                    points[point_id] = replace(point, payload=change(point.payload))


def _visible(payload: PointPayload, wanted: PointFilter) -> bool:
    return (
        payload.live_from <= wanted.as_of
        and (payload.live_to is None or payload.live_to > wanted.as_of)
        and (
            wanted.principals is None or bool(wanted.principals.union({ANYONE}).intersection(payload.access))
        )
        and (wanted.document_ids is None or payload.document_id in wanted.document_ids)
        and (wanted.facts is None or may_hold(wanted.facts, payload.marks))
    )


def _unit(vector: np.typing.NDArray[np.float32]) -> np.typing.NDArray[np.float32]:
    norm = float(np.linalg.norm(vector))
    return (vector / norm if norm > 0 else vector).astype(np.float32)


def _dense_scores(points: Sequence[Point], query: HybridQuery) -> Scores:
    """Cosine of each point with the question."""
    if not points:
        return {}
    cosines = np.stack([point.dense for point in points]) @ _unit(query.dense)
    return {point.id: float(cosine) for point, cosine in zip(points, cosines, strict=True)}


def _sparse_scores(points: Sequence[Point], corpus: Mapping[str, Point], query: HybridQuery) -> Scores:
    """Dot product over shared tokens, weighted by IDF over the whole generation, as the engine does it."""
    asked = dict(zip(query.sparse.indices, query.sparse.values, strict=True))
    having = dict.fromkeys(asked, 0)
    total = 0
    for point in corpus.values():
        total += bool(point.sparse.indices)
        for index in having.keys() & point.sparse.indices:
            having[index] += 1
    weights = {
        index: value * math.log(1 + (total - having[index] + 0.5) / (having[index] + 0.5))
        for index, value in asked.items()
    }
    scores = {}
    for point in points:
        shared = [
            weights[i] * v
            for i, v in zip(point.sparse.indices, point.sparse.values, strict=True)
            if i in weights
        ]
        if shared:
            scores[point.id] = sum(shared)
    return scores


def _best(scores: Scores, limit: int) -> set[str]:
    return set(sorted(scores, key=lambda point_id: (-scores[point_id], point_id))[:limit])
