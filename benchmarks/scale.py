"""`make bench-scale`: what a collection costs that grows to a million chunks, and its compaction while it is used.

Of one size, an embedded collection is compacted while one client searches it and another writes to it. The owner of the
store is a process of its own, as the server is, and lends it as the server lends it to its worker. What that prints is
for `docs/decisions/0013-compaction.md`.

Of several sizes (`--chunks 10000 100000 1000000`), or with `--part search`, each is compacted in peace and then
searched: how long each part of a search takes, what of the exact nearest it finds, and what is on the disk and in
memory, at last the largest against the smallest. That is for `docs/scaling.md`.

Chunks and questions are real ones of the test data, multiplied (`multiplied`) and written a block at a time (`stocking`).
Each step is a process of its own, so that none is measured with the memory of another.
"""

import argparse
import multiprocessing
import resource
import shutil
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
import psutil

from benchmarks import machine, multiplied, searches, stocking
from benchmarks.report import table
from benchmarks.stocking import Stocked
from evals import datasets
from ibid.embedding.bm25 import bm25_for
from ibid.embedding.registry import load_embedder
from ibid.settings import DEFAULT_EMBEDDER
from ibid.types import SparseConfig, SparseVector
from ibid.vectors.edge import EdgeVectorStore
from ibid.vectors.port import HybridQuery, Point, PointFilter, PointPayload, Vector, VectorStore
from ibid.vectors.remote import RemoteVectorStore, StoreServer, new_address, new_authkey

MIB = 1024 * 1024
PAUSE = 0.05
"""Seconds between two requests of a client: 20 searches and as many writes a second."""
BEFORE_AND_AFTER = 30.0
LONGEST = 250
"""Milliseconds that no request should take."""
SEARCHES = 500
QUESTIONS = 250
BASE = 10_000
"""Real chunks that are multiplied: the handbooks and most of the abstracts."""
MEMORY_OF_ALL, MEMORY_OF_EACH = 1_000_000_000, 10_000
DISK_OF_EACH = 18_000
"""Bytes for all chunks and for each, at most, while a size is stocked and compacted (docs/scaling.md)."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


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
    """Measure each size, the smallest first, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chunks", type=int, nargs="+", default=[100_000])
    parser.add_argument(
        "--part", choices=["compaction", "search"], help="of one size `compaction`, of several `search`"
    )
    parser.add_argument("--folder", type=Path, help="where what was stocked is kept for the next run")
    parser.add_argument("--base", type=int, default=BASE, help="real chunks that are multiplied, at most")
    parser.add_argument("--embedder", default=DEFAULT_EMBEDDER)
    chosen = parser.parse_args()
    sizes = sorted(set(chosen.chunks))
    part = chosen.part or ("compaction" if len(sizes) == 1 else "search")
    print(f"{machine.told(machine.describe())}; {machine.load()} processes wanted to run.", flush=True)
    measured = []
    with tempfile.TemporaryDirectory() as temporary:
        for size in sizes:
            folder = (chosen.folder or Path(temporary)) / f"{part}-{size}"
            refuse_what_does_not_fit(folder.parent, size)
            stocked = apart(stock, folder, size, chosen.base, chosen.embedder)
            if part == "compaction":
                under_load(folder, stocked)
                continue
            apart(compact, folder, stocked)
            measured.append(apart(searches.measure, folder, stocked, SEARCHES))
            print(searches.told(measured[-1]), flush=True)
            if not chosen.folder:
                shutil.rmtree(folder)
    if measured:
        print(table(searches.rows(measured)))


def apart(work: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
    """What the function gives, called in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments, **named).result()


def refuse_what_does_not_fit(folder: Path, chunks: int) -> None:
    """End with a sentence, before hours of work, where memory or disk would not last."""
    folder.mkdir(parents=True, exist_ok=True)
    for what, need, there in (
        ("memory", MEMORY_OF_ALL + MEMORY_OF_EACH * chunks, psutil.virtual_memory().available),
        ("room on the disk", DISK_OF_EACH * chunks, shutil.disk_usage(folder).free),
    ):
        if need > there:
            sys.exit(
                f"{chunks:,} chunks need {need / 1e9:.1f} GB of {what}, and there are {there / 1e9:.1f} GB."
            )


def stock(folder: Path, chunks: int, base: int, embedder: str) -> Stocked:
    """A knowledge base in the folder; prints how long that took, and with how much memory."""
    begin = time.perf_counter()
    known = stocking.noted(folder)
    if known is not None:
        return known
    shutil.rmtree(folder, ignore_errors=True)  # what a run left that did not come to its end
    encoder = load_embedder(embedder, stocking.settings_of(folder, embedder))
    multiply = multiplied.real(
        encoder, bm25_for(SparseConfig()), machine.ROOT / "build" / "benchmarks", min(base, chunks)
    )
    texts = [one.question for one in datasets.contoso_answerable()] + datasets.scifact_questions()
    made = stocking.stock(folder, multiply, chunks, encoder, tuple(dict.fromkeys(texts))[:QUESTIONS])
    print(
        f"{chunks:,} chunks stocked, {len(multiply.texts):,} of them real, in {time.perf_counter() - begin:.0f} s "
        f"with {_peak(resource.RUSAGE_SELF):.0f} MiB",
        flush=True,
    )
    return made


def compact(folder: Path, stocked: Stocked) -> None:
    """Once; prints how long it took, and the memory of this process and of the child that builds the copy."""
    store = EdgeVectorStore(folder / "vectors")
    begin = time.perf_counter()
    try:
        store.count(stocked.generation)
        if store.due(1):
            store.compact(stocked.generation)
            print(
                f"compacted in {time.perf_counter() - begin:.0f} s with {_peak(resource.RUSAGE_SELF):.0f} MiB, and "
                f"{_peak(resource.RUSAGE_CHILDREN):.0f} MiB of its child",
                flush=True,
            )
    finally:
        store.close()


def under_load(folder: Path, stocked: Stocked) -> None:
    """Compact while one client searches and another writes."""
    before = size(folder)
    authkey, address = new_authkey(), new_address(folder)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    owner = context.Process(target=own, args=(folder, stocked.generation, address, authkey, theirs))
    owner.start()
    ours.recv()
    store = RemoteVectorStore(address, authkey)
    asked = apart(asked_of, folder, stocked)
    searching = Client(lambda number: store.candidates(stocked.generation, asked[number % len(asked)]))
    writing = Client(lambda number: write(store, stocked, asked, number))
    try:
        print(f"{stocked.chunks:,} chunks; recall@10 before: {recall(store, stocked, asked):.4f}", flush=True)
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
        expected = {stocking.point_id(stocked.generation, number) for number in range(stocked.chunks)}
        expected |= {point_id(number) for number in range(len(writing.seconds))}
        kept = {ref.id for refs in store.scan(stocked.generation) for ref in refs}
        print(f"ids equal those written: {kept == expected} ({len(kept):,})")
        print(f"recall@10 after: {recall(store, stocked, asked):.4f}")
    finally:
        ours.send("end")
        owner.join()
        store.close()
    print(f"on disk: {before:.0f} MiB before, {size(folder):.0f} MiB after")


def own(folder: Path, generation: str, address: Path, authkey: bytes, orders: Connection) -> None:
    """The process that owns the store: lends it, and compacts when told to."""
    store = EdgeVectorStore(folder / "vectors")
    server = StoreServer(store, address, authkey, may_write=lambda _fence: True)
    store.count(generation)
    orders.send("ready")
    while orders.recv() == "compact":
        orders.send(store.compact(generation))
        orders.send(resident())
    server.close()
    store.close()


def resident() -> str:
    """What the owner's memory is made of, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    parts = {line.split()[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith("Rss")}
    return f"the owner holds {parts['RssAnon:']:.0f} MiB and maps {parts['RssFile:']:.0f} MiB of files"


def asked_of(folder: Path, stocked: Stocked) -> list[HybridQuery]:
    """The questions in both representations, asked by the reader."""
    encoder = load_embedder(stocked.embedder, stocking.settings_of(folder, stocked.embedder))
    bm25, seen = bm25_for(SparseConfig()), PointFilter(time.time(), stocking.READER.principals)
    return [
        HybridQuery(encoder.encode_query(question), bm25.query(question), seen)
        for question in stocked.questions
    ]


def write(store: VectorStore, stocked: Stocked, asked: Sequence[HybridQuery], number: int) -> None:
    """A new point near a question, and every tenth time a change to a document's."""
    near = asked[number % len(asked)]
    dense = multiplied.noisy(near.dense[np.newaxis], np.random.default_rng(number))[0]
    store.upsert(stocked.generation, [make_point(number, dense, near.sparse)])
    if number % 10 == 0:
        store.supersede(stocked.generation, f"ver_{number}", time.time())


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


def recall(store: VectorStore, stocked: Stocked, asked: Sequence[HybridQuery]) -> float:
    """The share of the ten nearest of what was stocked that are among the candidates of the dense leg."""
    found = 0
    for question, nearest in zip(asked, stocked.nearest, strict=False):
        query = HybridQuery(question.dense, SparseVector((), ()), question.filter)
        found += len(set(nearest) & {hit.id for hit in store.candidates(stocked.generation, query)})
    return found / sum(map(len, stocked.nearest))


def make_point(number: int, dense: Vector, words: SparseVector) -> Point:
    """The only chunk of a document that was not stocked."""
    payload = PointPayload(f"doc_written_{number}", f"ver_written_{number}", ("*",), 1.0, None)
    return Point(point_id(number), dense, words, payload, 0, 1)


def point_id(number: int) -> str:
    """Of what is written beside what was stocked."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))


def size(folder: Path) -> float:
    """MiB that the files of the store take on the disk."""
    return sum(searches.sizes(folder / "vectors").values()) / MIB


def _peak(whose: int) -> float:
    """MiB that a process held at most, with what it maps of files."""
    return resource.getrusage(whose).ru_maxrss / 1024


if __name__ == "__main__":
    main()
