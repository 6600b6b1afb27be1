"""Sentence-transformers encoders: the bundled all-MiniLM-L6-v2, a folder, or a name on the hub.

This process never talks to a hub: it loads from folders, offline. A hub name that is not on this machine yet is
downloaded by a child process, and its folder is loaded afterwards.
"""

import importlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Self, cast

import numpy as np

from ibid.embedding import folders
from ibid.embedding.library import loaded
from ibid.embedding.port import EmbedderUnknown, Matrix
from ibid.settings import BUNDLED_EMBEDDER, Settings

# Measured on two cores with 200-token texts: 16 is fastest, 64 is a quarter slower.
BATCH = 16


class SentenceTransformersEmbedder:
    """An encoder on the CPU; vectors are normalised whatever its own modules do. `threads` 0: one for each core.

    One lock guards each batch and each question: the tokenizer's settings (padding, truncation) and the number of
    threads are state that concurrent calls would change under each other.
    """

    def __init__(self, name: str, *, threads: int = 0, question_threads: int = 1, batch: int = BATCH) -> None:
        self._lock = threading.Lock()
        self._name = name
        self._threads = threads or folders.cores()
        self._question_threads = question_threads
        self._batch = batch
        folder = folders.find(name)
        weights = folders.digests(folder, folders.WEIGHTS)
        if name == BUNDLED_EMBEDDER:
            folders.check_bundled(weights)
        library = loaded()
        self._torch = importlib.import_module("torch")
        self._model = _load(library, folder, name)
        self._model.forward = importlib.import_module("ibid.embedding.one_call").OneCall(self._model)
        self._tokenizer = _counting_tokenizer(self._model)
        self._dimensions = int(self._model.get_embedding_dimension())
        self._max_tokens = self._text_budget()
        self._fingerprint = self._identity(folder, weights)

    @classmethod
    def from_settings(cls, name: str, settings: Settings) -> Self:
        """The encoder of this name with the threads the settings give it, or its share of the cores.

        Each process of a worker has an encoder; more threads than cores would wait for one another.
        """
        threads = settings.embed_threads or max(1, folders.cores() // settings.worker_processes)
        return cls(name, threads=threads, question_threads=settings.question_threads)

    @property
    def name(self) -> str:
        """What the setting calls it."""
        return self._name

    @property
    def fingerprint(self) -> str:
        """Hash of weights, tokenizer, module configuration, prompts and length; library versions are left out."""
        return self._fingerprint

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return self._dimensions

    @property
    def max_tokens(self) -> int:
        """Tokens of text it reads, without special tokens and those of its longest prompt."""
        return self._max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, special tokens excluded, never cut; one call into the tokenizer."""
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(encoding) for encoding in encodings]

    def encode(self, texts: Sequence[str]) -> Matrix:
        """Unit vectors, shape (len(texts), dimensions); texts of like length share a batch, so little is padding."""
        vectors = np.empty((len(texts), self._dimensions), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for first in range(0, len(order), self._batch):
            rows = order[first : first + self._batch]
            with self._alone(self._threads):
                vectors[rows] = self._model.encode_document(
                    [texts[i] for i in rows], batch_size=self._batch, **_ENCODING
                )
        return vectors

    def encode_query(self, text: str) -> Matrix:
        """Unit vector of a question, shape (dimensions,), with the model's query prompt where it has one."""
        with self._alone(self._question_threads):
            return cast(Matrix, self._model.encode_query([text], **_ENCODING)[0].astype(np.float32))

    @contextmanager
    def _alone(self, threads: int) -> Iterator[None]:
        """The encoder for this thread alone, in the block; the number of threads is the library's, so it is set anew."""
        with self._lock:
            self._torch.set_num_threads(threads)
            yield

    def _prompts(self) -> dict[str, str]:
        return {key: text for key, text in sorted((self._model.prompts or {}).items()) if text}

    def _text_budget(self) -> int:
        special = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        prompt = max(self.count_tokens(list(self._prompts().values())), default=0)
        budget: int = self._model.get_max_seq_length() - special - prompt
        return budget

    def _identity(self, folder: Path, weights: dict[str, str]) -> str:
        return folders.identity(folder, weights, int(self._model.get_max_seq_length()), self._prompts())


_ENCODING: dict[str, Any] = {
    "normalize_embeddings": True,
    "convert_to_numpy": True,
    "show_progress_bar": False,
}


def _load(library: ModuleType, folder: Path, name: str) -> Any:  # noqa: ANN401 - the vendor's type stays in here
    try:
        return library.SentenceTransformer(str(folder), device="cpu", local_files_only=True).eval()
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        msg = f"The embedder {name} could not be loaded ({error}). Check that its folder is a sentence-transformers model."
        raise EmbedderUnknown(msg) from error


def _counting_tokenizer(model: Any) -> Any:  # noqa: ANN401 - the vendor's type stays in here
    """A copy of the model's tokenizer that neither cuts nor pads, and that no other call changes."""
    original = model.tokenizer.backend_tokenizer
    tokenizer = type(original).from_str(original.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
