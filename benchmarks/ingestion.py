"""Chunks per second of a whole ingestion, from upload to succeeded, beside the encoder alone on the same texts."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.bench import Bench, Row, Target
from benchmarks.ingesting import Ingested, ingest
from benchmarks.reading import texts

STAGES = ("parse", "chunk", "embed", "index")


BUSY = Target(0.85, "more")
SAMPLE = 5  # of so many small documents one is given to the encoder alone


def measure(bench: Bench) -> list[Row]:
    """The encoder works on one half of the texts before the ingestion and on the other half after it."""
    server = bench.server
    wanted = list(dict.fromkeys(text for pdf in bench.pdfs for text in texts(bench.encoder, *pdf)))
    large = _compared(bench, wanted, lambda: bench.filled)
    sample = [text for file in bench.abstracts[::SAMPLE] for text in texts(bench.encoder, *file)]
    small = _compared(bench, sample, lambda: ingest(server, "abstracts", bench.abstracts))
    return [*_rows("large documents", large, _stages(large.ingested)), *_rows("small documents", small, "")]


@dataclass(frozen=True, slots=True)
class _Compared:
    """An ingestion, and the chunks that the encoder alone makes in a second."""

    ingested: Ingested
    raw: float


def _compared(bench: Bench, some: Sequence[str], run: Callable[[], Ingested]) -> _Compared:
    seconds = _encode(bench, some[::2])
    ingested = run()
    seconds += _encode(bench, some[1::2])
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
