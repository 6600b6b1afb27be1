"""Chroma as its getting started shows it: an in-process client, a collection, texts added, and a question asked.

It neither reads files nor splits texts, so each page is an entry; the encoder reads the first 256 tokens of it.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

import chromadb
from chromadb.utils.embedding_functions import SentenceTransformerEmbeddingFunction

from benchmarks.peers.driver import Chunk, run
from benchmarks.peers.pages import pages

_numbers = count()


class ChromaIndex:
    """A collection of the in-process client."""

    def __init__(self, weights: str) -> None:
        self._client = chromadb.Client()
        self._weights = Path(weights)
        encoder = SentenceTransformerEmbeddingFunction(model_name=weights)
        name = f"collection-{next(_numbers)}"  # all clients of a process share one store
        self._collection = self._client.create_collection(name, embedding_function=encoder)
        self._texts: dict[str, str] = {}

    def add_files(self, files: Sequence[Path]) -> None:
        """Each page as an entry."""
        self.add_texts(dict(pages(files)))

    def add_texts(self, texts: Mapping[str, str]) -> None:
        """Each text as an entry, in calls as large as the client allows."""
        self._texts = dict(texts)
        names, step = list(texts), self._client.get_max_batch_size()
        for first in range(0, len(names), step):
            some = names[first : first + step]
            self._collection.add(ids=some, documents=[texts[name] for name in some])

    def search(self, question: str, limit: int) -> list[str]:
        """Ids of the nearest entries, whose texts come with them."""
        found = self._collection.query(query_texts=[question], n_results=limit)
        return list(found["ids"][0])

    def read(self) -> tuple[dict[str, str], list[Chunk]]:
        """Each page whole."""
        return self._texts, [Chunk(name, text) for name, text in self._texts.items()]

    def tokens(self) -> int:
        """What the model folder says."""
        return int(json.loads((self._weights / "sentence_bert_config.json").read_text())["max_seq_length"])


if __name__ == "__main__":
    run(ChromaIndex)
