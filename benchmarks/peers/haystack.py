"""Haystack as its guides show it: a pipeline that converts, cleans, splits, embeds and writes, and one that retrieves.

Retrieval is that of its hybrid tutorial, by embedding and by BM25 with a joiner, which joins by reciprocal ranks since
the ranking model that the tutorial puts behind it is not among the weights.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from haystack import Document, Pipeline
from haystack.components.converters import PyPDFToDocument
from haystack.components.joiners import DocumentJoiner
from haystack.components.preprocessors import DocumentCleaner, DocumentSplitter
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever, InMemoryEmbeddingRetriever
from haystack.components.writers import DocumentWriter
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack_integrations.components.embedders.sentence_transformers import (
    SentenceTransformersDocumentEmbedder,
    SentenceTransformersTextEmbedder,
)

from benchmarks.peers.driver import Chunk, run


class HaystackIndex:
    """A document store in memory, with the pipelines around it."""

    def __init__(self, weights: str) -> None:
        self._store = InMemoryDocumentStore()
        self._converter = PyPDFToDocument()
        self._embedder = SentenceTransformersDocumentEmbedder(model=weights, progress_bar=False)
        self._embedder.warm_up()
        self._indexing = self._made_indexing()
        self._querying = self._made_querying(weights)
        self._made: dict[str, Any] = {}

    def add_files(self, files: Sequence[Path]) -> None:
        """A document of each file, then split."""
        self._add(self._converter.run(sources=list(files))["documents"])

    def add_texts(self, texts: Mapping[str, str]) -> None:
        """Each text as a document."""
        self._add([Document(content=text, meta={"name": name}) for name, text in texts.items()])

    def search(self, question: str, limit: int) -> list[str]:
        """Sources of the chunks that the joiner puts first."""
        asked = {
            "text_embedder": {"text": question},
            "embedding": {"top_k": limit},
            "bm25": {"query": question, "top_k": limit},
            "joiner": {"top_k": limit},
        }
        return [_source(found) for found in self._querying.run(asked)["joiner"]["documents"]]

    def read(self) -> tuple[dict[str, str], list[Chunk]]:
        """The documents as the cleaner left them, which takes out white space alone, and their chunks."""
        cleaned, split = self._made["cleaner"]["documents"], self._made["splitter"]["documents"]
        return {one.id: one.content for one in cleaned}, [Chunk(_source(one), one.content) for one in split]

    def tokens(self) -> int:
        """What the model folder says."""
        return int(self._embedder.embedding_backend.model.get_max_seq_length())

    def _add(self, documents: list[Document]) -> None:
        wanted = {"cleaner", "splitter"}
        self._made = self._indexing.run({"cleaner": {"documents": documents}}, include_outputs_from=wanted)

    def _made_indexing(self) -> Pipeline:
        pipeline = Pipeline()
        pipeline.add_component("cleaner", DocumentCleaner())
        pipeline.add_component("splitter", DocumentSplitter())
        pipeline.add_component("embedder", self._embedder)
        pipeline.add_component("writer", DocumentWriter(self._store))
        pipeline.connect("cleaner", "splitter")
        pipeline.connect("splitter", "embedder")
        pipeline.connect("embedder", "writer")
        return pipeline

    def _made_querying(self, weights: str) -> Pipeline:
        pipeline = Pipeline()
        pipeline.add_component(
            "text_embedder", SentenceTransformersTextEmbedder(model=weights, progress_bar=False)
        )
        pipeline.add_component("embedding", InMemoryEmbeddingRetriever(self._store))
        pipeline.add_component("bm25", InMemoryBM25Retriever(self._store))
        pipeline.add_component("joiner", DocumentJoiner(join_mode="reciprocal_rank_fusion"))
        pipeline.connect("text_embedder.embedding", "embedding.query_embedding")
        pipeline.connect("embedding", "joiner")
        pipeline.connect("bm25", "joiner")
        return pipeline


def _source(chunk: Document) -> str:
    """The name of a text that was given one, else the id of the document that the splitter cut."""
    return str(chunk.meta.get("name") or chunk.meta["source_id"])


if __name__ == "__main__":
    run(HaystackIndex)
