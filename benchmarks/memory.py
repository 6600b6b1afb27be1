"""Memory: the peak of each process of the tree, and whether a worker grows with the documents that it has read."""

from benchmarks.bench import Bench, Row, Target, cycled
from benchmarks.ingesting import ingest
from benchmarks.latency import CLIENTS, answer, together
from benchmarks.server import Server
from benchmarks.watching import look, present

MIB = 1024 * 1024
FEW, MANY = 50, 1000
STEADY = Target(1.2, "less")


def measure(bench: Bench) -> list[Row]:
    """Peaks after an ingestion and answers to eight clients at once, in the order in which processes start each other."""
    bench.filled  # noqa: B018 - watched while the documents were taken in
    together(bench.server, max(CLIENTS), cycled(bench.questions, bench.some(24, 8)), answer)
    look(bench.server, bench.peaks)
    note = "peak resident size, pages shared with others included"
    peaks = [Row("memory", role, size / MIB, "MiB", note=note) for role, size in bench.peaks.items()]
    return [*peaks, *_growth(bench)]


def _growth(bench: Bench) -> list[Row]:
    """A worker of its own reads a few documents, and then many more."""
    few, many = bench.some(FEW, 2), bench.some(MANY, 6)
    server = Server(bench.scratch / "growing")
    try:
        server.start()
        ingest(server, "few", bench.abstracts[:few])
        before = _worker(server)
        ingest(server, "many", bench.abstracts[few:many])
        after = _worker(server)
    finally:
        server.kill()
    return [
        Row("memory", f"worker after {few} documents", before / MIB, "MiB", note="with its parse server"),
        Row("memory", f"worker after {many} documents", after / MIB, "MiB", note="with its parse server"),
        Row("memory", "growth of the worker", after / before, "times", STEADY),
    ]


def _worker(server: Server) -> int:
    return sum(size for role, size in present(server) if role not in {"api", "parse child"})
