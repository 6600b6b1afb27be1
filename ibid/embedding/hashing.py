"""An encoder without a model: words and their parts, hashed into a vector. For tests and for trying things out."""

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Self

import numpy as np

from ibid.embedding.port import Matrix
from ibid.settings import Settings

DIMENSIONS = 256
MAX_TOKENS = 512

_WORD = re.compile(r"\w+")
_SUFFIXES = ("ations", "ation", "ingly", "ings", "ing", "edly", "ies", "ied", "es", "ed", "ly", "s", "e", "y")
_STEM_AT_LEAST = 3
_WEIGHT_OF_STEM = 1.0
_WEIGHT_OF_PART = 0.2
_PART = 3


class HashingEmbedder:
    """Bag of hashed word stems and their three-letter parts; a token is a word. Deterministic on every machine."""

    name = "hashing"
    dimensions = DIMENSIONS
    max_tokens = MAX_TOKENS
    fingerprint = hashlib.sha256(f"hashing 1 {DIMENSIONS} {MAX_TOKENS}".encode()).hexdigest()

    @classmethod
    def from_settings(cls, _name: str, _settings: Settings) -> Self:
        """The encoder; it has no settings."""
        return cls()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Words of each text."""
        return [sum(1 for _ in _WORD.finditer(text)) for text in texts]

    def encode(self, texts: Sequence[str]) -> Matrix:
        """Unit vectors, shape (len(texts), 256); a text without words is the first axis."""
        vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in _WORD.findall(text.casefold())[:MAX_TOKENS]:
                for place, weight in _features(word):
                    vectors[row, place] += weight
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors[norms[:, 0] == 0, 0] = 1.0
        norms[norms == 0] = 1.0
        normalised: Matrix = vectors / norms
        return normalised

    def encode_query(self, text: str) -> Matrix:
        """Unit vector of a question, shape (256,)."""
        vector: Matrix = self.encode([text])[0]
        return vector


@lru_cache(maxsize=1 << 16)
def _features(word: str) -> tuple[tuple[int, float], ...]:
    """Places in the vector and signed weights of one word's stem and parts."""
    stem = _stem(word)
    padded = f"<{stem}>"
    parts = {padded[i : i + _PART] for i in range(len(padded) - _PART + 1)}
    return (
        _place(f"w {stem}", _WEIGHT_OF_STEM),
        *(_place(f"p {part}", _WEIGHT_OF_PART) for part in sorted(parts)),
    )


def _stem(word: str) -> str:
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _STEM_AT_LEAST:
            return word.removesuffix(suffix)
    return word


def _place(feature: str, weight: float) -> tuple[int, float]:
    number = int.from_bytes(
        hashlib.blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big"
    )
    return number % DIMENSIONS, weight if number >> 63 else -weight
