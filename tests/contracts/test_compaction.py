"""The compaction of an embedded shard: nothing written meanwhile is lost, and any end of it leaves one whole shard."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from ibid.filters import facts
from ibid.marks import marks
from ibid.types import SparseVector
from ibid.vectors import edge_compaction
from ibid.vectors.edge import EdgeVectorStore
from ibid.vectors.edge_shards import MANIFEST, settled
from ibid.vectors.errors import GenerationMissing, StoreUnavailable
from ibid.vectors.memory import MemoryVectorStore
from ibid.vectors.port import HybridQuery, Point, PointFilter, PointPayload, VectorStore
from tests.running import PATIENCE, eventually

GENERATION = "gen_1"
DIMENSIONS = 8
SOME = 350

DIES = """
import os, signal, sys
from pathlib import Path
from ibid.vectors import edge_compaction
from ibid.vectors.edge import EdgeVectorStore
from tests.contracts.test_compaction import GENERATION, filled

def die(*_, **__):
    print(children(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

def children():
    import psutil
    return " ".join(str(child.pid) for child in psutil.Process().children())

store = filled(Path(sys.argv[1]))
def dies(module, name):
    setattr(module, name, die)
dies({target})
store.compact(GENERATION)
"""


def make_point(number: int, chance: random.Random) -> Point:
    document = chance.randrange(12)
    said = marks(facts({"year": chance.randrange(2000, 2020)})) if chance.random() < 0.5 else ()
    return Point(
        str(uuid.UUID(int=number)),
        np.array([chance.gauss(0, 1) for _ in range(DIMENSIONS)], dtype=np.float32),
        SparseVector((chance.randrange(30),), (chance.uniform(0.5, 2.0),)),
        PointPayload(f"doc_{document}", f"ver_{document}_{chance.randrange(2)}", ("*",), 1.0, None, said),
        number,
        of=SOME,
    )


def points(seed: int, count: int = SOME) -> list[Point]:
    chance = random.Random(seed)
    return [make_point(number, chance) for number in range(count)]


def filled(root: Path) -> EdgeVectorStore:
    store = EdgeVectorStore(root)
    store.create(GENERATION, DIMENSIONS)
    store.upsert(GENERATION, points(0))
    store.sync(GENERATION)
    return store


def write_something(chance: random.Random, *stores: VectorStore) -> None:
    """A write of any kind, the same to each store; it may hit what was copied, what was not, and what is new."""
    document, version = chance.randrange(12), chance.randrange(2)
    match chance.randrange(6):
        case 0 | 1:
            some = [make_point(chance.randrange(2 * SOME), chance) for _ in range(chance.randrange(1, 9))]
            for store in stores:
                store.upsert(GENERATION, some)
        case 2:
            for store in stores:
                store.supersede(GENERATION, f"ver_{document}_{version}", 50.0)
        case 3:
            access, said = (f"user:{chance.randrange(9)}",), marks(facts({"tag": str(document)}))
            for store in stores:
                store.describe(GENERATION, f"doc_{document}", access, said)
        case 4:
            ids = [str(uuid.UUID(int=chance.randrange(2 * SOME))) for _ in range(20)]
            for store in stores:
                store.delete(GENERATION, point_ids=ids)
        case _:
            for store in stores:
                store.delete(GENERATION, version_id=f"ver_{document}_{version}")


def content(store: VectorStore) -> dict[str, PointPayload]:
    return {ref.id: ref.payload for refs in store.scan(GENERATION) for ref in refs}


def scores(store: VectorStore, seed: int) -> dict[str, float]:
    """By id, the cosine of every point with some question: different for different vectors."""
    question = np.array([random.Random(seed).gauss(0, 1) for _ in range(DIMENSIONS)], dtype=np.float32)
    query = HybridQuery(question, SparseVector((), ()), PointFilter(10.0), candidates=10 * SOME)
    return {hit.id: hit.dense for hit in store.candidates(GENERATION, query)}


def same(store: VectorStore, expected: VectorStore) -> None:
    assert content(store) == content(expected)
    for seed in range(3):
        assert scores(store, seed) == pytest.approx(scores(expected, seed), abs=1e-5)


def folders(root: Path) -> list[str]:
    """What lies in the store, beside manifests and the contents of shards."""
    inner = [each for each in (root / GENERATION).iterdir() if each.name != MANIFEST]
    return sorted([each.name for each in root.iterdir()] + ["shard" for _ in inner])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "vectors"


@pytest.fixture
def store(root: Path) -> Iterator[EdgeVectorStore]:
    store = filled(root)
    yield store
    store.close()


@pytest.fixture
def model() -> MemoryVectorStore:
    model = MemoryVectorStore()
    model.create(GENERATION, DIMENSIONS)
    model.upsert(GENERATION, points(0))
    return model


def before(monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], None]) -> None:
    """Let something happen whenever the compaction comes to a step."""
    step = getattr(edge_compaction, name)

    def acted(*arguments: object) -> object:
        act()
        return step(*arguments)

    monkeypatch.setattr(edge_compaction, name, acted)


class TestCompact:
    def test_the_copy_has_everything_and_is_found_again(self, root, store, model):
        assert store.compact(GENERATION)
        same(store, model)
        assert folders(root) == [GENERATION, "shard"]
        store.close()
        again = EdgeVectorStore(root)
        same(again, model)
        again.close()

    def test_all_vectors_are_indexed(self, store):
        assert store.compact(GENERATION)
        with store._open(GENERATION) as shard:
            assert shard.info().indexed_vectors_count >= SOME

    def test_an_empty_generation(self, root):
        store = EdgeVectorStore(root)
        store.create(GENERATION, DIMENSIONS)
        assert store.compact(GENERATION)
        store.upsert(GENERATION, points(0))
        assert store.count(GENERATION) == SOME
        store.close()

    def test_removed_vectors_are_in_no_file(self, root, store):
        """Until then the engine only marks them."""
        mark = np.array([0.36, 0.48, 0.8, 0, 0, 0, 0, 0], dtype=np.float32)
        chance = random.Random(1)
        doomed = Point(str(uuid.UUID(int=9999)), mark, SparseVector((1,), (1.0,)), points(1)[0].payload, 0, 1)
        store.upsert(GENERATION, [doomed, make_point(9998, chance)])
        store.sync(GENERATION)
        store.delete(GENERATION, point_ids=[doomed.id])
        assert any(mark.tobytes() in path.read_bytes() for path in root.rglob("*") if path.is_file())
        assert store.compact(GENERATION)
        assert not any(mark.tobytes() in path.read_bytes() for path in root.rglob("*") if path.is_file())

    @pytest.mark.parametrize("seed", range(6))
    def test_writes_at_any_step_are_kept_in_their_order(self, monkeypatch, root, store, model, seed):
        chance = random.Random(seed)

        def write() -> None:
            for _ in range(chance.randrange(8)):
                write_something(chance, store, model)

        for step in ("to_batch", "received", "_install", "_switch"):
            before(monkeypatch, step, write)
        assert store.compact(GENERATION)
        same(store, model)
        for _ in range(10):
            write_something(chance, store, model)
        same(store, model)
        assert store.compact(GENERATION)
        same(store, model)

    def test_what_is_written_meanwhile_outlives_a_loss_of_power(
        self, monkeypatch, root, store, model, tmp_path
    ):
        """Of which only what the shard's files held before is left, and its log of writes."""
        left, chance = tmp_path / "left", random.Random(5)
        shutil.copytree(root, left)

        def write() -> None:
            for _ in range(30):
                write_something(chance, store, model)
            shutil.rmtree(left / GENERATION / "shard" / "wal")
            shutil.copytree(root / GENERATION / "shard" / "wal", left / GENERATION / "shard" / "wal")

        before(monkeypatch, "received", write)
        assert store.compact(GENERATION)
        again = EdgeVectorStore(left)
        same(again, model)
        again.close()

    def test_the_log_is_on_the_disk_when_a_write_returns(self, monkeypatch, root, store):
        synced, fsync = set(), os.fsync

        def noting(descriptor: int) -> None:
            synced.add(os.fstat(descriptor).st_ino)
            fsync(descriptor)

        def write() -> None:
            monkeypatch.setattr(os, "fsync", noting)
            store.supersede(GENERATION, "ver_1_0", 50.0)
            log = root / GENERATION / "shard" / "wal"
            used = {path.stat().st_ino for path in (log, *log.glob("open-*"))}
            assert len(used) > 1
            assert used <= synced

        before(monkeypatch, "received", write)
        assert store.compact(GENERATION)
        assert synced

    def test_a_shard_that_goes_before_its_log_was_waited_for(self, root, store):
        with store._opened(GENERATION) as entry:
            entry.witness = edge_compaction.Journal(10)
            log = entry.settle()
            entry.witness = None
        assert log
        shutil.rmtree(root / GENERATION / "shard" / "wal")
        settled(log)
        for descriptor in log:
            with pytest.raises(OSError, match="descriptor"):
                os.fstat(descriptor)

    def test_another_thread_writes_and_searches_all_the_time(self, store, model):
        done, chance, written = threading.Event(), random.Random(3), 0

        def write() -> None:
            nonlocal written
            while not done.is_set():
                write_something(chance, store, model)
                scores(store, 1)
                written += 1

        writer = threading.Thread(target=write)
        writer.start()
        try:
            assert store.compact(GENERATION)
        finally:
            done.set()
            writer.join()
        assert written
        same(store, model)

    def test_a_graph_finds_the_nearest_and_is_not_cut_by_a_filter(self, root):
        """So many numbers that the engine does not read them all."""
        size, count = 1200, 2600
        rng = np.random.default_rng(5)
        vectors = rng.normal(size=(count, size)).astype(np.float32)
        store = EdgeVectorStore(root)
        store.create(GENERATION, size)
        for first in range(0, count, 200):
            some = [
                Point(
                    str(uuid.UUID(int=number)),
                    vectors[number],
                    SparseVector((), ()),
                    PointPayload(f"doc_{number % 50}", f"ver_{number}", ("*",), 1.0, None),
                    number,
                    of=count,
                )
                for number in range(first, first + 200)
            ]
            store.upsert(GENERATION, some)
        assert store.compact(GENERATION)
        for number in range(0, count, 260):
            query = HybridQuery(vectors[number], SparseVector((), ()), PointFilter(10.0), candidates=10)
            cosines = (
                vectors @ vectors[number] / np.linalg.norm(vectors, axis=1) / np.linalg.norm(vectors[number])
            )
            hits = {uuid.UUID(hit.id).int: hit.dense for hit in store.candidates(GENERATION, query)}
            assert number in hits
            assert len(hits) >= 10
            assert hits == pytest.approx({each: float(cosines[each]) for each in hits}, abs=1e-5)
        few = PointFilter(10.0, document_ids=frozenset({"doc_7"}))
        query = HybridQuery(vectors[0], SparseVector((), ()), few, candidates=100)
        assert len(store.candidates(GENERATION, query)) == count // 50
        store.close()


class TestGivingUp:
    def test_a_generation_that_is_dropped_meanwhile(self, monkeypatch, root, store):
        before(monkeypatch, "received", lambda: store.drop(GENERATION))
        assert not store.compact(GENERATION)
        with pytest.raises(GenerationMissing):
            store.count(GENERATION)
        assert list(root.iterdir()) == []

    def test_a_store_that_is_closed_meanwhile(self, monkeypatch, root, store, model):
        before(monkeypatch, "received", store.close)
        assert not store.compact(GENERATION)
        again = EdgeVectorStore(root)
        same(again, model)
        assert folders(root) == [GENERATION, "shard"]
        again.close()

    def test_more_writes_than_are_kept(self, monkeypatch, root, store, model):
        monkeypatch.setattr(edge_compaction, "MOST_JOURNALLED", 100)

        def write() -> None:
            for each in (store, model):
                each.upsert(GENERATION, points(4, 200))

        before(monkeypatch, "received", write)
        assert not store.compact(GENERATION)
        same(store, model)
        assert folders(root) == [GENERATION, "shard"]

    def test_a_child_that_dies(self, monkeypatch, root, store, model):
        def kill() -> None:
            store._shards[GENERATION].witness.child.kill()

        with monkeypatch.context() as patched:
            before(patched, "received", kill)
            with pytest.raises(StoreUnavailable, match="compaction"):
                store.compact(GENERATION)
        same(store, model)
        assert folders(root) == [GENERATION, "shard"]
        assert store.compact(GENERATION)
        same(store, model)

    def test_a_copy_that_cannot_be_switched_to(self, monkeypatch, root, store, model):
        def fail() -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            before(patched, "write_manifest", fail)
            with pytest.raises(StoreUnavailable, match="No space"):
                store.compact(GENERATION)
        write_something(random.Random(1), store, model)
        same(store, model)
        assert folders(root) == [GENERATION, "shard"]


class TestKilled:
    @pytest.mark.parametrize(
        "target",
        [
            pytest.param("edge_compaction, 'to_batch'", id="copying"),
            pytest.param("edge_compaction, 'received'", id="optimising"),
            pytest.param("edge_compaction, '_switch'", id="moved"),
            pytest.param("edge_compaction, 'write_manifest'", id="before the switch"),
            pytest.param("edge_compaction.shutil, 'rmtree'", id="after the switch"),
        ],
    )
    def test_one_whole_shard_is_found(self, root, model, target):
        done = subprocess.run(
            [sys.executable, "-c", DIES.format(target=target), str(root)],
            check=False,
            timeout=PATIENCE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert done.returncode == -signal.SIGKILL
        store = EdgeVectorStore(root)
        same(store, model)
        assert folders(root) == [GENERATION, "shard"]
        store.close()
        children = [int(pid) for pid in done.stdout.split()]
        eventually(lambda: not any(map(psutil.pid_exists, children)), what="the end of the child")


class TestDue:
    def test_after_so_many_points(self, store):
        assert store.due(SOME) == [GENERATION]
        assert store.due(SOME + 1) == []
        assert store.compact(GENERATION)
        assert store.due(1) == []
        store.delete(GENERATION, document_id="doc_1")
        assert store.due(1) == [GENERATION]

    def test_what_nobody_uses_is_not_opened(self, root, store):
        store.close()
        assert store.due(1) == []
