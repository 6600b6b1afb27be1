"""What measurements share: the values they give, and the things that are made once for all of them."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Literal

from benchmarks.ingesting import Ingested, ingest
from benchmarks.server import Server
from benchmarks.watching import watched
from evals import datasets
from evals.vectors import Vectors
from ibid.embedding.port import Embedder
from ibid.embedding.registry import load_embedder
from ibid.settings import Settings

COLLECTION = "contoso"


@dataclass(frozen=True, slots=True)
class Target:
    """A limit that a value should keep: at least this much if `better` is more, at most if it is less."""

    limit: float
    better: Literal["more", "less"]

    def met(self, value: float) -> bool:
        """Whether the value keeps the limit."""
        return value >= self.limit if self.better == "more" else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.better == 'more' else '≤'} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Row:
    """One measured value."""

    measurement: str
    name: str
    value: float
    unit: str
    target: Target | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """The target, and whether it was met; empty without one."""
        return (
            ""
            if self.target is None
            else f"{self.target} {'met' if self.target.met(self.value) else 'MISSED'}"
        )

    @property
    def shown(self) -> str:
        """The value with three digits that count; whole numbers whole."""
        size = abs(self.value)
        return f"{self.value:.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3}f}"


@dataclass
class Bench:
    """One run. Whatever takes long to make is made when first used and ended with the run."""

    quick: bool
    scratch: Path
    kept: Path
    ends: ExitStack = field(default_factory=ExitStack)
    peaks: dict[str, int] = field(default_factory=dict)

    @cached_property
    def settings(self) -> Settings:
        """Those of the environment, in the scratch folder."""
        return Settings(data_dir=self.scratch / "in-process")

    @cached_property
    def encoder(self) -> Embedder:
        """The encoder in this process."""
        return load_embedder(self.settings.embedder, self.settings)

    def encoder_with(self, threads: int) -> Embedder:
        """Another encoder, with so many threads."""
        return load_embedder(
            self.settings.embedder, self.settings.model_copy(update={"embed_threads": threads})
        )

    @cached_property
    def vectors(self) -> Vectors:
        """Vectors that this run or an earlier one made."""
        return Vectors(self.encoder, self.kept)

    @cached_property
    def pdfs(self) -> list[tuple[str, bytes]]:
        """The PDFs, the smallest first; only two of them in a quick run."""
        return sorted(datasets.contoso_files(), key=lambda file: len(file[1]))[: 2 if self.quick else None]

    @cached_property
    def abstracts(self) -> list[tuple[str, bytes]]:
        """Small documents, of one chunk or two."""
        return list(islice(datasets.scifact_files(), self.some(5000, 20)))

    @cached_property
    def questions(self) -> list[datasets.Asked]:
        """Questions whose gold page is in one of the PDFs."""
        names = {name for name, _ in self.pdfs}
        asked = datasets.contoso_answerable()
        return [one for one in asked if any(file in names for file, _ in one.pages)]

    @cached_property
    def server(self) -> Server:
        """A server on an empty data directory, ready, its sample ingested."""
        server = Server(self.scratch / "served")
        self.ends.callback(server.kill)
        server.start()
        server.await_idle()
        return server

    @cached_property
    def filled(self) -> Ingested:
        """What it took the server to take in the PDFs."""
        with watched(self.server, self.peaks):
            return ingest(self.server, COLLECTION, self.pdfs)

    def some(self, many: int, few: int) -> int:
        """How often: `few` in a quick run."""
        return few if self.quick else many


@contextmanager
def bench(*, quick: bool, kept: Path) -> Iterator[Bench]:
    """A run with its own folder, which is removed at the end together with everything that was started."""
    with tempfile.TemporaryDirectory(prefix="ibid-bench-") as folder, ExitStack() as ends:
        yield Bench(quick=quick, scratch=Path(folder), kept=kept, ends=ends)


def cycled(questions: Sequence[datasets.Asked], count: int) -> list[str]:
    """So many questions, from the start again when they run out."""
    return [questions[number % len(questions)].question for number in range(count)]
