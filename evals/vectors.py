"""Vectors that were made before, under the product's own key: the exact text and the encoder's fingerprint.

Encoding the 5,183 abstracts takes longer than everything else together, and gives the same each time.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ibid.embedding.port import Embedder, Matrix
from ibid.fingerprints import embedding_key

STEP = 512


class Vectors:
    """Vectors by key, of one encoder, kept in a file between runs."""

    def __init__(self, encoder: Embedder, folder: Path) -> None:
        self._encoder = encoder
        self._file = folder / f"{encoder.fingerprint}.npz"
        self._known: dict[str, Matrix] = {}
        if self._file.is_file():
            with np.load(self._file) as saved:
                self._known = dict(zip(saved["keys"].tolist(), saved["vectors"], strict=True))

    def key(self, text: str) -> str:
        """Under which the product keeps the vector of this text."""
        return embedding_key(self._encoder.fingerprint, text)

    def keep(self, texts: Sequence[str], vectors: Matrix) -> None:
        """Remember vectors, shape (len(texts), dimensions), for this run."""
        self._known.update(zip(map(self.key, texts), vectors, strict=True))

    def of(self, texts: Sequence[str]) -> dict[str, Matrix]:
        """The vector of each text by its key; those not known yet are made, and all are kept for later runs."""
        lacking = sorted({text for text in texts if self.key(text) not in self._known}, key=len)
        for first in range(0, len(lacking), STEP):
            some = lacking[first : first + STEP]
            self.keep(some, self._encoder.encode(some))
            self._save()
        return {key: self._known[key] for key in map(self.key, texts)}

    def _save(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = self._file.with_suffix(".new.npz")
        np.savez(new, keys=np.array(list(self._known)), vectors=np.stack(list(self._known.values())))
        new.replace(self._file)
