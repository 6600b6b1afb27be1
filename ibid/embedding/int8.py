"""Sentence-transformers encoders with 8-bit weights, through ONNX Runtime: `NAME@int8`.

The 8-bit form is made once by a child process (see `quantising`), kept in a folder, and read here without
torch. Each text is a call of its own on one thread, as many at a time as there are threads: the library quantises what
flows between layers by the range of the whole batch, so in one batch the vector of a text would depend on its
neighbours, and on the padding. Equal texts are to have equal vectors; and nothing is spent on padding.
"""

import fcntl
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, InvalidProtobuf
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NotSupported
from tokenizers import Tokenizer

from ibid import fingerprints
from ibid.disk import sync_folder
from ibid.embedding import folders
from ibid.embedding.port import EmbedderUnavailable, Matrix
from ibid.settings import BUNDLED_EMBEDDER, Settings

SUFFIX: Final = "@int8"
GRAPH: Final = "model.onnx"
TOKENIZER: Final = "tokenizer.json"
DESCRIPTION: Final = "encoder.json"
RECIPE: Final = (
    "int8 3: equalised, dynamic, signed, 7 bits, weights by channel, embeddings by tensor, each text alone"
)
"""What is part of the fingerprint: whoever changes how the 8-bit form is made or run changes this."""
_MAKER: Final = "ibid.embedding.quantising"
_UNLOADABLE: Final = (Fail, InvalidGraph, InvalidProtobuf, NotSupported)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Description:
    """What is to be known of the model beside its graph and its tokenizer."""

    fp32: str
    """Fingerprint of the model it was made of."""
    dimensions: int
    max_seq_length: int
    query_prompt: str
    document_prompt: str
    longest_prompt: str
    cosine: float
    """Mean likeness to the vectors of that model, as measured on a sample when it was made; 0 before that."""


@dataclass(frozen=True, slots=True)
class Made:
    """The 8-bit form of a model, read and found undamaged."""

    description: Description
    graph: bytes
    tokenizer: str


class Int8Encoder:
    """A model in its 8-bit form, in memory; for threads at once, since it has no state that a call changes."""

    def __init__(self, made: Made, *, threads: int, question_threads: int) -> None:
        self.description = made.description
        self.threads = threads
        self._counting = Tokenizer.from_str(made.tokenizer)
        self._counting.no_truncation()
        self._counting.no_padding()
        self._cutting = Tokenizer.from_str(made.tokenizer)
        self._cutting.no_padding()
        self._cutting.enable_truncation(made.description.max_seq_length)
        self._graph = _session(made.graph, 1)
        self._asking = self._graph if question_threads == 1 else _session(made.graph, question_threads)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="int8")
        special = self._counting.num_special_tokens_to_add(is_pair=False)
        (prompt,) = self.count_tokens([made.description.longest_prompt])
        self.max_tokens = made.description.max_seq_length - special - prompt

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, special tokens excluded, never cut."""
        encodings = self._counting.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(encoding) for encoding in encodings]

    def encode(self, texts: Sequence[str]) -> Matrix:
        """Unit vectors, shape (len(texts), dimensions); the longest first, so that all threads end together."""
        vectors = np.empty((len(texts), self.description.dimensions), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]), reverse=True)
        each: Callable[..., Iterable[Matrix]] = map if self.threads == 1 else self._pool.map
        made = each(
            lambda row: self._vector(self._graph, self.description.document_prompt + texts[row]), order
        )
        for row, vector in zip(order, made, strict=True):
            vectors[row] = vector
        return vectors

    def encode_query(self, text: str) -> Matrix:
        """Unit vector of a question, shape (dimensions,); it waits for no text that is being encoded."""
        return self._vector(self._asking, self.description.query_prompt + text)

    def _vector(self, graph: onnxruntime.InferenceSession, text: str) -> Matrix:
        tokens = np.array([self._cutting.encode(text).ids], dtype=np.int64)
        (vectors,) = graph.run(None, {"input_ids": tokens})
        vector: Matrix = vectors[0] / np.linalg.norm(vectors[0])
        return vector


class Int8Embedder:
    """The encoder `NAME@int8`: the model of that name in its 8-bit form, which is made if it is not there."""

    def __init__(self, name: str, cache: Path, *, threads: int = 0, question_threads: int = 1) -> None:
        self._name = name
        made = prepare(name, cache)
        self._encoder = Int8Encoder(
            made, threads=threads or folders.cores(), question_threads=question_threads
        )

    @classmethod
    def from_settings(cls, name: str, settings: Settings) -> Self:
        """The encoder of this name with the threads the settings give it, or its share of the cores."""
        threads = settings.embed_threads or max(1, folders.cores() // settings.worker_processes)
        return cls(name, settings.encoder_folder, threads=threads, question_threads=settings.question_threads)

    @property
    def name(self) -> str:
        """What the setting calls it."""
        return self._name

    @property
    def fingerprint(self) -> str:
        """Hash of the fingerprint of the model in full precision and of how its 8-bit form is made."""
        return fingerprints.of(self._encoder.description.fp32, RECIPE)

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return self._encoder.description.dimensions

    @property
    def max_tokens(self) -> int:
        """Tokens of text it reads, without special tokens and those of its longest prompt."""
        return self._encoder.max_tokens

    @property
    def cosine(self) -> float:
        """Mean likeness to the vectors of the model in full precision, measured when it was made."""
        return self._encoder.description.cosine

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, special tokens excluded, never cut."""
        return self._encoder.count_tokens(texts)

    def encode(self, texts: Sequence[str]) -> Matrix:
        """Unit vectors, shape (len(texts), dimensions)."""
        return self._encoder.encode(texts)

    def encode_query(self, text: str) -> Matrix:
        """Unit vector of a question, shape (dimensions,), with the model's query prompt where it has one."""
        return self._encoder.encode_query(text)


def prepare(name: str, cache: Path) -> Made:
    """The 8-bit form of the model `NAME@int8`, made if it is not in the cache or is damaged there.

    Whoever else needs it meanwhile waits. Raises `EmbedderUnknown` or `EmbedderUnavailable`.
    """
    original = name.removesuffix(SUFFIX)
    folder = folders.find(original)
    weights = folders.digests(folder, folders.WEIGHTS)
    if original == BUNDLED_EMBEDDER:
        folders.check_bundled(weights)
    place = cache / _key(folder, weights)
    if (made := read(place)) is not None:
        return made
    try:
        made = _made(original, place)
    except OSError as error:
        msg = (
            f"The 8-bit form of {original} could not be kept in {cache} ({error.strerror}). Let Ibid write there, set "
            f"IBID_ENCODER_DIR to another folder, or IBID_EMBEDDER to {original} for the model in full precision."
        )
        raise EmbedderUnavailable(msg) from error
    if made is None:
        msg = f"The 8-bit form of {original} was damaged as soon as it was made. Check the disk that holds {cache}."
        raise EmbedderUnavailable(msg)
    return made


def read(place: Path) -> Made | None:
    """What is in the folder; nothing if a file is missing, or is not as it was written."""
    try:
        written = json.loads((place / DESCRIPTION).read_bytes())
        graph, tokenizer = (place / GRAPH).read_bytes(), (place / TOKENIZER).read_bytes()
        if written.pop("seal") != _seal(written, graph, tokenizer):
            return None
        return Made(Description(**written), graph, tokenizer.decode())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write(place: Path, made: Made) -> None:
    """Write it into the folder, to the disk."""
    described: dict[str, Any] = {key: getattr(made.description, key) for key in Description.__slots__}
    tokenizer = made.tokenizer.encode()
    sealed = described | {"seal": _seal(described, made.graph, tokenizer)}
    contents = {GRAPH: made.graph, TOKENIZER: tokenizer, DESCRIPTION: json.dumps(sealed).encode()}
    for name, content in contents.items():
        with (place / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def _made(original: str, place: Path) -> Made | None:
    """What is in its place once nobody makes it any more, made here if nobody did."""
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(place.with_suffix(".lock")):
        if (made := read(place)) is not None:
            return made
        _make(original, place)
        return read(place)


def _make(original: str, place: Path) -> None:
    """Have a child make it beside its place, and move it there. The lock is held."""
    for left in place.parent.glob(f"{place.name}.*.making"):
        shutil.rmtree(left, ignore_errors=True)
    making = Path(tempfile.mkdtemp(prefix=f"{place.name}.", suffix=".making", dir=place.parent))
    try:
        logger.info("making the 8-bit form of the encoder %s; it takes about a minute", original)
        _in_child(original, making)
        sync_folder(making)
        shutil.rmtree(place, ignore_errors=True)
        making.rename(place)
        sync_folder(place.parent)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _in_child(original: str, making: Path) -> None:
    """A child has torch and the exporter in memory, and this process has not."""
    done = subprocess.run(  # noqa: S603 - our own interpreter and module; the name is one argument
        [sys.executable, "-m", _MAKER, original, str(making)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"the child ended with {done.returncode}"])[-1]
        msg = (
            f"The 8-bit form of the embedder {original} could not be made: {reason} "
            f"Set IBID_EMBEDDER to {original} for the model in full precision."
        )
        raise EmbedderUnavailable(msg)


def _key(folder: Path, weights: dict[str, str]) -> str:
    """Another model, another configuration or another way of making it has another folder."""
    configuration = folders.digests(folder, (*folders.CONFIGURATION, "config_sentence_transformers.json"))
    return fingerprints.of_json(
        {"weights": {**weights}, "configuration": {**configuration}, "recipe": RECIPE}
    )


def _seal(described: dict[str, Any], graph: bytes, tokenizer: bytes) -> str:
    digests = [hashlib.sha256(content).hexdigest() for content in (graph, tokenizer)]
    return fingerprints.of(json.dumps(described, sort_keys=True), *digests)


def _session(graph: bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait take the cores from everybody else, see `sentence_transformers`.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except _UNLOADABLE as error:
        msg = f"ONNX Runtime cannot load the encoder's 8-bit form ({error}). Install the version that is pinned."
        raise EmbedderUnavailable(msg) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """The lock of one encoder, among processes and threads; the system frees it however we end."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
