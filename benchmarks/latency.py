"""How long readers wait: for a search, for the first byte and sentence of an answer, and for the whole of it."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, cycle

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
    """Searches by one client while files are read, and just before that."""
    asked = cycled(bench.questions, bench.some(100, 3))
    idle = [one.whole for one in together(bench.server, 1, asked, search)]
    busy: list[float] = []
    files = bench.abstracts[: bench.some(FILES, 5)]
    with ThreadPoolExecutor(1) as pool, bench.server.client() as client:
        reading = pool.submit(ingest, bench.server, "beside", files)
        for question in cycle(asked):
            if reading.done():
                break
            busy.append(search(client, question).whole)
        seconds = reading.result().seconds
    note = f"{len(busy)} searches while {len(files)} files are ingested in {seconds:.1f} s"
    p95 = float(np.percentile(busy, 95))
    return [
        Row("latency", "search beside ingestion, p95, 1 client", p95, "ms", note=note),
        Row(
            "latency",
            "search beside ingestion against idle, p95",
            p95 / float(np.percentile(idle, 95)),
            "times",
            UNDISTURBED,
        ),
    ]


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
