"""Ibid beside others: `python -m benchmarks.peers [--only NAME …] …`.

All systems take in the files one after the other before any is given SciFact, so that they meet the same machine.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import ir_measures
from ir_measures import Qrel, ScoredDoc, nDCG

from benchmarks import machine
from benchmarks.peers import environments, own, page
from benchmarks.peers.coverage import ChunkNotFound, coverage, reader
from benchmarks.peers.driver import Job, Result, load
from benchmarks.peers.environments import PEERS, THREADS, NotInstalled, NotMeasured, Peer
from benchmarks.peers.page import Measured, Run
from benchmarks.peers.pages import page_count
from evals import datasets, shapes
from evals.sets import QuestionSet
from ibid.embedding import folders
from ibid.settings import BUNDLED_EMBEDDER

IBID = "Ibid"
NAMES = (IBID, *(peer.name for peer in PEERS))
SCIFACT = "SciFact"
LIMIT = 10
"""Chunks that a search gives."""
DEPTH = 50
"""Chunks that documents are ranked from: the most that a search of Ibid gives."""
KEPT = Path("build") / "benchmarks"


@dataclass(frozen=True, slots=True)
class Given:
    """What all systems are given: files with questions about them, and a set whose documents are ranked."""

    files: tuple[Path, ...]
    questions: tuple[str, ...]
    asked: QuestionSet
    corpus: int
    weights: Path
    root: Path

    @property
    def contents(self) -> list[tuple[str, bytes]]:
        """The files by name."""
        return [(file.name, file.read_bytes()) for file in self.files]


def main(arguments: Sequence[str] | None = None) -> int:
    """Gives the exit status: 0, or 2 when the test data is not there."""
    told = options(arguments)
    lacking = [name for name in ("contoso", "scifact") if not (datasets.DATA / name).is_dir()]
    if lacking:
        print(
            f"There is no {' or '.join(lacking)} in {datasets.DATA}. Set IBID_TEST_DATA to the folder of test data.",
            file=sys.stderr,
        )
        return 2
    made = measure(told, given(told.others, quick=told.quick))
    print(page.table(made.systems))
    whole = not told.quick and not told.only
    if root := told.to or (machine.ROOT if whole else None):
        path = root / "docs" / "peers.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page.markdown(made), encoding="utf-8")
        print(f"written: {path.relative_to(root)}")
    else:
        print("Not written, since this was not a whole run; --to FOLDER writes it there.")
    return 0


def given(others: int | None = None, *, quick: bool) -> Given:
    """The handbooks of Contoso and SciFact, or the first little of both.

    A number of `others` takes of SciFact the abstracts that are judged and so many others.
    """
    files = sorted((datasets.DATA / "contoso").glob("*.pdf"), key=lambda file: file.stat().st_size)
    questions = [one.question for one in datasets.contoso_answerable()]
    asked = shapes.load(datasets.DATA / "scifact")
    corpus = len(asked.sources)
    if others is not None:
        asked = asked.sample(questions=len(asked.questions), others=others)
    if quick:
        files, questions, asked = files[:2], questions[:5], asked.sample(questions=5, others=20)
    return Given(
        tuple(file.resolve() for file in files),
        tuple(questions),
        asked,
        corpus,
        folders.find(BUNDLED_EMBEDDER),
        machine.ROOT,
    )


def measure(told: argparse.Namespace, given: Given) -> Run:
    """Environments first, then the files on every system, then SciFact on every system."""
    when, begin = datetime.now(UTC), time.perf_counter()
    names = told.only or NAMES
    peers = [peer for peer in PEERS if peer.name in names]
    systems = {peer.name: Measured(peer.name, environments.version(peer), peer.how) for peer in peers}
    if IBID in names:
        how = "its server over HTTP with a worker process, SQLite and Qdrant Edge on disk, dense and BM25 joined"
        systems = {IBID: Measured(IBID, f"revision {machine.revision()}", how)} | systems
    pythons = {
        peer.name: environment for peer in peers if (environment := _environment(peer, given, systems))
    }
    with tempfile.TemporaryDirectory(prefix="ibid-peers-") as folder:
        work = _Work(given, {peer.name: peer for peer in peers}, pythons, Path(folder))
        for what, step in (("files", work.files), (SCIFACT, work.scifact)):
            for name, system in systems.items():
                if what == SCIFACT and name in told.without_scifact:
                    systems[name] = _noted(system, "SciFact was left out, as this run was told to.")
                elif time.perf_counter() - begin > told.minutes * 60:
                    why = f"nothing was begun after {told.minutes:g} minutes, as this run was told to."
                    systems[name] = _noted(system, f"{what} not measured: {why}")
                else:
                    systems[name] = _attempted(system, what, step)
    seconds = time.perf_counter() - begin
    return Run(
        when, machine.describe(), THREADS, seconds, told.quick, _counts(given), tuple(systems.values())
    )


@dataclass(frozen=True, slots=True)
class _Work:
    """What is done with each system; a peer without an environment is left as it is."""

    given: Given
    peers: Mapping[str, Peer]
    pythons: Mapping[str, Path]
    folder: Path

    def files(self, system: Measured) -> Measured:
        """Seconds, chunks, what was left out, and how long searches take."""
        given = self.given
        if system.name == IBID:
            questions = [*given.questions]
            ingested, inside, outside = own.files(self.folder / "ibid", given.contents, questions, LIMIT)
            return replace(
                _noted(
                    system, f"a client waits {median(outside):.1f} ms for a search over HTTP (p50), all told."
                ),
                seconds=ingested.seconds,
                chunks=ingested.chunks,
                coverage=own.covered(given.contents, given.weights),
                milliseconds=median(inside),
            )
        questions_by_id = {str(number): one for number, one in enumerate(given.questions)}
        files = [str(file) for file in given.files]
        done = self._drive(system, Job(str(given.weights), questions_by_id, LIMIT, files=files))
        if done is None:
            return system
        return replace(
            system,
            seconds=done.seconds,
            chunks=len(done.chunks),
            coverage=coverage(done.sources, done.chunks, reader(given.weights, done.tokens)),
            milliseconds=median(done.milliseconds),
        )

    def scifact(self, system: Measured) -> Measured:
        """nDCG@10."""
        asked = self.given.asked
        if system.name == IBID:
            found = own.rankings(asked, self.given.root / KEPT, DEPTH)
            return replace(system, ndcg=ndcg(asked, found))
        texts = {source.name: source.read().decode() for source in asked.sources}
        questions = {question.id: question.text for question in asked.questions}
        done = self._drive(system, Job(str(self.given.weights), questions, DEPTH, texts=texts))
        return replace(system, ndcg=ndcg(asked, done.found)) if done else system

    def _drive(self, system: Measured, job: Job) -> Result | None:
        if system.name not in self.pythons:
            return None
        peer = self.peers[system.name]
        asked, result = self.folder / f"{peer.driver}.job.json", self.folder / f"{peer.driver}.result.json"
        asked.write_text(json.dumps(asdict(job)), encoding="utf-8")
        environments.drive(self.pythons[system.name], peer, self.given.root, asked, result)
        return load(result)


def ndcg(asked: QuestionSet, found: Mapping[str, Sequence[str]]) -> float:
    """The mean over all questions of a set; a document ranks where the first of its chunks does."""
    judged = [
        Qrel(question.id, gold.document, gold.grade) for question in asked.questions for gold in question.gold
    ]
    ranked = [
        ScoredDoc(key, document, -rank)
        for key, documents in found.items()
        for rank, document in enumerate(dict.fromkeys(documents))
    ]
    values = ir_measures.iter_calc([nDCG @ 10], judged, ranked)
    return sum(float(one.value) for one in values) / len(asked.questions)


def _environment(peer: Peer, given: Given, systems: dict[str, Measured]) -> Path | None:
    """The Python of a peer; a peer that cannot be installed says so in its notes."""
    print(f"installing {peer.name}", file=sys.stderr, flush=True)
    try:
        return environments.made(peer, given.root)
    except NotInstalled as error:
        systems[peer.name] = _noted(systems[peer.name], f"it could not be installed here. {error}")
        return None


def _attempted(system: Measured, what: str, work: Callable[[Measured], Measured]) -> Measured:
    """The system with what was measured, and the load of the machine before that."""
    load_before = machine.load()
    print(f"{what}: {system.name}", file=sys.stderr, flush=True)
    try:
        return replace(work(system), loads=(*system.loads, load_before))
    except (NotMeasured, ChunkNotFound) as error:
        return _noted(system, f"its {what} could not be measured. {error}")


def _noted(system: Measured, note: str) -> Measured:
    return replace(system, notes=(*system.notes, note))


def _counts(given: Given) -> dict[str, int]:
    return {
        "files": len(given.files),
        "pages": page_count(given.files),
        "questions": len(given.questions),
        "queries": len(given.asked.questions),
        "abstracts": len(given.asked.sources),
        "corpus": given.corpus,
    }


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument(
        "--without-scifact",
        nargs="+",
        choices=NAMES,
        default=[],
        metavar="NAME",
        help="leave SciFact out for these, which takes minutes for each; the table says so",
    )
    parser.add_argument(
        "--others",
        type=int,
        metavar="N",
        help="of SciFact only the abstracts that are judged and so many others; the page says so",
    )
    parser.add_argument(
        "--quick", action="store_true", help="small samples: shows that it works, measures nothing"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=float("inf"),
        metavar="N",
        help="begin with nothing more after so many minutes; the page says what is missing",
    )
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="write docs/peers.md below it")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
