"""The bundled encoder in full precision and in its 8-bit form: tokens a second, one question, and how near they are.

Both encode the same texts with the same threads, in turns, so that what else the machine does meets both alike.
"""

import time
from collections.abc import Callable, Sequence
from itertools import islice
from statistics import median
from typing import Any

from benchmarks.bench import Bench, Row, Target
from evals.reading import texts
from ibid.embedding.folders import cores
from ibid.embedding.port import Embedder
from ibid.embedding.registry import load_embedder
from ibid.embedding.sentence_transformers import SentenceTransformersEmbedder
from ibid.settings import BUNDLED_EMBEDDER, DEFAULT_EMBEDDER

BATCHES = (8, 16, 32, 64)
FASTER = Target(1.7, "more")
NEAR = Target(0.99, "more")
QUICK = Target(3, "less")
"""Milliseconds for a question."""
TURN = 20


def measure(bench: Bench) -> list[Row]:
    """Both, with all cores for texts and one thread for a question."""
    settings = bench.settings.model_copy(update={"embed_threads": cores()})
    int8 = load_embedder(DEFAULT_EMBEDDER, settings)
    full = {
        batch: SentenceTransformersEmbedder(BUNDLED_EMBEDDER, threads=cores(), batch=batch)
        for batch in (BATCHES if not bench.quick else BATCHES[:1])
    }
    sample = _sample(bench, int8)
    some = sample[:: max(1, len(sample) // 64)]
    best = min(full, key=lambda batch: median(_seconds(full[batch], some) for _ in range(bench.some(3, 1))))
    fp32 = full[best]
    turns = [(_seconds(fp32, sample), _seconds(int8, sample)) for _ in range(bench.some(5, 1))]
    tokens = sum(min(count, int8.max_tokens) for count in int8.count_tokens(sample))
    cosines = (fp32.encode(sample) * int8.encode(sample)).sum(axis=1)
    note = f"{len(sample)} chunks, {tokens} tokens, {cores()} threads"
    return [
        *_rates(turns, tokens, best, note),
        Row("encoding", "8-bit likeness", float(cosines.mean()), "", NEAR, f"worst {cosines.min():.4f}"),
        *_questions(bench, fp32, int8),
    ]


def _rates(turns: list[tuple[float, float]], tokens: int, best: int, note: str) -> list[Row]:
    slow, fast = (median(turn[which] for turn in turns) for which in (0, 1))
    ratios = sorted(a / b for a, b in turns)
    spread = f"median of {len(turns)} turns, {ratios[0]:.2f} to {ratios[-1]:.2f}"
    return [
        Row("encoding", "full precision", tokens / slow, "tokens/s", note=f"batches of {best}, {note}"),
        Row("encoding", "8 bits", tokens / fast, "tokens/s", note=note),
        Row("encoding", "8 bits to full precision", median(ratios), "times", FASTER, spread),
    ]


def _questions(bench: Bench, fp32: Embedder, int8: Embedder) -> list[Row]:
    """One after the other, on one thread each, in turns of some: no service goes back and forth between two encoders."""
    asked = [one.question for one in bench.questions][: bench.some(200, 3)]
    for encoder in (fp32, int8):
        encoder.encode_query("warm-up")
    slow: list[float] = []
    fast: list[float] = []
    for first in range(0, len(asked), TURN):
        slow += _each(fp32, asked[first : first + TURN])
        fast += _each(int8, asked[first : first + TURN])
    note = f"p50 of {len(asked)}, one thread"
    return [
        Row("encoding", "question, full precision", median(slow), "ms", note=note),
        Row("encoding", "question, 8 bits", median(fast), "ms", QUICK, note),
    ]


def _each(encoder: Embedder, asked: Sequence[str]) -> list[float]:
    """Milliseconds for each question."""
    return [1000 * _clocked(encoder.encode_query, text) for text in asked]


def _sample(bench: Bench, encoder: Embedder) -> list[str]:
    """Chunks of the smallest PDFs and of abstracts, half of them each."""
    half = bench.some(160, 8)
    abstracts = islice((text for file in bench.abstracts for text in texts(encoder, *file)), half)
    pages = islice((text for file in bench.pdfs for text in texts(encoder, *file)), half)
    return [*abstracts, *pages]


def _seconds(encoder: Embedder, sample: Sequence[str]) -> float:
    return _clocked(encoder.encode, sample)


def _clocked(act: Callable[[Any], object], given: object) -> float:
    begin = time.perf_counter()
    act(given)
    return time.perf_counter() - begin
