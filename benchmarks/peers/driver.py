"""What every driver does, in the environment of its peer: it needs Python alone.

`python -m benchmarks.peers.<driver> JOB RESULT` reads a job and writes what was measured, both as JSON files, since
libraries write to the standard output as they like.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

WARMING = {"warming": "The first text that a process encodes takes longer than all that follow."}


@dataclass(frozen=True, slots=True)
class Job:
    """Files or texts (by name) to index, and questions (by id) to ask of them, each for `limit` chunks."""

    weights: str
    questions: dict[str, str]
    limit: int
    files: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of the text of a source; `prefix` is what the encoder is given before it."""

    source: str
    text: str
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """Seconds until all was searchable, milliseconds of each search, and the sources of the chunks found, best first.

    `tokens` is how many the encoder reads of a chunk, its two marks included. Texts as they were read (`sources`, by
    name) and `chunks` are there only for files.
    """

    seconds: float
    milliseconds: list[float]
    found: dict[str, list[str]]
    tokens: int
    chunks: list[Chunk]
    sources: dict[str, str]


class Index(Protocol):
    """An index of one framework, made empty, with its encoder loaded."""

    def add_files(self, files: Sequence[Path]) -> None:
        """Read and index PDFs."""

    def add_texts(self, texts: Mapping[str, str]) -> None:
        """Index texts by name."""

    def search(self, question: str, limit: int) -> list[str]:
        """The sources of the chunks found, best first; a source as often as chunks of it were found."""

    def read(self) -> tuple[dict[str, str], list[Chunk]]:
        """The texts that were read, by source, and the chunks made of them, in the order of the text."""

    def tokens(self) -> int:
        """How many tokens the encoder reads of a chunk."""


def measure(make: Callable[[str], Index], job: Job) -> Result:
    """Index, then ask; a first index of one sentence takes what only a first use costs."""
    warm = make(job.weights)
    warm.add_texts(WARMING)
    warm.search("What takes longer?", 1)
    index = make(job.weights)
    begin = time.perf_counter()
    if job.files:
        index.add_files([Path(file) for file in job.files])
    else:
        index.add_texts(job.texts)
    seconds = time.perf_counter() - begin
    found, milliseconds = {}, []
    for key, question in job.questions.items():
        begin = time.perf_counter()
        found[key] = index.search(question, job.limit)
        milliseconds.append((time.perf_counter() - begin) * 1000)
    sources, chunks = index.read() if job.files else ({}, [])
    return Result(seconds, milliseconds, found, index.tokens(), chunks, sources)


def load(path: Path) -> Result:
    """A result as `run` wrote it."""
    saved = json.loads(path.read_text(encoding="utf-8"))
    return Result(**saved | {"chunks": [Chunk(**chunk) for chunk in saved["chunks"]]})


def run(make: Callable[[str], Index]) -> None:
    """The program of a driver."""
    job, result = map(Path, sys.argv[1:])
    made = measure(make, Job(**json.loads(job.read_text(encoding="utf-8"))))
    result.write_text(json.dumps(asdict(made)), encoding="utf-8")
