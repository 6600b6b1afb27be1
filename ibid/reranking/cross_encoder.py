"""Cross-encoders of sentence-transformers, which read a question and a text together and say how well it answers.

Slower than an encoder by far, since nothing can be made beforehand, and not always better: popular ones lose a quarter
of their quality on texts unlike those they learnt from. So none is built in, and one that is configured is weighed.
"""

import importlib
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from ibid.embedding import folders
from ibid.embedding.library import loaded
from ibid.embedding.port import EmbedderUnavailable, EmbedderUnknown
from ibid.reranking.errors import RerankerUnavailable
from ibid.settings import Settings

if TYPE_CHECKING:  # its import takes seconds
    from sentence_transformers import CrossEncoder

BATCH = 16


class CrossEncoderReranker:
    """A cross-encoder on the CPU, loaded when it is first asked; `threads` 0: one for each core. Thread-safe."""

    def __init__(self, name: str, *, threads: int = 0, batch: int = BATCH) -> None:
        self.name = name
        self._threads = threads or folders.cores()
        self._batch = batch
        self._lock = threading.Lock()
        self._model: CrossEncoder | None = None

    @classmethod
    def from_settings(cls, name: str, settings: Settings) -> Self:
        """The one of this name, with the encoder's threads."""
        return cls(name, threads=settings.embed_threads)

    def scores(self, question: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers, the higher the better; comparable among all texts of a question.

        What is longer than the model reads is cut at its end. Raises `RerankerUnavailable`.
        """
        if not texts:
            return []
        with self._lock:
            if self._model is None:
                self._model = _load(self.name)
            importlib.import_module("torch").set_num_threads(self._threads)
            found = self._model.predict(
                [(question, text) for text in texts],
                batch_size=self._batch,
                show_progress_bar=False,
                convert_to_numpy=True,
            )
        return [float(score) for score in found]


def _load(name: str) -> "CrossEncoder":
    library = loaded()
    try:
        folder = str(folders.find(name))
    except (EmbedderUnknown, EmbedderUnavailable) as error:
        raise RerankerUnavailable(
            f"There is no reranker {name[:100]!r}. Give the folder of a cross-encoder, or a hub name."
        ) from error
    try:
        model: CrossEncoder = library.CrossEncoder(folder, device="cpu", local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise RerankerUnavailable(
            f"The reranker {name} could not be loaded ({error}). Check that its folder is a cross-encoder."
        ) from error
    # Of any other model the library makes one, with a head of random weights.
    kinds = (model.config.architectures if model.config else None) or ()
    if not any(kind.endswith("ForSequenceClassification") for kind in kinds):
        raise RerankerUnavailable(
            f"The model {name} is no cross-encoder: it was not made to judge pairs of texts."
        )
    if model.num_labels != 1:
        raise RerankerUnavailable(
            f"The reranker {name} gives {model.num_labels} scores for a text; one that gives a single one is needed."
        )
    return model
