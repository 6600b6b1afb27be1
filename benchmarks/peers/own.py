"""Ibid by its own doors: files uploaded to its server and asked over HTTP; SciFact as `ibid eval` does it.

What was tried towards half of the time of Chroma, which embeds the first 256 tokens of each page (58 % of the text),
where all of it is embedded here: (1) 8-bit weights, which encode 2.7 to 3.6 times as fast. (2) Reading the next files
while the encoder works on these, by two hands of a worker. (3) What ONNX Runtime fuses ahead of time: it finds no
attention in this graph, and is 5 % slower. What is left is the encoder's: 12.6 of 17.5 s for these files on a machine
without VNNI, as `make bench` shows.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.ingesting import Ingested, ingest
from benchmarks.peers.coverage import MARKS, Coverage, coverage, reader
from benchmarks.peers.driver import Chunk
from benchmarks.peers.environments import THREADS
from benchmarks.server import Server
from evals import ways
from evals.filling import fill, scratch
from evals.reading import chunked, read
from evals.sets import QuestionSet
from evals.vectors import Vectors
from ibid.embedding.registry import load_embedder
from ibid.embedding.texts import encoder_text
from ibid.settings import Settings
from retrieval.plan import BALANCED

COLLECTION = "peers"


def files(
    folder: Path, given: Sequence[tuple[str, bytes]], questions: Sequence[str], limit: int
) -> tuple[Ingested, list[float], list[float]]:
    """What the upload took, and milliseconds of each search: by the server's own clock, and as its client waits."""
    server = Server(folder, {"EMBED_THREADS": str(THREADS)})
    try:
        server.start()
        server.await_idle()
        ingested = ingest(server, COLLECTION, given)
        inside, outside = [], []
        with server.client() as client:
            client.get("/healthz")  # connected before the clock runs
            for question in questions:
                body = {"collection": COLLECTION, "query": question, "limit": limit}
                begin = time.perf_counter()
                reply = client.post("/v1/search", json=body).raise_for_status()
                outside.append((time.perf_counter() - begin) * 1000)
                inside.append(reply.json()["timings"]["total"])
    finally:
        server.kill()
    return ingested, inside, outside


def covered(given: Sequence[tuple[str, bytes]], weights: Path) -> Coverage:
    """How much of the canonical texts of files is embedded, cut as the server cuts them."""
    encoder = load_embedder(Settings().embedder, Settings())
    sources, chunks = {}, []
    for name, content in given:
        parsed = read(name, content)
        sources[name] = parsed.text
        made = chunked(encoder, parsed)
        chunks += [Chunk(name, each.text, encoder_text(each.heading_path, "")) for each in made]
    return coverage(sources, chunks, reader(weights, encoder.max_tokens + MARKS))


def rankings(asked: QuestionSet, kept: Path, depth: int) -> Mapping[str, list[str]]:
    """Documents of the passages found for each question, best first; vectors of earlier runs are used again."""
    settings = Settings(embed_threads=THREADS)
    with scratch(settings) as (parts, kit):
        encoder = parts.encoders.get(settings.embedder)
        filled = fill(parts, COLLECTION, asked, encoder, Vectors(encoder, kept))
        search = ways.run(kit, filled.collection, BALANCED, depth)
        return {one.id: [hit.document for hit in search(one.text)] for one in asked.questions}
