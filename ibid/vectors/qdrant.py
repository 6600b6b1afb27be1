"""Qdrant server or cluster, through its official client (HTTP). Make one after a fork, not before.

Writes wait until they are applied and go through each shard's leader; reads ask a majority of replicas. On a single
node both cost nothing. Where a new generation lies is said in `qdrant_placement`. The fence is not checked here: on a
server, removing a document's vectors waits until every lease on it has ended, and then scans.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Self

import grpc  # type: ignore[import-untyped]
from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from ibid.marks import Mark
from ibid.settings import Settings
from ibid.vectors.conditions import visible
from ibid.vectors.errors import StoreUnavailable
from ibid.vectors.layout import (
    DENSE,
    PROPOSED,
    SPARSE,
    described,
    following,
    loaded,
    proposed,
    stored,
)
from ibid.vectors.names import check_points, check_same, checked, is_name, missing
from ibid.vectors.port import Candidate, Fence, HybridQuery, Point, PointRef
from ibid.vectors.qdrant_filters import filter_of
from ibid.vectors.qdrant_placement import APPROXIMATE, EXACT, Placement
from ibid.vectors.union import Proposals, sees_nothing, united

TIMEOUT = 10.0
DEFAULT = Placement()

# A point of 1,024 dimensions is about 20 kB of JSON, and the server takes bodies of 32 MB.
_AT_ONCE = 256
_Asked = list[float] | models.SparseVector
_STRONG = models.WriteOrdering.STRONG
_MAJORITY = models.ReadConsistencyType.MAJORITY
_SETUP_SECONDS = 60


class QdrantVectorStore:
    """Generations as collections of the same name. Thread-safe, as the client is."""

    def __init__(self, client: QdrantClient, placement: Placement = DEFAULT) -> None:
        self._client = client
        self._placement = placement
        self._dimensions: dict[str, int] = {}

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        api_key: str | None = None,
        timeout: float = TIMEOUT,
        placement: Placement = DEFAULT,
    ) -> Self:
        """A store that connects when it is first used; `timeout` is in seconds per call. The port is 6333 unless given."""
        client = QdrantClient(
            url=url, api_key=api_key, timeout=max(1, round(timeout)), check_compatibility=False
        )
        return cls(client, placement)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The server that the settings name."""
        key = settings.qdrant_api_key
        return cls.connect(
            settings.qdrant_url,
            api_key=key.get_secret_value() if key else None,
            timeout=settings.qdrant_timeout,
            placement=Placement.from_settings(settings),
        )

    def candidates(self, generation: str, query: HybridQuery) -> list[Candidate]:
        """What either leg has among its best, in the order of ids: each is asked, and then for what only the other has.

        A filter may cut a graph into pieces, so when it finds too few, all are read.
        """
        if sees_nothing(query):
            self._size(generation)
            return []
        legs, seen = _legs(query), filter_of(visible(query.filter))
        best = {leg: _best(query, leg, vector, seen, APPROXIMATE) for leg, vector in legs.items()}
        found = {leg: _proposals(hits) for leg, hits in self._ask(generation, best).items()}
        if len(found[DENSE]) < query.candidates:
            all_read = self._ask(generation, {DENSE: _best(query, DENSE, legs[DENSE], seen, EXACT)})
            found[DENSE] = _proposals(all_read[DENSE])
        by_dense, by_sparse = found[DENSE], found.get(SPARSE, {})
        lacking = {DENSE: by_sparse.keys() - by_dense.keys(), SPARSE: by_dense.keys() - by_sparse.keys()}
        rest = {leg: _scores_of(leg, legs[leg], ids) for leg, ids in lacking.items() if leg in legs and ids}
        more = {
            leg: {str(hit.id): hit.score for hit in hits} for leg, hits in self._ask(generation, rest).items()
        }
        return united(by_dense, by_sparse, more.get(DENSE, {}), more.get(SPARSE, {}))

    def count(self, generation: str, *, version_id: str | None = None, document_id: str | None = None) -> int:
        """Exact number of points, all or those of one version or document."""
        wanted = {"version_id": version_id, "document_id": document_id}
        both = [_is(key, value) for key, value in wanted.items() if value is not None]
        with _translated(generation):
            return self._client.count(
                checked(generation), count_filter=models.Filter(must=both) if both else None, exact=True
            ).count

    def scan(
        self, generation: str, *, batch: int = 1000, after: str | None = None
    ) -> Iterator[list[PointRef]]:
        """Every stored point once, or those after one, in batches, in the order of ids."""
        offset: Any = following(after)
        while True:
            with _translated(generation):
                records, offset = self._client.scroll(
                    checked(generation),
                    limit=batch,
                    offset=offset,
                    with_payload=True,
                    with_vectors=False,
                    consistency=_MAJORITY,
                )
            if records:
                yield [_ref(record) for record in records]
            if offset is None:
                return

    def generations(self) -> set[str]:
        """The generations that exist on the server; collections of other names are somebody else's."""
        with _translated(""):
            names = [collection.name for collection in self._client.get_collections().collections]
        return {name for name in names if is_name(name)}

    def create(self, generation: str, dimensions: int) -> None:
        """Make the collection and its indexes; what exists already, even half of it, is completed, and kept as it is."""
        with _translated(generation):
            if not self._client.collection_exists(checked(generation)):
                self._create_collection(generation, dimensions)
        check_same(generation, self._size(generation), dimensions)
        with _translated(generation):
            indexed = self._client.get_collection(generation).payload_schema
            for field, schema in self._placement.indexes().items():
                if field not in indexed:  # another schema would make the server build its index anew
                    self._client.create_payload_index(generation, field, schema, wait=True, ordering=_STRONG)

    def upsert(self, generation: str, points: Sequence[Point], *, fence: Fence | None = None) -> None:  # noqa: ARG002 - the port's signature
        """Write points, applied when it returns."""
        check_points(generation, points, self._size(generation))
        for first in range(0, len(points), _AT_ONCE):
            structs = [_theirs(point) for point in points[first : first + _AT_ONCE]]
            with _translated(generation):
                self._client.upsert(generation, structs, wait=True, ordering=_STRONG)

    def sync(self, generation: str) -> None:
        """The server's log has all that it said was written; raises `GenerationMissing` if it has no such generation."""
        self._size(generation)

    def supersede(self, generation: str, version_id: str, live_to: float) -> None:
        """Give all points of a version an end (epoch seconds)."""
        self._set_payload(generation, _is("version_id", version_id), {"live_to": live_to})

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
        self._set_payload(generation, _is("document_id", document_id), described(access, marks))

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
        selectors: list[models.PointsSelector] = []
        if point_ids:
            selectors.append(models.PointIdsList(points=list(point_ids)))
        for key, value in (("version_id", version_id), ("document_id", document_id)):
            if value is not None:
                selectors.append(models.FilterSelector(filter=models.Filter(must=[_is(key, value)])))
        if not selectors:
            self._size(generation)
        with _translated(generation):
            for selector in selectors:
                self._client.delete(checked(generation), selector, wait=True, ordering=_STRONG)

    def drop(self, generation: str) -> None:
        """Remove the collection; nothing happens if there is none."""
        self._dimensions.pop(checked(generation), None)
        with _translated(generation):
            if self._client.collection_exists(generation):
                self._client.delete_collection(generation, timeout=_SETUP_SECONDS)

    def close(self) -> None:
        """Close the client's connections."""
        self._client.close()

    def _ask(
        self, generation: str, requests: dict[str, models.QueryRequest]
    ) -> dict[str, list[models.ScoredPoint]]:
        """What each leg finds, in one round trip."""
        if not requests:
            return {}
        with _translated(generation):
            found = self._client.query_batch_points(
                checked(generation), list(requests.values()), consistency=_MAJORITY
            )
        return {name: response.points for name, response in zip(requests, found, strict=True)}

    def _size(self, generation: str) -> int:
        """Dimensions of an existing generation; they never change, so they are asked for once."""
        if checked(generation) not in self._dimensions:
            with _translated(generation):
                vectors = self._client.get_collection(generation).config.params.vectors
            if not isinstance(vectors, dict) or DENSE not in vectors:
                raise StoreUnavailable(
                    f"The collection {generation} on the Qdrant server is not one of Ibid's. Remove or rename it there."
                )
            self._dimensions[generation] = vectors[DENSE].size
        return self._dimensions[generation]

    def _create_collection(self, generation: str, dimensions: int) -> None:
        try:
            self._client.create_collection(
                generation,
                vectors_config=self._placement.dense(dimensions),
                sparse_vectors_config=self._placement.sparse(),
                shard_number=self._placement.shard_number,
                replication_factor=self._placement.replication_factor,
                write_consistency_factor=self._placement.write_consistency_factor,
                timeout=_SETUP_SECONDS,
            )
        except UnexpectedResponse as error:
            if error.status_code != HTTPStatus.CONFLICT:  # another process made it meanwhile
                raise

    def _set_payload(self, generation: str, those: models.FieldCondition, payload: dict[str, Any]) -> None:
        with _translated(generation):
            self._client.set_payload(
                checked(generation), payload, points=models.Filter(must=[those]), wait=True, ordering=_STRONG
            )


@contextmanager
def _translated(generation: str) -> Iterator[None]:
    """The client's errors as ours. Its local mode, which tests use, says `ValueError` for a missing collection."""
    try:
        yield
    except UnexpectedResponse as error:
        if error.status_code == HTTPStatus.NOT_FOUND and generation:
            raise missing(generation) from error
        raise _unavailable(f"it answered {error.status_code} {error.reason_phrase}", error) from error
    except grpc.RpcError as error:
        if generation and getattr(error, "code", lambda: None)() is grpc.StatusCode.NOT_FOUND:
            raise missing(generation) from error
        raise _unavailable("the call failed", error) from error
    except (ApiException, ResourceExhaustedResponse) as error:
        raise _unavailable("no usable answer came", error) from error
    except ValueError as error:
        if str(error) != f"Collection {generation} not found":
            raise
        raise missing(generation) from error


def _unavailable(what: str, error: Exception) -> StoreUnavailable:
    cause = getattr(error, "source", error)  # what the client wrapped
    detail = " ".join(str(cause).split())[:300] or type(cause).__name__
    return StoreUnavailable(
        f"The Qdrant server cannot be used: {what} ({detail}). Check that it runs, its address and its API key."
    )


def _best(
    query: HybridQuery, leg: str, vector: _Asked, seen: models.Filter, how: models.SearchParams
) -> models.QueryRequest:
    """A leg's best; the words have an index of their own, which is exact."""
    return models.QueryRequest(
        query=vector,
        using=leg,
        filter=seen,
        params=how if leg == DENSE else None,
        limit=query.candidates,
        with_payload=list(PROPOSED),
    )


def _scores_of(leg: str, vector: _Asked, ids: Collection[str]) -> models.QueryRequest:
    """These points' scores; a graph would be no help, and might miss one."""
    those = models.Filter(must=[models.HasIdCondition(has_id=list(ids))])
    return models.QueryRequest(query=vector, using=leg, filter=those, params=EXACT, limit=len(ids))


def _proposals(hits: Sequence[models.ScoredPoint]) -> Proposals:
    return {str(hit.id): (hit.score, *proposed(hit.payload)) for hit in hits}


def _legs(query: HybridQuery) -> dict[str, _Asked]:
    """The question's vectors by name; a question of stop words alone has no sparse one."""
    legs: dict[str, _Asked] = {DENSE: query.dense.tolist()}
    if query.sparse.indices:
        legs[SPARSE] = _sparse(query.sparse.indices, query.sparse.values)
    return legs


def _sparse(indices: Sequence[int], values: Sequence[float]) -> models.SparseVector:
    return models.SparseVector(indices=list(indices), values=list(values))


def _theirs(point: Point) -> models.PointStruct:
    vectors: dict[str, Any] = {DENSE: point.dense.tolist()}
    if point.sparse.indices:
        vectors[SPARSE] = _sparse(point.sparse.indices, point.sparse.values)
    return models.PointStruct(id=point.id, vector=vectors, payload=stored(point))


def _ref(record: models.Record) -> PointRef:
    return PointRef(str(record.id), loaded(record.payload))


def _is(key: str, value: str) -> models.FieldCondition:
    return models.FieldCondition(key=key, match=models.MatchValue(value=value))


def _is_one_of(key: str, values: list[str]) -> models.FieldCondition:
    return models.FieldCondition(key=key, match=models.MatchAny(any=values))
