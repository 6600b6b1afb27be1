"""Chunks per second of a whole ingestion, from upload to succeeded, beside the encoder alone on the same texts.

With as many threads as cores, which is the default and makes the most chunks, the encoder shares its cores with all else
that an ingestion does. So it is measured also with one thread less, where a core is left for that.

What was tried towards 0.85 for small documents on two cores, from 0.39 on: (1) Two hands of a worker, of which one reads
or stores while the texts of the other are at the encoder: 0.57. (2) Small texts of a collection share a parse child
(decision 0010), and (3) fewer and smaller transactions for each document: 0.58 to 0.68, as the machine's other load lets.
(4) A third hand: nothing, 33 s for 400 documents instead of 31, since both cores are busy already. What is left is the
processor's: a document takes 88 ms of it in the encoder, and some 40 outside (server 17, worker 19, parser 6; almost half
of the worker's is the one transaction in which a version is published). With these two cores 0.85 would mean 16.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.bench import COLLECTION, Bench, Row, Target
from benchmarks.ingesting import Ingested, ingest
from benchmarks.server import Server
from evals.reading import texts
from ibid.embedding.port import Embedder

STAGES = ("parse", "chunk", "embed", "index")


BUSY = Target(0.85, "more")
SAMPLE = 5  # of so many small documents one is given to the encoder alone
FEWER = 1000  # small documents for the encoder with a thread less


def measure(bench: Bench) -> list[Row]:
    """The encoder works on one half of the texts before the ingestion and on the other half after it."""
    server = bench.server
    large = _compared(bench, bench.encoder, _large(bench), lambda: bench.filled)
    sample = [text for file in bench.abstracts[::SAMPLE] for text in texts(bench.encoder, *file)]
    small = _compared(bench, bench.encoder, sample, lambda: ingest(server, "abstracts", bench.abstracts))
    return [
        *_rows("large documents", large, _stages(large.ingested)),
        *_rows("small documents", small, ""),
        *_with_a_core_left(bench),
    ]


def _with_a_core_left(bench: Bench) -> list[Row]:
    """The same with a thread less than there are cores; nothing where there is one core."""
    threads = len(os.sched_getaffinity(0)) - 1
    if not threads:
        return []
    server = Server(bench.scratch / "core-left", {"EMBED_THREADS": str(threads)})
    files = bench.abstracts[: bench.some(FEWER, 20)]
    sample = [text for file in files[::SAMPLE] for text in texts(bench.encoder, *file)]
    try:
        server.start()
        server.await_idle()
        encoder = bench.encoder_with(threads)
        large = _compared(bench, encoder, _large(bench), lambda: ingest(server, COLLECTION, bench.pdfs))
        small = _compared(bench, encoder, sample, lambda: ingest(server, "abstracts", files))
    finally:
        server.kill()
    name = f"{threads} of {threads + 1} cores"
    return [
        *_rows(f"large documents, encoder on {name}", large, ""),
        *_rows(f"small documents, encoder on {name}", small, ""),
    ]


def _large(bench: Bench) -> list[str]:
    return list(dict.fromkeys(text for pdf in bench.pdfs for text in texts(bench.encoder, *pdf)))


@dataclass(frozen=True, slots=True)
class _Compared:
    """An ingestion, and the chunks that the encoder alone makes in a second."""

    ingested: Ingested
    raw: float


def _compared(bench: Bench, encoder: Embedder, some: Sequence[str], run: Callable[[], Ingested]) -> _Compared:
    seconds = _encode(bench, encoder, some[::2])
    ingested = run()
    seconds += _encode(bench, encoder, some[1::2])
    return _Compared(ingested, len(some) / seconds)


def _rows(what: str, found: _Compared, note: str) -> list[Row]:
    ingested = found.ingested
    rate = ingested.chunks / ingested.seconds
    taken = f"{ingested.chunks} chunks of {len(ingested.receipts)} documents in {ingested.seconds:.1f} s"
    return [
        Row(
            "ingestion",
            f"{what}, upload to succeeded",
            rate,
            "chunks/s",
            note="; ".join(filter(None, (taken, note))),
        ),
        Row("ingestion", f"{what}, the encoder alone", found.raw, "chunks/s", note="half before, half after"),
        Row("ingestion", f"{what}, ingestion against the encoder", rate / found.raw, "times", BUSY),
    ]


def _encode(bench: Bench, encoder: Embedder, some: Sequence[str]) -> float:
    begin = time.perf_counter()
    vectors = encoder.encode(some)
    seconds = time.perf_counter() - begin
    bench.vectors.keep(some, vectors)
    return seconds


def _stages(ingested: Ingested) -> str:
    """Seconds by stage. Parsing is booked by document; the others by batch, and every receipt of it shows them."""
    spent = {stage: [receipt["seconds"][stage] for receipt in ingested.receipts] for stage in STAGES}
    return ", ".join(
        f"{stage} {sum(found) if stage == 'parse' else max(found):.1f} s" for stage, found in spent.items()
    )
