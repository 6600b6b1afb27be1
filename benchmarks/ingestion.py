"""Chunks per second of a whole ingestion, from upload to succeeded, beside the encoder alone on the same texts."""

import time
from collections.abc import Sequence
from itertools import islice

from benchmarks.bench import Bench, Row
from benchmarks.ingesting import Ingested, ingest
from benchmarks.reading import texts
from evals import datasets

STAGES = ("parse", "chunk", "embed", "index")


def measure(bench: Bench) -> list[Row]:
    """The encoder works on one half of the texts before the ingestion and on the other half after it."""
    server = bench.server
    wanted = list(dict.fromkeys(text for pdf in bench.pdfs for text in texts(bench.encoder, *pdf)))
    seconds = _encode(bench, wanted[::2])
    ingested = bench.filled
    seconds += _encode(bench, wanted[1::2])
    raw, whole = len(wanted) / seconds, ingested.chunks / ingested.seconds
    short = ingest(server, "short", list(islice(datasets.squad_files(), bench.some(100, 5))))
    return [
        Row(
            "ingestion",
            "upload to succeeded",
            whole,
            "chunks/s",
            note=f"{ingested.chunks} chunks of {len(ingested.receipts)} PDFs in {ingested.seconds:.1f} s; {_stages(ingested)}",
        ),
        Row(
            "ingestion", "the encoder alone", raw, "chunks/s", note="the same texts, half before, half after"
        ),
        Row("ingestion", "ingestion against the encoder", whole / raw, "times"),
        Row(
            "ingestion",
            "short texts",
            len(short.receipts) / short.seconds,
            "documents/s",
            note=f"{len(short.receipts)} text files with {short.chunks} chunks in {short.seconds:.1f} s",
        ),
    ]


def _encode(bench: Bench, some: Sequence[str]) -> float:
    begin = time.perf_counter()
    vectors = bench.encoder.encode(some)
    seconds = time.perf_counter() - begin
    bench.vectors.keep(some, vectors)
    return seconds


def _stages(ingested: Ingested) -> str:
    """Seconds by stage. Parsing is booked by document; the others by batch, and every receipt of it shows them."""
    spent = {stage: [receipt["seconds"][stage] for receipt in ingested.receipts] for stage in STAGES}
    return ", ".join(
        f"{stage} {sum(found) if stage == 'parse' else max(found):.1f} s" for stage, found in spent.items()
    )
