"""Seconds from the command to `/readyz` answering 200, on an empty data directory and on a filled one."""

from statistics import median

from benchmarks.bench import Bench, Row, Target


def measure(bench: Bench) -> list[Row]:
    """The first start makes the database and the sample; the second is the median of a few."""
    server = bench.server
    bench.filled  # noqa: B018 - so that the later starts find something
    for _ in range(bench.some(3, 1)):
        server.stop()
        server.start()
    first, *later = server.start_seconds
    return [
        Row("startup", "first start", first, "s", note="empty data directory; creates the sample collection"),
        Row(
            "startup",
            "second start",
            median(later),
            "s",
            Target(10, "less"),
            "of " + ", ".join(f"{seconds:.1f}" for seconds in later) + " s",
        ),
    ]
