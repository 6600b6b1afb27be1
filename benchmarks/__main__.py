"""`python -m benchmarks [--only NAME …] [--quick] [--to FOLDER]`: measure, print one table, and keep a whole run."""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import (
    encoding,
    ingestion,
    latency,
    machine,
    memory,
    parsing,
    recognition,
    report,
    retrieval,
    startup,
    text,
    verifying,
)
from benchmarks.bench import Bench, Row, bench
from evals.datasets import DATA

# In the order in which they are run and shown.
MEASUREMENTS: dict[str, Callable[[Bench], list[Row]]] = {
    "parsing": parsing.measure,
    "text": text.measure,
    "recognition": recognition.measure,
    "encoding": encoding.measure,
    "ingestion": ingestion.measure,
    "latency": latency.measure,
    "memory": memory.measure,
    "startup": startup.measure,
    "retrieval": retrieval.measure,
    "verify": verifying.measure,
}
KEPT = Path("build") / "benchmarks"


def main(arguments: Sequence[str] | None = None) -> int:
    """Gives the exit status: 0, or 2 when the test data is not there."""
    options = _parser().parse_args(arguments)
    lacking = [name for name in ("contoso", "cranfield", "scifact", "squad") if not (DATA / name).is_dir()]
    if lacking:
        print(
            f"There is no {' or '.join(lacking)} in {DATA}. Set IBID_TEST_DATA to the folder of test data.",
            file=sys.stderr,
        )
        return 2
    names = options.only or list(MEASUREMENTS)
    run = measure(names, quick=options.quick, root=options.to or machine.ROOT)
    print(report.table(run.rows))
    whole = not options.quick and set(names) == set(MEASUREMENTS)
    if root := options.to or (machine.ROOT if whole else None):
        for path in report.write(run, root):
            print(f"written: {path.relative_to(root)}")
    else:
        print("Not written, since this was not a whole run; --to FOLDER writes it there.")
    return 0


def measure(names: Sequence[str], *, quick: bool, root: Path) -> report.Run:
    """Run the measurements one after the other, in their own order."""
    when, load, begin = datetime.now(UTC), machine.load(), time.perf_counter()
    rows: list[Row] = []
    with bench(quick=quick, kept=root / KEPT) as made:
        for name in (name for name in MEASUREMENTS if name in names):
            print(f"{time.perf_counter() - begin:6.1f} s  {name}", file=sys.stderr, flush=True)
            rows += MEASUREMENTS[name](made)
    seconds = time.perf_counter() - begin
    return report.Run(when, machine.describe(), load, machine.load(), seconds, quick, tuple(rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=MEASUREMENTS, metavar="NAME", help=", ".join(MEASUREMENTS)
    )
    parser.add_argument(
        "--quick", action="store_true", help="small samples: shows that it works, measures nothing"
    )
    parser.add_argument(
        "--to", type=Path, metavar="FOLDER", help="write benchmarks/results and docs below it"
    )
    return parser


def _end(_number: int, _frame: object) -> None:
    """Leave by way of every `finally`: a server and a folder would stay behind otherwise."""
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    sys.exit(main())
