"""`make bench-scale`: an embedded collection is compacted while one client searches it and another writes to it.

The owner of the store is a process of its own, as the server is, and lends it as the server lends it to its worker.
Vectors are random, in clusters, since the time of a search does not depend on what they mean; their nearest are known
by computing all. What it prints is for `docs/decisions/0013-compaction.md`.
"""

import argparse
import multiprocessing
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ibid.types import SparseVector
from ibid.vectors.edge import EdgeVectorStore
from ibid.vectors.port import HybridQuery, Point, PointFilter, PointPayload, Vector, VectorStore
from ibid.vectors.remote import RemoteVectorStore, StoreServer, new_address, new_authkey

GENERATION = "gen_scale"
DIMENSIONS = 384
CLUSTERS = 1_000
WORDS, WORDS_EACH, WORDS_ASKED = 20_000, 60, 8
PER_DOCUMENT = 10
AT_ONCE = 500
MIB = 1024 * 1024
PAUSE = 0.05
"""Seconds between two requests of a client: 20 searches and as many writes a second."""
BEFORE_AND_AFTER = 30.0
LONGEST = 250
"""Milliseconds that no request should take."""


class Client(threading.Thread):
    """Makes one request after the other and notes how long each took, until it is stopped."""

    def __init__(self, request: Callable[[int], object]) -> None:
        super().__init__(daemon=True)
        self._request = request
        self._done = threading.Event()
        self.seconds: list[tuple[float, float]] = []

    def run(self) -> None:
        """Until it is stopped."""
        number = 0
        while not self._done.wait(PAUSE):
            begin = time.perf_counter()
            self._request(number)
            self.seconds.append((begin, time.perf_counter() - begin))
            number += 1

    def stop(self) -> None:
        """Wait for the request in progress."""
        self._done.set()
        self.join()


def main() -> None:
    """Fill, search and write, compact, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where the filled store is kept for the next run")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        measure(chosen.folder or Path(temporary), chosen.chunks)


def measure(folder: Path, chunks: int) -> None:
    """One run over so many chunks."""
    vectors, questions = clustered(chunks, 1), clustered(200, 2)
    fill(folder, vectors)
    before = size(folder)
    authkey, address = new_authkey(), new_address(folder)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    owner = context.Process(target=own, args=(folder, address, authkey, theirs))
    owner.start()
    ours.recv()
    store = RemoteVectorStore(address, authkey)
    searching = Client(lambda number: search(store, questions[number % len(questions)], number))
    writing = Client(lambda number: write(store, number, chunks))
    try:
        print(f"{chunks:,} chunks; recall@10 before: {recall(store, vectors, questions):.4f}", flush=True)
        for client in (searching, writing):
            client.start()
        marks = [time.perf_counter()]
        threading.Event().wait(BEFORE_AND_AFTER)
        marks.append(time.perf_counter())
        ours.send("compact")
        done = ours.recv()
        marks.append(time.perf_counter())
        threading.Event().wait(BEFORE_AND_AFTER)
        marks.append(time.perf_counter())
        for client in (searching, writing):
            client.stop()
        print(f"compacted: {done}, in {marks[2] - marks[1]:.0f} s, and then {ours.recv()}")
        report(searching, writing, marks)
        expected = {point_id(number) for number in range(chunks)} | {
            point_id(chunks + number) for number in range(len(writing.seconds))
        }
        kept = {ref.id for refs in store.scan(GENERATION) for ref in refs}
        print(f"ids equal those written: {kept == expected} ({len(kept):,})")
        print(f"recall@10 after: {recall(store, vectors, questions):.4f}")
    finally:
        ours.send("end")
        owner.join()
        store.close()
    print(f"on disk: {before:.0f} MiB before, {size(folder):.0f} MiB after")


def own(folder: Path, address: Path, authkey: bytes, orders: Connection) -> None:
    """The process that owns the store: lends it, and compacts when told to."""
    store = EdgeVectorStore(folder / "vectors")
    server = StoreServer(store, address, authkey, may_write=lambda _fence: True)
    store.count(GENERATION)
    orders.send("ready")
    while orders.recv() == "compact":
        orders.send(store.compact(GENERATION))
        orders.send(resident())
    server.close()
    store.close()


def resident() -> str:
    """What the owner's memory is made of, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    parts = {line.split()[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith("Rss")}
    return f"the owner holds {parts['RssAnon:']:.0f} MiB and maps {parts['RssFile:']:.0f} MiB of files"


def search(store: VectorStore, question: Vector, number: int) -> None:
    """A question with some words, asked by somebody who sees what all may see."""
    store.candidates(
        GENERATION, HybridQuery(question, words(number, WORDS_ASKED), PointFilter(2.0, frozenset()))
    )


def write(store: VectorStore, number: int, chunks: int) -> None:
    """A new point, and every tenth time a change to a document's."""
    store.upsert(GENERATION, [make_point(chunks + number, clustered(1, number)[0])])
    if number % 10 == 0:
        store.supersede(GENERATION, f"ver_{number}", 3.0)


def report(searching: Client, writing: Client, marks: Sequence[float]) -> None:
    """Milliseconds of requests in each part of the run, by when they ended."""
    for name, client in (("search", searching), ("write", writing)):
        for part, begin, end in zip(("before", "during", "after"), marks, marks[1:], strict=False):
            took = [1000 * seconds for at, seconds in client.seconds if begin <= at + seconds < end]
            middle, late = np.percentile(took, [50, 99])
            over = sum(each > LONGEST for each in took)
            print(
                f"{name} {part}: {len(took)} requests, p50 {middle:.1f} ms, p99 {late:.1f} ms, "
                f"longest {max(took):.0f} ms, over {LONGEST} ms: {over}"
            )


def recall(store: VectorStore, vectors: Vector, questions: Vector) -> float:
    """The share of the ten nearest that are among the candidates of the dense leg."""
    found = 0
    for question in questions[:100]:
        query = HybridQuery(question, SparseVector((), ()), PointFilter(2.0, frozenset()))
        nearest = {point_id(int(number)) for number in np.argsort(-(vectors @ question))[:10]}
        found += len(nearest & {hit.id for hit in store.candidates(GENERATION, query)})
    return found / 1000


def fill(folder: Path, vectors: Vector) -> None:
    """A store of these vectors, unless it is there."""
    store = EdgeVectorStore(folder / "vectors")
    try:
        if GENERATION in store.generations():
            return
        store.create(GENERATION, vectors.shape[1])
        for first in range(0, len(vectors), AT_ONCE):
            some = range(first, min(first + AT_ONCE, len(vectors)))
            store.upsert(GENERATION, [make_point(number, vectors[number]) for number in some])
        store.sync(GENERATION)
    finally:
        store.close()


def make_point(number: int, dense: Vector) -> Point:
    """One chunk of one of many documents."""
    document = number // PER_DOCUMENT
    payload = PointPayload(f"doc_{document}", f"ver_{document}", ("*",), 1.0, None)
    return Point(
        point_id(number), dense, words(number, WORDS_EACH), payload, number % PER_DOCUMENT, PER_DOCUMENT
    )


def point_id(number: int) -> str:
    """Scattered, as ids made from hashes are."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))


def words(number: int, count: int) -> SparseVector:
    """Some words, frequent ones more often."""
    drawn = np.random.default_rng(number).random(count)
    indices = sorted({int(WORDS ** float(each)) for each in drawn})
    return SparseVector(tuple(indices), tuple(1.0 for _ in indices))


def clustered(count: int, seed: int) -> Vector:
    """Vectors of length 1 around some centres, as those of texts about some subjects are."""
    centres = _centres()
    rng = np.random.default_rng(seed)
    near = centres[rng.integers(0, CLUSTERS, count)] + 0.8 * rng.normal(size=(count, DIMENSIONS))
    unit: Vector = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
    return unit


@cache
def _centres() -> npt.NDArray[np.float64]:
    return np.random.default_rng(0).normal(size=(CLUSTERS, DIMENSIONS))


def size(folder: Path) -> float:
    """MiB that the files take on the disk."""
    blocks = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            blocks += path.stat().st_blocks
    return blocks * 512 / MIB


if __name__ == "__main__":
    main()
