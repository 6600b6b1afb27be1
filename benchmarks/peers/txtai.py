"""txtai as its introduction shows it: embeddings with content, dense and sparse together, rows indexed, a question asked.

Its package alone neither reads PDFs nor splits texts, so each page is a row; the encoder reads the first tokens of it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from txtai import Embeddings

from benchmarks.peers.driver import Chunk, run
from benchmarks.peers.pages import pages


class TxtaiIndex:
    """Embeddings in memory."""

    def __init__(self, weights: str) -> None:
        self._embeddings = Embeddings(path=weights, content=True, hybrid=True)
        self._texts: dict[str, str] = {}

    def add_files(self, files: Sequence[Path]) -> None:
        """Each page as a row."""
        self.add_texts(dict(pages(files)))

    def add_texts(self, texts: Mapping[str, str]) -> None:
        """Each text as a row."""
        self._texts = dict(texts)
        self._embeddings.index((name, text, None) for name, text in texts.items())

    def search(self, question: str, limit: int) -> list[str]:
        """Ids of the rows found, whose texts come with them."""
        return [str(found["id"]) for found in self._embeddings.search(question, limit)]

    def read(self) -> tuple[dict[str, str], list[Chunk]]:
        """Each page whole."""
        return self._texts, [Chunk(name, text) for name, text in self._texts.items()]

    def tokens(self) -> int:
        """What its own pooling reads, whatever the model folder says."""
        return int(self._embeddings.model.model.maxlength)


if __name__ == "__main__":
    run(TxtaiIndex)
