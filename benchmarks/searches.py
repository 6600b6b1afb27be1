"""How long a search takes in a stocked knowledge base, part by part, what it misses, and what it keeps in memory.

It is the search that every reader's request calls, in a process of its own, over a store that was compacted, by a reader
who may see half of the documents.

What was tried towards 8 ms at the median with 100,000 chunks: (1) the encoder with 8 bits, 3.3 ms for a question instead of
13 to 23; (2) columns instead of entities from SQL, and the statement for passages made once, 2.6 ms for the check instead
of 5; (3) one question to SQL instead of two for the collection and its weights, which gained nothing here and saves a round
trip to PostgreSQL. That leaves 15 ms, of which the engine takes 6 (3.3 for the best of both legs, 0.6 for what only one
of them proposed, when nothing else runs in between).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import psutil

from benchmarks.bench import Row, Target
from benchmarks.stocking import COLLECTION, NEAREST, READER, Stocked, parts_of
from evals.filling import kit_of
from ibid.bootstrap import Parts
from ibid.clock import now
from ibid.types import SparseVector
from ibid.vectors.port import HybridQuery, PointFilter, VectorReader
from retrieval.search import search

GB: Final = 1e9
PERCENTILES: Final = (50, 95, 99)
PASSAGES: Final = 10
PARTS: Final = ("resolve", "encode", "engine", "fusion", "check", "total")
SERVED: Final = 100_000
"""Of so many chunks a search's time has targets: encoding, both legs, and SQL's word for each passage."""
TARGETS: Final = {50: Target(8, "less"), 99: Target(25, "less")}
FOUND: Final = Target(0.99, "more")
RESIDENT: Final = Target(0.7, "less")
GROWTH: Final = Target(2, "less")


@dataclass(frozen=True, slots=True)
class Measured:
    """Milliseconds of each part at each percentile; bytes by what they are for, on the disk and mapped into memory.

    `graph` are the 8-bit vectors and the links between them, `mapped` all files of the store, `held` what is no file's.
    """

    chunks: int
    searches: int
    spent: Mapping[str, Mapping[int, float]]
    recall: float
    disk: Mapping[str, int]
    graph: int
    graph_resident: int
    mapped: int
    held: int


def measure(folder: Path, stocked: Stocked, searches: int) -> Measured:
    """Ask the questions in turn, so many searches in all, after each was asked once."""
    parts = parts_of(folder, stocked.embedder)
    try:
        spent = _ask(parts, stocked.questions, searches)
        found = recall(parts.store, stocked, parts)
        mapped = _mapped(folder / "vectors")
    finally:
        parts.close()
    files = sizes(folder / "vectors")
    return Measured(
        chunks=stocked.chunks,
        searches=searches,
        spent=spent,
        recall=found,
        disk={"rows": sum(size for path, size in sizes(folder).items() if path.name.startswith("ibid.db"))}
        | {"vectors and indexes": sum(files.values())},
        graph=sum(size for path, size in files.items() if of_graph(str(path))),
        graph_resident=sum(size for path, size in mapped.items() if of_graph(path)),
        mapped=sum(mapped.values()),
        held=_held(),
    )


def recall(store: VectorReader, stocked: Stocked, parts: Parts) -> float:
    """The share of the exact ten nearest that are the ten best of the dense leg, over the sampled questions."""
    encoder = parts.encoders.get(stocked.embedder)
    found = 0
    for question, nearest in zip(stocked.questions, stocked.nearest, strict=False):
        query = HybridQuery(
            encoder.encode_query(question),
            SparseVector((), ()),
            PointFilter(now().timestamp(), READER.principals),
        )
        hits = sorted(store.candidates(stocked.generation, query), key=lambda hit: -hit.dense)
        found += len({hit.id for hit in hits[:NEAREST]} & set(nearest))
    return found / sum(map(len, stocked.nearest))


def rows(all_measured: Sequence[Measured]) -> list[Row]:
    """What has a target, and how the search of the largest compares with that of the smallest."""
    made = [row for measured in all_measured for row in _rows_of(measured)]
    first, last = all_measured[0], all_measured[-1]
    if first is not last:
        ratio = last.spent["total"][95] / first.spent["total"][95]
        note = f"{last.spent['total'][95]:.1f} ms against {first.spent['total'][95]:.1f} ms"
        name = f"p95 of {last.chunks:,} chunks against {first.chunks:,}"
        made.append(Row("scale", name, ratio, "times", GROWTH, note))
    return made


def told(measured: Measured) -> str:
    """Milliseconds of each part, a line each, and where the bytes are."""
    lines = [
        f"{measured.chunks:,} chunks, {measured.searches} searches of {PASSAGES} passages, milliseconds:"
    ]
    for part, at in measured.spent.items():
        lines.append(f"  {part:<8}" + "".join(f"  p{each} {at[each]:7.1f}" for each in PERCENTILES))
    million = 1e6 / measured.chunks / GB
    disk = ", ".join(f"{size * million:.2f} GB of {name}" for name, size in measured.disk.items())
    lines.append(f"  on disk, per million chunks: {disk}")
    lines.append(
        f"  in memory, per million chunks: {measured.graph_resident * million:.2f} GB of 8-bit vectors and links, of "
        f"{measured.graph * million:.2f} GB; the process: {measured.mapped / GB:.2f} GB of the store's files, and "
        f"{measured.held / GB:.2f} GB that are no file's"
    )
    return "\n".join(lines)


def sizes(folder: Path) -> dict[Path, int]:
    """Bytes that each file takes on the disk."""
    return {path: path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file()}


def of_graph(path: str) -> bool:
    """Whether a search of the graph reads the file for each point that it comes by."""
    return "/vector_index-dense/" in path or Path(path).name.startswith("quantized.")


def _rows_of(measured: Measured) -> list[Row]:
    name = f"{measured.chunks:,} chunks"
    spent = measured.spent["total"]
    size = measured.graph / measured.chunks * 1e6 / GB
    return [
        *(
            Row(
                "scale",
                f"{name}, search p{at}",
                spent[at],
                "ms",
                TARGETS.get(at) if measured.chunks == SERVED else None,
            )
            for at in PERCENTILES
        ),
        Row("scale", f"{name}, recall@10 against exact", measured.recall, "", FOUND),
        Row("scale", f"{name}, 8-bit vectors and links", size, "GB per million", RESIDENT),
    ]


def _ask(parts: Parts, questions: Sequence[str], searches: int) -> dict[str, dict[int, float]]:
    kit = kit_of(parts)
    for question in questions:
        search(kit, READER, COLLECTION, question, PASSAGES)
    spent: dict[str, list[float]] = defaultdict(list)
    for number in range(searches):
        found = search(kit, READER, COLLECTION, questions[number % len(questions)], PASSAGES)
        for part in PARTS:
            spent[part].append(found.timings[part])
    return {
        part: {at: float(np.percentile(values, at)) for at in PERCENTILES} for part, values in spent.items()
    }


def _mapped(folder: Path) -> dict[str, int]:
    """Resident bytes of this process by file of the folder."""
    found: dict[str, int] = defaultdict(int)
    for each in psutil.Process().memory_maps():
        if each.path.startswith(str(folder.absolute())):
            found[each.path] += each.rss
    return found


def _held() -> int:
    """Resident bytes of this process that are no file's."""
    return sum(each.anonymous for each in psutil.Process().memory_maps())
