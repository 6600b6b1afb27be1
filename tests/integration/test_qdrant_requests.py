"""What a Qdrant server is asked, over real HTTP: how a generation is made there, and how it is searched.

Where a server can be had, `TestQdrantServer` says that one takes it; this says that it is asked for what is meant.
"""

import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from ibid.settings import Settings
from ibid.types import SparseVector
from ibid.vectors import edge_compactor, edge_search
from ibid.vectors.layout import KEYWORDS, NUMBERS
from ibid.vectors.port import HybridQuery, PointFilter
from ibid.vectors.qdrant import QdrantVectorStore
from ibid.vectors.registry import open_store
from tests.qdrant_stub import Stub, stub_server

GENERATION = "gen_1"
DIMENSIONS = 8
LARGE: dict[str, Any] = {"qdrant_preset": "large"}
APPROXIMATE = {"hnsw_ef": 512, "quantization": {"rescore": True, "oversampling": 2.0}}
EXACT = {"exact": True}


@pytest.fixture
def stub() -> Iterator[Stub]:
    with stub_server() as one:
        yield one


def opened(stub: Stub, **settings: Any) -> QdrantVectorStore:
    store = open_store(Settings(qdrant_url=stub.url, **settings))
    assert isinstance(store, QdrantVectorStore)
    return store


def made(stub: Stub, **settings: Any) -> Any:
    """The body of the request that makes a collection."""
    store = opened(stub, **settings)
    store.create(GENERATION, DIMENSIONS)
    store.close()
    (body,) = stub.bodies("PUT", f"/collections/{GENERATION}")
    return body


def indexed(stub: Stub) -> dict[str, Any]:
    return {each["field_name"]: each["field_schema"] for each in stub.bodies("PUT", "/index")}


def hit(number: int, score: float, *, whole: bool = True) -> dict[str, Any]:
    point: dict[str, Any] = {"id": str(uuid.UUID(int=number)), "version": 1, "score": score}
    return point | {"payload": {"version_id": f"ver_{number}", "ordinal": 0, "of": 1}} if whole else point


def asked(stub: Stub) -> list[list[dict[str, Any]]]:
    """The searches of each round trip."""
    return [body["searches"] for body in stub.bodies("POST", "/points/query/batch")]


class TestMakingByDefault:
    def test_nothing_is_said_that_the_server_decides(self, stub):
        assert made(stub) == {
            "vectors": {"dense": {"size": DIMENSIONS, "distance": "Cosine"}},
            "sparse_vectors": {"bm25": {"modifier": "idf"}},
        }

    def test_every_field_has_a_plain_index(self, stub):
        made(stub)
        assert indexed(stub) == dict.fromkeys(KEYWORDS, "keyword") | dict.fromkeys(NUMBERS, "float")


class TestMakingLarge:
    def test_8_bit_vectors_are_pinned_and_the_originals_on_disk(self, stub):
        assert made(stub, **LARGE) == {
            "vectors": {
                "dense": {
                    "size": DIMENSIONS,
                    "distance": "Cosine",
                    "on_disk": True,
                    "hnsw_config": {
                        "m": 16,
                        "ef_construct": 100,
                        "full_scan_threshold": 10_000,
                        "on_disk": False,
                    },
                    "quantization_config": {"scalar": {"type": "int8", "always_ram": True}},
                }
            },
            "sparse_vectors": {"bm25": {"modifier": "idf"}},
        }

    def test_what_every_search_asks_is_in_memory_and_a_document_lies_together(self, stub):
        made(stub, **LARGE)
        schemas = indexed(stub)
        assert schemas.keys() == {*KEYWORDS, *NUMBERS}
        in_memory = {field for field, schema in schemas.items() if not schema["on_disk"]}
        assert in_memory == {"access", "live_from", "live_to"}
        assert {field for field, schema in schemas.items() if schema.get("is_tenant")} == {"document_id"}
        assert schemas["document_id"] == {"type": "keyword", "is_tenant": True, "on_disk": True}
        assert schemas["live_from"] == {"type": "float", "on_disk": False}

    def test_the_graph_is_that_of_the_embedded_engine(self, stub):
        ours = edge_compactor.config(DIMENSIONS)
        theirs = made(stub, **LARGE)["vectors"]["dense"]["hnsw_config"]
        graph = ours.hnsw_config
        assert (graph.m, graph.ef_construct, graph.full_scan_threshold) == (
            theirs["m"],
            theirs["ef_construct"],
            theirs["full_scan_threshold"],
        )


class TestMakingOnACluster:
    def test_the_word_index_on_disk(self, stub):
        body = made(stub, qdrant_sparse_on_disk=True)
        assert body["sparse_vectors"] == {"bm25": {"modifier": "idf", "index": {"on_disk": True}}}

    @pytest.mark.parametrize(("replicas", "majority"), [(2, 2), (3, 2), (4, 3), (5, 3)])
    def test_a_write_waits_for_as_many_replicas_as_make_a_majority(self, stub, replicas, majority):
        """A read asks a majority too, so at least one that it asks has the write."""
        body = made(stub, qdrant_shards=12, qdrant_replicas=replicas)
        del body["vectors"], body["sparse_vectors"]
        assert body == {
            "shard_number": 12,
            "replication_factor": replicas,
            "write_consistency_factor": majority,
        }

    @pytest.mark.parametrize(
        "wrong", [{"qdrant_shards": -1}, {"qdrant_replicas": 0}, {"qdrant_preset": "huge"}]
    )
    def test_settings_that_mean_nothing_are_refused(self, wrong):
        with pytest.raises(ValidationError):
            Settings(**wrong)


class TestMakingWhatExists:
    def test_stays_as_it_was_made(self, stub):
        made(stub)
        stub.requests.clear()
        store = opened(stub, **LARGE, qdrant_shards=4)
        store.create(GENERATION, DIMENSIONS)
        store.close()
        assert [each for each in stub.requests if each.method != "GET"] == []

    def test_what_it_lacks_is_added(self, stub):
        made(stub)
        del stub.indexes[GENERATION]["access"]
        stub.requests.clear()
        store = opened(stub)
        store.create(GENERATION, DIMENSIONS)
        store.close()
        assert indexed(stub) == {"access": "keyword"}


class TestSearching:
    @pytest.fixture
    def store(self, stub: Stub) -> Iterator[QdrantVectorStore]:
        made(stub)
        stub.requests.clear()
        store = opened(stub)
        yield store
        store.close()

    def query(self, candidates: int = 2) -> HybridQuery:
        dense = np.ones(DIMENSIONS, dtype=np.float32)
        return HybridQuery(dense, SparseVector((1,), (1.0,)), PointFilter(2.0, frozenset()), candidates)

    def test_the_8_bit_vectors_only_propose(self, stub, store):
        stub.found = [[hit(1, 0.9), hit(2, 0.8)], [hit(1, 3.0), hit(2, 2.0)]]
        found = store.candidates(GENERATION, self.query())
        assert [(each.dense, each.sparse) for each in found] == [(0.9, 3.0), (0.8, 2.0)]
        ((dense, sparse),) = asked(stub)
        assert (dense["using"], dense["params"], dense["limit"]) == ("dense", APPROXIMATE, 2)
        assert (sparse["using"], sparse["limit"]) == ("bm25", 2)
        assert "params" not in sparse
        assert dense["filter"] == sparse["filter"]
        assert stub.requests[-1].query["consistency"] == ["majority"]

    def test_scores_of_what_one_leg_proposes_are_exact(self, stub, store):
        stub.found = [[hit(1, 0.9), hit(2, 0.8)], [hit(2, 3.0), hit(3, 2.0)]]
        stub.found += [[hit(3, 0.5, whole=False)], [hit(1, 1.0, whole=False)]]
        found = store.candidates(GENERATION, self.query())
        assert [(each.dense, each.sparse) for each in found] == [(0.9, 1.0), (0.8, 3.0), (0.5, 2.0)]
        _, rest = asked(stub)
        assert [each["params"] for each in rest] == [EXACT, EXACT]
        assert [each["filter"]["must"] for each in rest] == [
            [{"has_id": [str(uuid.UUID(int=3))]}],
            [{"has_id": [str(uuid.UUID(int=1))]}],
        ]

    def test_all_are_read_when_a_graph_finds_too_few(self, stub, store):
        stub.found = [[hit(1, 0.9)], [hit(1, 3.0), hit(2, 2.0)], [hit(1, 0.9), hit(2, 0.8)]]
        found = store.candidates(GENERATION, self.query())
        assert [(each.dense, each.sparse) for each in found] == [(0.9, 3.0), (0.8, 2.0)]
        (first, _), (again,) = asked(stub)
        assert again == first | {"params": EXACT}

    def test_the_embedded_engine_is_asked_the_same(self, stub, store):
        stub.found = [[hit(1, 0.9), hit(2, 0.8)], [hit(1, 3.0), hit(2, 2.0)]]
        store.candidates(GENERATION, self.query())
        theirs = asked(stub)[0][0]["params"]
        ours = edge_search._APPROXIMATE
        assert ours.hnsw_ef == theirs["hnsw_ef"]
        assert ours.quantization.rescore == theirs["quantization"]["rescore"]
        assert ours.quantization.oversampling == theirs["quantization"]["oversampling"]
