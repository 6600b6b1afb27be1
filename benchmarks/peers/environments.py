"""The peers, and an environment for each: its released packages, with the torch that Ibid is pinned to.

`torchvision` and `timm` are refused by a version that nothing has: they break `transformers` beside a CPU build of torch.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REFUSED = ("torchvision<0", "timm<0")
THREADS = 2


class NotInstalled(RuntimeError):
    """The packages of a peer cannot be had here."""


class NotMeasured(RuntimeError):
    """A peer did not come to its end."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A framework: the module that drives it, what is installed (the first is the framework itself), and how it is used."""

    name: str
    driver: str
    packages: tuple[str, ...]
    how: str


PEERS = (
    Peer(
        "LlamaIndex",
        "llamaindex",
        (
            "llama-index-core==0.14.25",
            "llama-index-embeddings-huggingface==0.8.0",
            "llama-index-readers-file==0.7.0",
        ),
        "its directory reader (pypdf), its sentence splitter (1,024 tokens of its own tokenizer), dense retrieval",
    ),
    Peer(
        "Haystack",
        "haystack",
        ("haystack-ai==3.4.1", "sentence-transformers-haystack==2.0.0", "pypdf==7.1.1"),
        "its PDF converter (pypdf), cleaner and splitter (200 words), dense and BM25 joined by reciprocal ranks",
    ),
    Peer(
        "txtai",
        "txtai",
        ("txtai==9.14.0", "pypdfium2==5.15.2"),
        "pages read by pypdfium2, each a row, dense and sparse together",
    ),
    Peer(
        "Chroma",
        "chroma",
        ("chromadb==1.5.9", "sentence-transformers==6.2.0", "pypdfium2==5.15.2"),
        "pages read by pypdfium2, each an entry, dense retrieval",
    ),
)


def made(peer: Peer, root: Path) -> Path:
    """The Python of the peer's environment, which is made anew when what it should hold has changed.

    Raises `NotInstalled`.
    """
    folder = root / "build" / "peers" / peer.driver
    python, stamp = folder / "bin" / "python", folder / "installed"
    constraints = "\n".join((*_torch(root), *REFUSED))
    wanted = "\n".join((*peer.packages, constraints))
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    _run([sys.executable, "-m", "venv", "--clear", str(folder)])
    (folder / "constraints.txt").write_text(constraints, encoding="utf-8")
    pip = [str(python), "-m", "pip", "install", "-qq", "--no-compile", "--disable-pip-version-check"]
    _run([*pip, "--constraint", str(folder / "constraints.txt"), *peer.packages])
    stamp.write_text(wanted, encoding="utf-8")
    return python


def version(peer: Peer) -> str:
    """The framework and its release."""
    return peer.packages[0].replace("==", " ")


def drive(python: Path, peer: Peer, root: Path, job: Path, result: Path) -> None:
    """Run the driver over a job; raises `NotMeasured` with the end of what it said."""
    command = [str(python), "-m", f"benchmarks.peers.{peer.driver}", str(job), str(result)]
    done = subprocess.run(
        command, env=_environment(root), cwd=job.parent, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NotMeasured(_last(done.stderr) or f"It ended with status {done.returncode}.")


def _environment(root: Path) -> dict[str, str]:
    """Nothing is downloaded or reported, and all have the same number of threads."""
    threads = {f"{name}_NUM_THREADS": str(THREADS) for name in ("OMP", "MKL", "OPENBLAS", "RAYON")}
    quiet = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "ANONYMIZED_TELEMETRY": "False",
        "HAYSTACK_TELEMETRY_ENABLED": "False",
    }
    return {**os.environ, **threads, **quiet, "PYTHONPATH": str(root)}


def _torch(root: Path) -> list[str]:
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("torch==")]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotInstalled(_last(done.stderr) or f"It ended with status {done.returncode}.")


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or [""])[-1]
