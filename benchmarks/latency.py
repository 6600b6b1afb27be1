"""How long readers wait: for a search, for the first byte and sentence of an answer, and for the whole of it."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from itertools import chain, cycle
from multiprocessing import get_context
from statistics import median

import httpx
import numpy as np

from benchmarks.bench import COLLECTION, Bench, Row, Target, cycled
from benchmarks.ingesting import ingest
from benchmarks.server import Server

CLIENTS = (1, 8)
SENTENCE = b"event: answer.delta"
PERCENTILES = (50, 95)
PATIENT = Target(2000, "less")
UNDISTURBED = Target(2, "less")
FILES = 200
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Heard:
    """Milliseconds from asking to the first byte, the first sentence (None: refused) and the last byte."""

    first_byte: float
    first_sentence: float | None
    whole: float


def measure(bench: Bench) -> list[Row]:
    """Percentiles with one client and with several at once."""
    bench.filled  # noqa: B018 - the collection is there from now on
    rows: list[Row] = []
    for clients in CLIENTS:
        searches = cycled(bench.questions, bench.some(100, 3) * min(clients, 3))
        asked = cycled(bench.questions, bench.some(40, 3) * min(clients, 2))
        rows += _searches(bench.server, clients, searches)
        rows += _answers(bench.server, clients, asked)
    return [*rows, *_beside_ingestion(bench)]


def together(
    server: Server, clients: int, questions: Sequence[str], ask: Callable[[httpx.Client, str], Heard]
) -> list[Heard]:
    """Ask all questions, so many clients at once, each with its own connection and its share of the questions."""

    def one(share: Sequence[str]) -> list[Heard]:
        with server.client() as client:
            client.get("/healthz")  # connected before the clock runs
            return [ask(client, question) for question in share]

    with ThreadPoolExecutor(clients) as pool:
        return list(chain.from_iterable(pool.map(one, (questions[n::clients] for n in range(clients)))))


def search(client: httpx.Client, question: str) -> Heard:
    """One search of ten passages."""
    begin = time.perf_counter()
    client.post("/v1/search", json={"collection": COLLECTION, "query": question}).raise_for_status()
    whole = _since(begin)
    return Heard(whole, None, whole)


def answer(client: httpx.Client, question: str) -> Heard:
    """One answer as a stream of events."""
    first_byte = first_sentence = None
    received = b""
    begin = time.perf_counter()
    body = {"collection": COLLECTION, "question": question, "stream": True}
    with client.stream("POST", "/v1/answers", json=body) as reply:
        reply.raise_for_status()
        for piece in reply.iter_raw():
            first_byte = first_byte or _since(begin)
            received += piece
            if first_sentence is None and SENTENCE in received:
                first_sentence = _since(begin)
    whole = _since(begin)
    return Heard(first_byte or whole, first_sentence, whole)


def _searches(server: Server, clients: int, questions: Sequence[str]) -> list[Row]:
    begin = time.perf_counter()
    heard = together(server, clients, questions, search)
    rate = f"{len(heard)} searches, {len(heard) / (time.perf_counter() - begin):.1f} a second"
    return _percentiles("search", clients, [one.whole for one in heard], note=rate)


def _answers(server: Server, clients: int, questions: Sequence[str]) -> list[Row]:
    heard = together(server, clients, questions, answer)
    said = [one.first_sentence for one in heard if one.first_sentence is not None]
    note = f"{len(heard)} answers, {len(heard) - len(said)} refused"
    return [
        *_percentiles("first byte of an answer", clients, [one.first_byte for one in heard], note=note),
        *_percentiles("first sentence of an answer", clients, said, note=f"{len(said)} answers"),
        *_percentiles("whole answer", clients, [one.whole for one in heard], note=note, target=PATIENT),
    ]


def _beside_ingestion(bench: Bench) -> list[Row]:
    """Searches by one client just before files are read, and while they are; another process sends the files."""
    asked = cycled(bench.questions, bench.some(100, 3))
    rounds = bench.some(ROUNDS, 1)
    size = bench.some(FILES, 5)
    sender = ProcessPoolExecutor(
        1, get_context("spawn"), initializer=import_module, initargs=(ingest.__module__,)
    )
    with sender, bench.server.client() as client:
        sender.submit(int).result()  # it has imported what it needs
        found = [
            _one_round(bench.server, client, sender, asked, f"beside {n}", _unread(bench.abstracts[:size], n))
            for n in range(rounds)
        ]
    note = f"median of {rounds} rounds of {size} files, each ingested in {median(one.seconds for one in found):.1f} s"
    return [
        Row(
            "latency", "search just before ingestion, p95, 1 client", median(one.idle for one in found), "ms"
        ),
        Row(
            "latency",
            "search beside ingestion, p95, 1 client",
            median(one.busy for one in found),
            "ms",
            note=note,
        ),
        Row(
            "latency",
            "search beside ingestion against idle, p95",
            median(one.busy / one.idle for one in found),
            "times",
            UNDISTURBED,
            note=f"rounds: {', '.join(f'{one.busy / one.idle:.2f}' for one in found)}",
        ),
    ]


@dataclass(frozen=True, slots=True)
class _Round:
    """p95 in milliseconds, and how long the ingestion took."""

    idle: float
    busy: float
    seconds: float


def _unread(files: Sequence[tuple[str, bytes]], number: int) -> list[tuple[str, bytes]]:
    """The files with something new in each sentence, so that nothing is known of any passage."""
    return [(name, content.replace(b". ", b" (%d). " % number)) for name, content in files]


def _one_round(
    server: Server,
    client: httpx.Client,
    sender: Executor,
    asked: Sequence[str],
    collection: str,
    files: Sequence[tuple[str, bytes]],
) -> _Round:
    idle = [search(client, question).whole for question in asked]
    reading = sender.submit(ingest, server.seen_from_elsewhere(), collection, files)
    heard: list[tuple[datetime, float]] = []
    for question in cycle(asked):
        if reading.done():
            break
        heard.append((datetime.now(UTC), search(client, question).whole))
    ingested = reading.result()
    busy = [whole for asked_at, whole in heard if ingested.begin <= asked_at <= ingested.end]
    return _Round(_p95(idle), _p95(busy), ingested.seconds)


def _p95(heard: Sequence[float]) -> float:
    return float(np.percentile(heard, 95))


def _percentiles(
    what: str, clients: int, values: Sequence[float], *, note: str, target: Target | None = None
) -> list[Row]:
    """A row for each percentile; a target holds for the highest of them, for a person who asks alone."""
    label = "1 client" if clients == 1 else f"{clients} clients"
    return [
        Row(
            "latency",
            f"{what}, p{share}, {label}",
            float(np.percentile(values, share)),
            "ms",
            target if share == max(PERCENTILES) and clients == 1 else None,
            note,
        )
        for share in PERCENTILES
        if values
    ]


def _since(begin: float) -> float:
    return (time.perf_counter() - begin) * 1000
