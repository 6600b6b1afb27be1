"""The table on the screen, the JSON of a run, and the page of the documentation."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.bench import Row
from benchmarks.plot import draw

PAGE = """\
# Benchmarks

Written by `make bench` from one run, {when:%Y-%m-%d %H:%M} UTC, revision {revision}; nothing here is typed by hand.
{machine}. {noise}

![What was measured]({plot})

{table}

What is measured how: the docstring at the head of each module in `benchmarks/`. Earlier runs: `benchmarks/results/`.
A value with a target says whether it was met on this machine in this run; nothing fails when it was not.

| package | version |
|---|---|
{packages}
"""


QUICK = " A quick run: samples are too small to mean anything."


@dataclass(frozen=True, slots=True)
class Run:
    """What was measured, when, on what, and how busy the machine was with all of it before and after."""

    when: datetime
    machine: dict[str, Any]
    load_before: float
    load_after: float
    seconds: float
    quick: bool
    rows: tuple[Row, ...]


def table(rows: Sequence[Row]) -> str:
    """Columns that line up."""
    cells = [_cells(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        f"{line[0]:<{widths[0]}}  {line[1]:<{widths[1]}}  {line[2]:>{widths[2]}} {line[3]:<{widths[3]}}"
        f"  {line[4]:<{widths[4]}}  {line[5]}".rstrip()
        for line in cells
    )


def write(run: Run, root: Path) -> list[Path]:
    """`benchmarks/results/<date>-<revision>.json`, `docs/benchmarks.md` and its plot below the folder; gives them."""
    result = root / "benchmarks" / "results" / f"{run.when:%Y-%m-%d}-{run.machine['revision'][:7]}.json"
    page, plot = root / "docs" / "benchmarks.md", root / "docs" / "benchmarks.svg"
    for path in (result, page):
        path.parent.mkdir(parents=True, exist_ok=True)
    result.write_text(json.dumps(asdict(run), indent=1, default=str) + "\n", encoding="utf-8")
    draw(run.rows, plot)
    page.write_text(markdown(run, plot.name), encoding="utf-8")
    return [result, page, plot]


def markdown(run: Run, plot: str) -> str:
    """The page."""
    lines = ["| | | value | | target | |", "|---|---|---:|---|---|---|"]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in _cells(row))} |" for row in run.rows]
    quick = QUICK if run.quick else ""
    return PAGE.format(
        when=run.when,
        revision=machine.told_revision(run.machine),
        machine=machine.told(run.machine),
        noise=f"The run took {run.seconds:.0f} s; the load of the machine was {run.load_before:g} before it and "
        f"{run.load_after:g} after it.{quick}",
        plot=plot,
        table="\n".join(lines),
        packages="\n".join(f"| {name} | {version} |" for name, version in run.machine["packages"].items()),
    )


def _cells(row: Row) -> tuple[str, ...]:
    return row.measurement, row.name, row.shown, row.unit, row.verdict, row.note
