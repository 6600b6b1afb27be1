"""BM25 as sparse vectors, made by the engine's own tokenizer; the store applies the inverse document frequency."""

import hashlib
import json
from dataclasses import asdict

import qdrant_edge

from ibid.errors import Invalid
from ibid.types import SparseConfig, SparseVector

# The fingerprint hashes what becomes of this text, so that another tokenizer, stemmer or list of stop words shows.
_PROBE = "The quick brown foxes' jumping over 3.5 lazy DOGS, naïve cafés, e-mail: a_b@c.org in 2024-05-01 and the end"


class SparseUnknown(Invalid):
    """No BM25 vectors can be made with these settings."""

    code = "sparse_unknown"


class Bm25:
    """Text to sparse vectors with the settings of one generation; thread-safe, since it holds no state."""

    def __init__(self, config: SparseConfig) -> None:
        settings = qdrant_edge.Bm25Config(
            k=config.k, b=config.b, avg_len=config.avg_len, language=config.language
        )
        try:
            self._model = qdrant_edge.Bm25(settings)
        except ValueError as error:
            msg = f"BM25 cannot work with these settings ({error}). Choose another language or other numbers."
            raise SparseUnknown(msg) from error
        self.fingerprint = self._identity(config)

    def document(self, text: str) -> SparseVector:
        """Weights of the words of a text to store; empty when it holds none."""
        return _ours(self._model.embed_document(text))

    def query(self, text: str) -> SparseVector:
        """Words of a question, each of weight 1; empty when all of them are stop words."""
        return _ours(self._model.embed_query(text))

    def _identity(self, config: SparseConfig) -> str:
        probe = self.document(_PROBE)
        rounded = sorted(zip(probe.indices, (round(value, 4) for value in probe.values), strict=True))
        return hashlib.sha256(json.dumps([asdict(config), rounded], sort_keys=True).encode()).hexdigest()


def _ours(vector: qdrant_edge.SparseVector) -> SparseVector:
    return SparseVector(tuple(vector.indices), tuple(vector.values))
