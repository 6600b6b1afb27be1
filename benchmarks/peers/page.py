"""The table of a run, and the page that holds it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from benchmarks import machine
from benchmarks.bench import Row, Target
from benchmarks.peers.coverage import Coverage
from benchmarks.report import QUICK

PAGE = """\
# Beside others

Written by `make bench-peers` from one run, {when:%Y-%m-%d %H:%M} UTC, revision {revision}; nothing here is typed by hand.
{machine}, {threads} threads for each. The run took {seconds:.0f} s.{quick}

{table}

Seconds are from files to searchable, for {files} PDFs of {pages} pages. "Never embedded" is the share of the text, white space left out, that the encoder was never given or dropped, since a chunk was longer than it reads. Searches are the median of {questions} questions, asked one after the other. nDCG@10 is of {queries} questions over {abstracts} of the {corpus} abstracts of SciFact; fewer abstracts make it easier. The load is that of the machine just before the files and just before SciFact: what else it was doing.

| Ibid | value | | target | |
|---|---:|---|---|---|
{targets}

A target says whether it was met on this machine in this run; nothing fails when it was not.

| | release | how it is used |
|---|---|---|
{used}

What is measured how: the docstrings in `benchmarks/peers/`. The weights are the same for all: all-MiniLM-L6-v2, from one folder.
"""
HEADINGS = (
    "",
    "files, s",
    "chunks",
    "characters",
    "never embedded, %",
    "search p50, ms",
    "SciFact nDCG@10",
    "load",
)


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of one system; None: not measured, and `notes` say why."""

    name: str
    release: str
    how: str
    seconds: float | None = None
    chunks: int | None = None
    coverage: Coverage | None = None
    milliseconds: float | None = None
    ndcg: float | None = None
    loads: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One run: Ibid first, then its peers. The counts say on what."""

    when: datetime
    machine: dict[str, Any]
    threads: int
    seconds: float
    quick: bool
    counts: dict[str, int]
    systems: tuple[Measured, ...]


def table(systems: Sequence[Measured]) -> str:
    """A row for each system, and below them why something is missing."""
    lines = [f"| {' | '.join(HEADINGS)} |", f"|---|{'---:|' * (len(HEADINGS) - 1)}"]
    lines += [f"| {' | '.join(_cells(system))} |" for system in systems]
    notes = [f"- {system.name}: {note}" for system in systems for note in system.notes]
    return "\n".join([*lines, "", *notes] if notes else lines)


def targets(systems: Sequence[Measured]) -> list[Row]:
    """Ibid, the first, against the best of its peers; a target that nothing was measured for is left out."""
    ibid, *peers = systems
    return [
        *_against("files to searchable", "s", ibid, peers, lambda one: one.seconds, 0.5),
        *_whole(ibid),
        *_against("search p50", "ms", ibid, peers, lambda one: one.milliseconds, 1),
        *_better(ibid, peers),
    ]


def markdown(run: Run) -> str:
    """The page."""
    rows = (
        f"| {row.name} | {row.shown} | {row.unit} | {row.verdict} | {row.note} |"
        for row in targets(run.systems)
    )
    return PAGE.format(
        when=run.when,
        revision=machine.told_revision(run.machine),
        machine=machine.told(run.machine),
        threads=run.threads,
        seconds=run.seconds,
        quick=QUICK if run.quick else "",
        table=table(run.systems),
        targets="\n".join(rows),
        used="\n".join(f"| {one.name} | {one.release} | {one.how} |" for one in run.systems),
        **run.counts,
    )


def _cells(system: Measured) -> tuple[str, ...]:
    covered = system.coverage
    return (
        system.name,
        _shown(system.seconds, ".1f"),
        _shown(system.chunks, ","),
        _shown(covered.characters if covered else None, ","),
        _shown(100 * covered.left_out if covered else None, ".1f"),
        _shown(system.milliseconds, ".1f"),
        _shown(system.ndcg, ".3f"),
        ", ".join(f"{load:g}" for load in system.loads),
    )


def _shown(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _against(
    name: str,
    unit: str,
    ibid: Measured,
    peers: Sequence[Measured],
    value: Callable[[Measured], float | None],
    share: float,
) -> Iterator[Row]:
    """At most this share of the least of the peers."""
    own, least = value(ibid), _best(peers, value, min)
    if own is not None and least is not None:
        limit = Target(round(share * least[0], 2), "less")
        of = "half of" if share == 0.5 else "that of"
        yield Row(
            "peers", name, own, unit, limit, f"{of} {least[1]}, {least[0]:.1f} {unit}{_unknown(peers, value)}"
        )


def _whole(ibid: Measured) -> Iterator[Row]:
    if ibid.coverage is not None:
        left_out = 100 * ibid.coverage.left_out
        yield Row("peers", "text never embedded", left_out, "%", Target(0, "less"), "all of what was read")


def _better(ibid: Measured, peers: Sequence[Measured]) -> Iterator[Row]:
    def value(one: Measured) -> float | None:
        return one.ndcg

    most = _best(peers, value, max)
    if ibid.ndcg is not None and most is not None:
        target = Target(round(most[0], 3), "more")
        yield Row(
            "peers", "SciFact", ibid.ndcg, "nDCG@10", target, f"that of {most[1]}{_unknown(peers, value)}"
        )


def _best(
    peers: Sequence[Measured],
    value: Callable[[Measured], float | None],
    choose: Callable[[list[tuple[float, str]]], tuple[float, str]],
) -> tuple[float, str] | None:
    known = [(found, peer.name) for peer in peers if (found := value(peer)) is not None]
    return choose(known) if known else None


def _unknown(peers: Sequence[Measured], value: Callable[[Measured], float | None]) -> str:
    """Whom Ibid was not compared with: a target met against some is not met against all."""
    names = [peer.name for peer in peers if value(peer) is None]
    return f"; {', '.join(names)} not measured" if names else ""
