"""Peak memory of each process of the tree, after an ingestion and answers to eight clients at once."""

from benchmarks.bench import Bench, Row, cycled
from benchmarks.latency import CLIENTS, answer, together
from benchmarks.watching import look

MIB = 1024 * 1024


def measure(bench: Bench) -> list[Row]:
    """Rows in the order in which the processes start each other."""
    bench.filled  # noqa: B018 - watched while the documents were taken in
    together(bench.server, max(CLIENTS), cycled(bench.questions, bench.some(24, 8)), answer)
    look(bench.server, bench.peaks)
    note = "peak resident size, pages shared with others included"
    return [Row("memory", role, size / MIB, "MiB", note=note) for role, size in bench.peaks.items()]
