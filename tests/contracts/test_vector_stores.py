"""What every vector store does, and that each of ours does it."""

import os
import shutil
import threading
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient

from ibid.errors import Invalid
from ibid.types import SparseVector
from ibid.vectors.edge import EdgeVectorStore
from ibid.vectors.errors import Fenced, GenerationMissing
from ibid.vectors.memory import MemoryVectorStore
from ibid.vectors.port import Fence, HybridQuery, Point, PointFilter, PointPayload, VectorStore
from ibid.vectors.qdrant import QdrantVectorStore
from ibid.vectors.qdrant_placement import Placement
from ibid.vectors.remote import RemoteVectorStore, StoreServer, new_address, new_authkey

DIMENSIONS = 8
NOW = 1_000.0
NOTHING = SparseVector((), ())
ENDED = Fence("job_ended", 1)
SOME = 10


def axis(*weights: float) -> np.ndarray:
    """A vector with these first components."""
    vector = np.zeros(DIMENSIONS, dtype=np.float32)
    vector[: len(weights)] = weights
    return vector


def words(*indices: int) -> SparseVector:
    return SparseVector(indices, tuple(1.0 for _ in indices))


def make_point(
    number: int,
    *,
    dense: np.ndarray | None = None,
    sparse: SparseVector = NOTHING,
    document: str = "doc_1",
    version: str = "ver_1",
    access: tuple[str, ...] = ("*",),
    live: tuple[float, float | None] = (0.0, None),
) -> Point:
    return Point(
        id=str(uuid.UUID(int=number)),
        dense=axis(1.0, number / 100) if dense is None else dense,
        sparse=sparse,
        payload=PointPayload(document, version, access, *live),
        ordinal=number,
        of=1000,
    )


def make_query(
    dense: np.ndarray | None = None,
    sparse: SparseVector = NOTHING,
    *,
    as_of: float = NOW,
    principals: frozenset[str] | None = None,
    documents: frozenset[str] | None = None,
    candidates: int = 100,
) -> HybridQuery:
    return HybridQuery(
        dense=axis(1.0) if dense is None else dense,
        sparse=sparse,
        filter=PointFilter(as_of, principals, documents),
        candidates=candidates,
    )


def found(store: VectorStore, generation: str, query: HybridQuery) -> list[int]:
    return [uuid.UUID(each.id).int for each in store.candidates(generation, query)]


def scanned(store: VectorStore, generation: str, batch: int = 1000) -> list[int]:
    return [uuid.UUID(ref.id).int for refs in store.scan(generation, batch=batch) for ref in refs]


def random_corpus(size: int) -> list[Point]:
    rng = np.random.default_rng(7)
    return [
        make_point(
            number,
            dense=rng.normal(size=DIMENSIONS).astype(np.float32),
            sparse=SparseVector(
                tuple(int(i) for i in rng.choice(40, size=6, replace=False)),
                tuple(float(v) for v in rng.uniform(0.5, 2.0, size=6)),
            ),
            document=f"doc_{number % 5}",
            version=f"ver_{number % 5}",
        )
        for number in range(size)
    ]


class VectorStoreContract:
    """Subclasses give the fixture `store`."""

    # Names of stores that hold threads apart; the client's local mode does not.
    concurrent = True

    def settle(self, store: VectorStore, generation: str) -> None:
        """What a store needs after changes, so that its BM25 counts each point once."""

    @pytest.fixture
    def generation(self, store: VectorStore) -> Iterator[str]:
        name = f"gen_{uuid.uuid4().hex}"
        store.create(name, DIMENSIONS)
        yield name
        store.drop(name)

    def test_create_is_idempotent(self, store, generation):
        store.upsert(generation, [make_point(1)])
        store.create(generation, DIMENSIONS)
        assert store.count(generation) == 1

    def test_create_with_other_dimensions_is_refused(self, store, generation):
        with pytest.raises(Invalid, match="dimensions"):
            store.create(generation, DIMENSIONS + 1)

    @pytest.mark.parametrize(
        "name", ["", "gen_", "../gen_1", "gen_1/..", "Gen_1", "gen_é", "other", "gen_1\n"]
    )
    def test_names_that_are_not_ours_are_refused(self, store, name):
        with pytest.raises(Invalid):
            store.create(name, DIMENSIONS)
        with pytest.raises(Invalid):
            store.count(name)
        with pytest.raises(Invalid):
            store.drop(name)

    def test_generations_lists_what_exists(self, store, generation):
        other = f"gen_{uuid.uuid4().hex}"
        store.create(other, DIMENSIONS)
        assert {generation, other} <= store.generations()
        store.drop(other)
        assert other not in store.generations()
        assert generation in store.generations()

    def test_drop_is_idempotent_and_complete(self, store, generation):
        store.upsert(generation, [make_point(1)])
        store.drop(generation)
        store.drop(generation)
        store.create(generation, DIMENSIONS)
        assert store.count(generation) == 0

    def test_unknown_generation(self, store):
        name = "gen_unknown"
        with pytest.raises(GenerationMissing):
            store.candidates(name, make_query())
        with pytest.raises(GenerationMissing):
            store.candidates(name, make_query(candidates=0))
        with pytest.raises(GenerationMissing):
            store.count(name)
        with pytest.raises(GenerationMissing):
            list(store.scan(name))
        with pytest.raises(GenerationMissing):
            store.upsert(name, [make_point(1)])
        with pytest.raises(GenerationMissing):
            store.sync(name)
        with pytest.raises(GenerationMissing):
            store.supersede(name, "ver_1", 1.0)
        with pytest.raises(GenerationMissing):
            store.describe(name, "doc_1", ("user:a",), ())
        with pytest.raises(GenerationMissing):
            store.delete(name, version_id="ver_1")
        with pytest.raises(GenerationMissing):
            store.delete(name)

    def test_upsert_is_idempotent(self, store, generation):
        points = [make_point(1), make_point(2)]
        store.upsert(generation, points)
        store.upsert(generation, points)
        assert scanned(store, generation) == [1, 2]

    def test_upsert_replaces_the_whole_point(self, store, generation):
        store.upsert(generation, [make_point(1, sparse=words(5), live=(0.0, 10.0))])
        store.upsert(generation, [make_point(1, sparse=words(6), version="ver_2")])
        (hit,) = store.candidates(generation, make_query(sparse=words(5)))
        assert (hit.version_id, hit.sparse) == ("ver_2", None)

    def test_upsert_of_nothing(self, store, generation):
        store.upsert(generation, [])
        assert store.count(generation) == 0
        assert store.candidates(generation, make_query(sparse=words(1))) == []
        assert list(store.scan(generation)) == []

    def test_upsert_with_wrong_dimensions_writes_nothing(self, store, generation):
        with pytest.raises(Invalid, match="dimensions"):
            store.upsert(generation, [make_point(1), make_point(2, dense=np.ones(3, dtype=np.float32))])
        assert store.count(generation) == 0

    def test_upsert_of_more_than_one_request_takes(self, store, generation):
        store.upsert(generation, random_corpus(700))
        assert store.count(generation) == 700

    def test_candidates_have_their_exact_scores_in_both_legs(self, store, generation):
        store.upsert(
            generation,
            [
                make_point(1, dense=axis(1.0), sparse=words(1, 2), version="ver_1"),
                make_point(2, dense=axis(0.8, 0.6), sparse=words(3), version="ver_2"),
                make_point(3, dense=axis(0.0, 1.0), sparse=words(1), version="ver_3"),
            ],
        )
        hits = store.candidates(generation, make_query(axis(2.0), words(1, 2)))
        assert [uuid.UUID(hit.id).int for hit in hits] == [1, 2, 3]
        assert [hit.version_id for hit in hits] == ["ver_1", "ver_2", "ver_3"]
        assert [(hit.ordinal, hit.of) for hit in hits] == [(1, 1000), (2, 1000), (3, 1000)]
        assert [hit.dense for hit in hits] == pytest.approx([1.0, 0.8, 0.0], abs=1e-6)
        assert hits[1].sparse is None
        # IDF of three texts: ln(1 + (3 - n + 0.5) / (n + 0.5)), n = 2 for word 1 and n = 1 for word 2.
        assert hits[0].sparse == pytest.approx(0.4700 + 0.9808, abs=1e-3)
        assert hits[2].sparse == pytest.approx(0.4700, abs=1e-3)

    def test_what_one_leg_proposes_has_its_score_in_the_other(self, store, generation):
        store.upsert(
            generation,
            [
                make_point(1, dense=axis(1.0), sparse=words(3)),
                make_point(2, dense=axis(0.9, 0.4), sparse=words(1)),
                make_point(3, dense=axis(0.6, 0.8), sparse=words(1, 2)),
                make_point(4, dense=axis(0.0, 1.0), sparse=words(3)),
            ],
        )
        first, second = store.candidates(generation, make_query(axis(1.0), words(1, 2), candidates=1))
        assert (uuid.UUID(first.id).int, uuid.UUID(second.id).int) == (1, 3)
        assert (first.dense, first.sparse) == (pytest.approx(1.0), None)
        assert second.dense == pytest.approx(0.6, abs=1e-6)
        assert second.sparse == pytest.approx(0.6931 + 1.2040, abs=1e-3)

    def test_what_shares_only_some_words_has_a_score_below_the_best(self, store, generation):
        store.upsert(
            generation,
            [
                make_point(1, dense=axis(1.0), sparse=words(1)),
                make_point(2, dense=axis(0.0, 1.0), sparse=words(1, 2)),
            ],
        )
        first, second = store.candidates(generation, make_query(axis(1.0), words(1, 2), candidates=1))
        assert first.sparse is not None
        assert second.sparse is not None
        assert 0 < first.sparse < second.sparse

    def test_search_for_stop_words_only_uses_the_dense_leg(self, store, generation):
        store.upsert(generation, [make_point(1, dense=axis(0.0, 1.0), sparse=words(1)), make_point(2)])
        hits = store.candidates(generation, make_query(sparse=NOTHING))
        assert [uuid.UUID(hit.id).int for hit in hits] == [1, 2]
        assert {hit.sparse for hit in hits} == {None}

    def test_search_for_unknown_words_uses_the_dense_leg(self, store, generation):
        store.upsert(generation, [make_point(1, sparse=words(1))])
        (hit,) = store.candidates(generation, make_query(sparse=words(999)))
        assert hit.sparse is None

    def test_search_for_nothing(self, store, generation):
        store.upsert(generation, [make_point(1)])
        assert store.candidates(generation, make_query(candidates=0)) == []
        assert store.candidates(generation, make_query(documents=frozenset())) == []

    def test_search_sees_each_time_with_its_own_version(self, store, generation):
        store.upsert(
            generation,
            [
                make_point(1, version="old", live=(10.0, 20.0)),
                make_point(2, version="new", live=(20.0, None)),
            ],
        )
        times = (9.9, 10.0, 19.9, 20.0, 1e9)
        seen = [found(store, generation, make_query(as_of=time)) for time in times]
        assert seen == [[], [1], [1], [2], [2]]

    def test_search_filters_by_access_in_both_legs(self, store, generation):
        store.upsert(
            generation,
            [
                make_point(1, sparse=words(1)),
                make_point(2, sparse=words(1), access=("user:zoë", "group:hr")),
                make_point(3, sparse=words(1), access=("user:bob",)),
                make_point(4, sparse=words(1), access=()),
            ],
        )

        def seen(principals: frozenset[str] | None) -> set[int]:
            return set(found(store, generation, make_query(sparse=words(1), principals=principals)))

        assert seen(None) == {1, 2, 3, 4}
        assert seen(frozenset()) == {1}
        assert seen(frozenset({"user:zoë"})) == {1, 2}
        assert seen(frozenset({"user:bob", "group:hr"})) == {1, 2, 3}
        assert seen(frozenset({"user:BOB", "user:bo"})) == {1}

    def test_search_in_documents(self, store, generation):
        store.upsert(generation, [make_point(n, sparse=words(1), document=f"doc_{n}") for n in range(1, 5)])
        query = make_query(sparse=words(1), documents=frozenset({"doc_2", "doc_4", "doc_none"}))
        assert set(found(store, generation, query)) == {2, 4}

    def test_search_filters_inside_the_candidates(self, store, generation):
        """A restricted crowd of better points does not push the visible one out of the candidates."""
        crowd = [make_point(n, dense=axis(1.0), sparse=words(1), access=("user:x",)) for n in range(2, 30)]
        store.upsert(generation, [make_point(1, dense=axis(0.5, 0.5), sparse=words(1)), *crowd])
        query = make_query(sparse=words(1), principals=frozenset(), candidates=3)
        assert found(store, generation, query) == [1]

    def test_candidates_are_few_only_when_they_are_all(self, store, generation):
        store.upsert(generation, [make_point(n, dense=axis(1.0), sparse=words(1)) for n in range(1, 24)])
        for some in (1, 5, 22):
            assert len(found(store, generation, make_query(sparse=words(1), candidates=some))) >= some
        assert found(store, generation, make_query(sparse=words(1), candidates=24)) == list(range(1, 24))

    def test_supersede_ends_one_version(self, store, generation):
        store.upsert(
            generation, [make_point(1, version="old"), make_point(2, version="new", live=(50.0, None))]
        )
        store.supersede(generation, "old", 50.0)
        store.supersede(generation, "old", 50.0)
        assert found(store, generation, make_query(as_of=49.0)) == [1]
        assert found(store, generation, make_query(as_of=50.0)) == [2]
        assert store.count(generation, version_id="old") == 1

    def test_describe_replaces_the_access_of_one_document(self, store, generation):
        store.upsert(generation, [make_point(1, document="doc_1"), make_point(2, document="doc_2")])
        store.describe(generation, "doc_1", ("user:a", "group:b"), ())
        assert found(store, generation, make_query(principals=frozenset({"user:c"}))) == [2]
        assert set(found(store, generation, make_query(principals=frozenset({"group:b"})))) == {1, 2}
        store.describe(generation, "doc_1", ("*",), ())
        assert set(found(store, generation, make_query(principals=frozenset()))) == {1, 2}

    def test_delete_by_each_selector(self, store, generation):
        store.upsert(
            generation, [make_point(n, document=f"doc_{n // 3}", version=f"ver_{n // 2}") for n in range(9)]
        )
        store.delete(generation, point_ids=[str(uuid.UUID(int=0)), str(uuid.UUID(int=99))])
        assert scanned(store, generation) == [1, 2, 3, 4, 5, 6, 7, 8]
        store.delete(generation, version_id="ver_1")
        assert scanned(store, generation) == [1, 4, 5, 6, 7, 8]
        store.delete(generation, document_id="doc_2")
        assert scanned(store, generation) == [1, 4, 5]
        store.delete(
            generation, point_ids=[str(uuid.UUID(int=1))], version_id="ver_2", document_id="doc_none"
        )
        assert scanned(store, generation) == []

    def test_delete_without_a_selector_removes_nothing(self, store, generation):
        store.upsert(generation, [make_point(1)])
        store.delete(generation)
        assert store.count(generation) == 1

    def test_count_by_version_and_document(self, store, generation):
        store.upsert(
            generation,
            [
                make_point(1, document="doc_é", version="ver_1"),
                make_point(2, document="doc_é", version="ver_2", live=(0.0, 1.0)),
                make_point(3, document="doc_2", version="ver_3"),
            ],
        )
        assert store.count(generation) == 3
        assert store.count(generation, document_id="doc_é") == 2
        assert store.count(generation, version_id="ver_3") == 1
        assert store.count(generation, document_id="doc_é", version_id="ver_3") == 0

    def test_scan_gives_every_point_once_in_order(self, store, generation):
        store.upsert(generation, random_corpus(250))
        batches = list(store.scan(generation, batch=60))
        assert [len(batch) for batch in batches] == [60, 60, 60, 60, 10]
        refs = [ref for batch in batches for ref in batch]
        assert [uuid.UUID(ref.id).int for ref in refs] == list(range(250))
        assert refs[7].payload == random_corpus(250)[7].payload

    def test_scan_goes_on_after_a_point(self, store, generation):
        store.upsert(generation, random_corpus(25))
        for last in (0, 7, 23, 24, 1000):
            batches = list(store.scan(generation, batch=10, after=str(uuid.UUID(int=last))))
            assert [uuid.UUID(ref.id).int for batch in batches for ref in batch] == list(range(last + 1, 25))

    def test_scan_may_be_left_and_mixed_with_other_calls(self, store, generation):
        store.upsert(generation, random_corpus(30))
        for refs in store.scan(generation, batch=10):
            assert store.count(generation, document_id=refs[0].payload.document_id) == 6
            break
        assert store.count(generation) == 30

    def test_text_in_any_script(self, store, generation):
        document = "doc_日本語 🦜 'quote' \"x\""
        store.upsert(generation, [make_point(1, document=document, access=("group:Øst & Väst",))])
        query = make_query(principals=frozenset({"group:Øst & Väst"}), documents=frozenset({document}))
        assert found(store, generation, query) == [1]
        assert [ref.payload.document_id for refs in store.scan(generation) for ref in refs] == [document]

    def test_agrees_with_the_store_in_memory(self, store, generation):
        corpus = random_corpus(120)
        reference = MemoryVectorStore()
        reference.create(generation, DIMENSIONS)
        for each in (reference, store):
            each.upsert(generation, corpus)
            each.supersede(generation, "ver_3", 10.0)
        self.settle(store, generation)
        for point in corpus[:20]:
            query = make_query(point.dense, words(*point.sparse.indices), candidates=30)
            expected, hits = reference.candidates(generation, query), store.candidates(generation, query)
            assert [hit.id for hit in hits] == [hit.id for hit in expected]
            assert [(hit.ordinal, hit.of) for hit in hits] == [(hit.ordinal, hit.of) for hit in expected]
            for ours, theirs in zip(hits, expected, strict=True):
                assert ours.dense == pytest.approx(theirs.dense, abs=1e-5)
                assert ours.sparse == pytest.approx(theirs.sparse, abs=1e-4)

    def test_threads_search_and_write_at_once(self, store, generation):
        if not self.concurrent:
            pytest.skip("the client's local mode is not made for threads")
        corpus = random_corpus(400)
        store.upsert(generation, corpus[:40])
        start = threading.Barrier(4)

        def write(points: Sequence[Point]) -> int:
            start.wait()
            for first in range(0, len(points), 20):
                store.upsert(generation, points[first : first + 20])
            return 0

        def read() -> int:
            start.wait()
            query = make_query(sparse=words(1, 2), candidates=SOME)
            return min(len(store.candidates(generation, query)) for _ in range(30))

        with ThreadPoolExecutor(4) as pool:
            writes = [pool.submit(write, corpus[:200]), pool.submit(write, corpus[200:])]
            reads = [pool.submit(read), pool.submit(read)]
            assert [task.result() for task in writes] == [0, 0]
            assert [task.result() >= SOME for task in reads] == [True, True]
        assert scanned(store, generation) == list(range(400))


class TestMemory(VectorStoreContract):
    @pytest.fixture
    def store(self):
        return MemoryVectorStore()


class TestEdge(VectorStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path):
        store = EdgeVectorStore(tmp_path / "vectors")
        yield store
        store.close()

    def test_synced_points_are_on_the_disk(self, store, generation, tmp_path: Path):
        """The copy is what a machine finds that lost its power."""
        store.upsert(generation, random_corpus(50))
        store.sync(generation)
        shutil.copytree(tmp_path / "vectors", tmp_path / "found")
        found = EdgeVectorStore(tmp_path / "found")
        assert found.count(generation) == 50
        found.close()


class Compacting(EdgeVectorStore):
    """Puts a compacted copy in place as soon as a generation has points; later writes go to that."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._compacted: set[str] = set()

    def upsert(self, generation: str, points: Sequence[Point], *, fence: Fence | None = None) -> None:
        super().upsert(generation, points, fence=fence)
        if generation not in self._compacted:
            self._compacted.add(generation)
            assert self.compact(generation)


class TestCompacted(VectorStoreContract):
    def settle(self, store, generation):
        """A point that was changed still counts in its former place for how rare its words are."""
        assert store.compact(generation)

    @pytest.fixture
    def store(self, tmp_path: Path):
        store = Compacting(tmp_path / "vectors")
        yield store
        store.close()


class TestRemote(VectorStoreContract):
    """Edge in this process's own keeping, reached through a socket."""

    @pytest.fixture
    def store(self, tmp_path: Path):
        authkey, address = new_authkey(), new_address(tmp_path)
        owned = EdgeVectorStore(tmp_path / "vectors")
        server = StoreServer(owned, address, authkey, may_write=lambda fence: fence != ENDED)
        store = RemoteVectorStore(address, authkey, timeout=20)
        yield store
        store.close()
        server.close()
        owned.close()

    def test_an_ended_attempt_writes_nothing(self, store, generation):
        with pytest.raises(Fenced, match="Attempt 1 of job job_ended"):
            store.upsert(generation, [make_point(1)], fence=ENDED)
        assert store.count(generation) == 0
        store.upsert(generation, [make_point(1)], fence=Fence("job_ended", 2))
        assert store.count(generation) == 1

    def test_an_ended_attempt_changes_nothing(self, store, generation):
        store.upsert(generation, [make_point(1)])
        (before,) = next(store.scan(generation))
        with pytest.raises(Fenced, match="Attempt 1 of job job_ended"):
            store.describe(generation, before.payload.document_id, ("user:mallory",), (), fence=ENDED)
        with pytest.raises(Fenced, match="Attempt 1 of job job_ended"):
            store.delete(generation, document_id=before.payload.document_id, fence=ENDED)
        assert next(store.scan(generation)) == [before]
        store.delete(generation, document_id=before.payload.document_id, fence=Fence("job_ended", 2))
        assert store.count(generation) == 0


# The local mode has no payload indexes and no graph, and says so each time; it filters and searches without them.
@pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant:UserWarning")
@pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning")
class TestQdrantLocalMode(VectorStoreContract):
    concurrent = False

    @pytest.fixture
    def store(self):
        store = QdrantVectorStore(QdrantClient(":memory:"))
        yield store
        store.close()


class TestQdrantLocalModeLarge(TestQdrantLocalMode):
    """What a large generation is made of is taken by the client; 8-bit vectors and disks are the server's."""

    @pytest.fixture
    def store(self):
        store = QdrantVectorStore(
            QdrantClient(":memory:"), Placement(large=True, sparse_on_disk=True, replicas=2)
        )
        yield store
        store.close()


@pytest.mark.service
class TestQdrantServer(VectorStoreContract):
    placement = Placement()

    @pytest.fixture
    def store(self):
        url = os.environ.get("IBID_TEST_QDRANT_URL")
        if not url:
            pytest.skip("IBID_TEST_QDRANT_URL names no Qdrant server; none can be installed with the project")
        api_key = os.environ.get("IBID_TEST_QDRANT_API_KEY")
        store = QdrantVectorStore.connect(url, api_key=api_key, placement=self.placement)
        yield store
        store.close()


class TestQdrantServerLarge(TestQdrantServer):
    placement = Placement(large=True, sparse_on_disk=True)
