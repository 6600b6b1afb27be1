"""Real chunks, multiplied: as many as wanted, made a block at a time.

The first ones are those of the Contoso handbooks and the SciFact abstracts as they are. Each further round has all of
them again with noise in their vectors, so that its cosine with the real one is about 0.78 as between passages about one
subject, and without a third of their words. What they mean plays no part; how they lie and which words are frequent does.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from evals import datasets, reading
from evals.vectors import Vectors
from ibid.embedding.bm25 import Bm25
from ibid.embedding.port import Embedder
from ibid.types import SparseVector
from ibid.vectors.port import Vector

PER_DOCUMENT: Final = 10
AT_ONCE: Final = 500
"""Chunks of a block, of which a store is given all at once; whole documents."""
NOISE: Final = 0.8
"""Length of what is added to a vector of length 1."""
WORDS_KEPT: Final = 2 / 3


@dataclass(frozen=True, slots=True)
class Base:
    """What is multiplied: texts, their vectors of length 1, shape (texts, dimensions), and their words."""

    texts: tuple[str, ...]
    vectors: Vector
    words: tuple[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]], ...]


@dataclass(frozen=True, slots=True)
class Block:
    """Chunks from number `first` on: which text of the base each has, its vector and its words."""

    first: int
    texts: tuple[str, ...]
    vectors: Vector
    words: tuple[SparseVector, ...]


def real(encoder: Embedder, bm25: Bm25, kept: Path, most: int) -> Base:
    """The first chunks of the data sets, at most so many; vectors that an earlier run made are taken from `kept`."""
    files = chain(datasets.contoso_files(), datasets.scifact_files())
    every = (text for name, content in files for text in reading.texts(encoder, name, content))
    return base_of(list(islice(every, most)), Vectors(encoder, kept), bm25)


def base_of(texts: Sequence[str], vectors: Vectors, bm25: Bm25) -> Base:
    """These texts, each once."""
    distinct = tuple(dict.fromkeys(texts))
    known = vectors.of(distinct)
    made = np.stack([known[vectors.key(text)] for text in distinct]).astype(np.float32)
    return Base(distinct, unit(made), tuple(map(_arrays, map(bm25.document, distinct))))


def blocks(base: Base, chunks: int) -> Iterator[Block]:
    """So many chunks, the same in every run."""
    for first in range(0, chunks, AT_ONCE):
        numbers = np.arange(first, min(first + AT_ONCE, chunks))
        yield _block(base, first, numbers)


def noisy(vectors: Vector, rng: np.random.Generator) -> Vector:
    """The vectors with noise, of length 1 again."""
    noise = rng.normal(0, NOISE / np.sqrt(vectors.shape[1]), vectors.shape)
    return unit((vectors + noise).astype(np.float32))


def unit(vectors: Vector) -> Vector:
    """Each row with length 1."""
    scaled: Vector = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled


def _block(base: Base, first: int, numbers: npt.NDArray[np.int64]) -> Block:
    rng = np.random.default_rng(first)
    of, copied = numbers % len(base.texts), numbers >= len(base.texts)
    vectors = base.vectors[of]
    vectors[copied] = noisy(vectors[copied], rng)
    words = []
    for at, copy in zip(of.tolist(), copied.tolist(), strict=True):
        indices, weights = base.words[at]
        kept = rng.random(len(indices)) < WORDS_KEPT if copy else np.ones(len(indices), dtype=bool)
        words.append(SparseVector(tuple(indices[kept].tolist()), tuple(weights[kept].tolist())))
    return Block(first, tuple(base.texts[at] for at in of.tolist()), vectors, tuple(words))


def _arrays(words: SparseVector) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    return np.array(words.indices, dtype=np.int64), np.array(words.values, dtype=np.float64)
