"""LlamaIndex as its starter tutorial with local models shows it: a directory reader, an index, a retriever.

The reader makes a document of each page. The splitter makes chunks of up to 1,024 tokens of another tokenizer, with
what the reader knows of the file before the text.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from llama_index.core import Document, SimpleDirectoryReader, VectorStoreIndex
from llama_index.core.schema import MetadataMode
from llama_index.embeddings.huggingface import HuggingFaceEmbedding

from benchmarks.peers.driver import Chunk, run


class LlamaIndexIndex:
    """A vector index in its default store, which is in memory."""

    def __init__(self, weights: str) -> None:
        self._encoder = HuggingFaceEmbedding(model_name=weights)
        self._documents: list[Document] = []

    def add_files(self, files: Sequence[Path]) -> None:
        """Read by the directory reader."""
        self._add(SimpleDirectoryReader(input_files=list(files)).load_data())

    def add_texts(self, texts: Mapping[str, str]) -> None:
        """Each text as a document, without anything known about it."""
        self._add([Document(text=text, id_=name) for name, text in texts.items()])

    def search(self, question: str, limit: int) -> list[str]:
        """Documents of the nearest nodes."""
        retriever = self._index.as_retriever(similarity_top_k=limit)
        return [found.node.ref_doc_id for found in retriever.retrieve(question)]

    def read(self) -> tuple[dict[str, str], list[Chunk]]:
        """The pages, and the nodes with their metadata as the encoder is given it."""
        chunks = []
        for node in self._index.docstore.docs.values():
            text, given = (node.get_content(mode) for mode in (MetadataMode.NONE, MetadataMode.EMBED))
            chunks.append(Chunk(node.ref_doc_id, text, given.removesuffix(text)))
        return {document.id_: document.text for document in self._documents}, chunks

    def tokens(self) -> int:
        """What the model folder says."""
        return int(self._encoder.max_length)

    def _add(self, documents: list[Document]) -> None:
        self._documents = documents
        self._index = VectorStoreIndex.from_documents(documents, embed_model=self._encoder)


if __name__ == "__main__":
    run(LlamaIndexIndex)
