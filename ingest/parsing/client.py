"""The parse server as its client sees it: give it a file, get a document, or what can be recognised on a page of it."""

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import ingest
from ibid import deaths
from ibid.errors import IbidError
from ibid.media import UnsupportedType
from ibid.settings import Settings
from ibid.types import Parsed
from ingest import scratch
from ingest.parsing import codec, recognised
from ingest.parsing.errors import (
    Encrypted,
    NoText,
    OutOfMemory,
    ParserDied,
    ParsersKilled,
    ParsersUnavailable,
    SandboxMissing,
    TimedOut,
    TooLargeWhenUnpacked,
    Unreadable,
)
from ingest.parsing.recognised import RecognisedPage
from ingest.parsing.registry import FAST
from ingest.parsing.sandbox import Limits
from ingest.parsing.server import Request

log = logging.getLogger(__name__)

MODELS: Final = ("HF_HOME", "TESSDATA_PREFIX")
_LOADING: Final = 120.0
"""Seconds that the server may need beyond those of a document, to load parsers on a busy machine."""
_ERRORS: Final[dict[str, type[IbidError]]] = {
    kind.code: kind
    for kind in (
        Encrypted,
        NoText,
        OutOfMemory,
        ParserDied,
        TimedOut,
        TooLargeWhenUnpacked,
        Unreadable,
        UnsupportedType,
    )
}


class ParseServer:
    """Reads documents in confined processes, one at a time; safe to share between threads.

    The server starts with the first document and again after it died. Each process that uses this needs its own;
    after a fork the child starts one for itself.
    """

    def __init__(self, settings: Settings) -> None:
        self._limits = Limits(settings.parse_seconds, settings.parse_memory_bytes)
        self._page_seconds = settings.ocr_page_seconds
        self._must_be_cut = settings.require_sandbox
        self._log_format = settings.log_format
        self._layout = settings.pdf_layout
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self.network_cut: bool | None = None
        """Whether parsers cannot reach the network; None before the first start."""
        self.peak_bytes = 0
        """The most memory that reading the last document took, what it shares with the server included."""

    def parse(
        self, path: Path, filename: str, media_type: str, pages: Sequence[RecognisedPage] = ()
    ) -> Parsed:
        """The document; raises leaves of `Invalid` for the document, `ParsersUnavailable` if no server starts,
        `ParsersKilled` if it was killed meanwhile, `SandboxMissing` if it must not start.

        `pages` is what was recognised on those that wait for it.
        """
        known = tuple(recognised.dump(page).decode() for page in pages)
        request = Request(str(path.absolute()), filename, media_type, self._limits, 0, self._layout, known)
        return codec.load(self._asked_of_one(request))

    def parse_together(self, files: Sequence[tuple[Path, str]], media_type: str) -> list[Parsed | None]:
        """Documents of one type, given as paths and names, by one process under the limits of one document.

        None: that one is to be read alone, which tells what is wrong with it. Raises what `parse` raises if nothing
        could be read.
        """
        (first, name), *others = ((str(path.absolute()), filename) for path, filename in files)
        request = Request(first, name, media_type, self._limits, 0, self._layout, beside=tuple(others))
        return [codec.load(body) if body is not None else None for body in self._asked(request)]

    def recognise(self, path: Path, media_type: str, page: int) -> RecognisedPage:
        """The words in the picture of a page (from 1); raises what `parse` raises. One page has its own time limit."""
        limits = replace(self._limits, seconds=self._page_seconds)
        request = Request(str(path.absolute()), "", media_type, limits, page, self._layout)
        return recognised.load(self._asked_of_one(request))

    def _asked_of_one(self, request: Request) -> bytes:
        (body,) = self._asked(request)
        return body or b""

    def _asked(self, request: Request) -> list[bytes | None]:
        with self._lock:
            return self._ask(self._server(), request)

    def close(self) -> None:
        """End the server; the next `parse` starts another."""
        with self._lock:
            self._stop()

    @property
    def pid(self) -> int | None:
        """The server's process, None while there is none."""
        return self._running.process.pid if self._running else None

    def _server(self) -> "_Running":
        running = self._running
        if running is not None and running.owner == os.getpid() and running.process.poll() is None:
            return running
        self._stop()
        self._running = running = _Running(self._log_format, self._layout)
        self.network_cut = running.network_cut
        if not self.network_cut and self._must_be_cut:
            self._stop()
            raise SandboxMissing(
                "Nothing is parsed: this system does not allow a process to cut itself off the network, and "
                "IBID_REQUIRE_SANDBOX asks for that. Allow user namespaces or seccomp, or unset it."
            )
        if not self.network_cut:
            log.warning(
                "Parsers can reach the network: this system does not allow a process to cut itself off."
            )
        return running

    def _ask(self, running: "_Running", request: Request) -> list[bytes | None]:
        try:
            outcome, bodies = running.exchange(request)
        except TimeoutError as error:
            self._stop()
            raise TimedOut(
                "Reading this document did not end and was stopped. Split the document."
            ) from error
        except (OSError, ValueError, KeyError) as error:
            self._stop()
            if deaths.from_outside(running.process.returncode, running.memory_kills):
                raise ParsersKilled("The parse server was killed; another one is started.") from error
            raise ParserDied("The parse server died on this document. Try it again.") from error
        self.peak_bytes = int(outcome.get("peak_bytes", 0))
        if "code" in outcome:
            raise _ERRORS.get(outcome["code"], ParserDied)(outcome["message"])
        return bodies

    def _stop(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.stop()


class _Running:
    """A server process and the socket to it."""

    def __init__(self, log_format: str, layout: str) -> None:
        self.owner = os.getpid()
        self.memory_kills = deaths.memory_kills()
        # The server removes it when it ends; this process does if the server could not.
        self._folder = scratch.make()
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603 - our own module, no shell
                [sys.executable, "-m", "ingest.parsing.server", str(theirs.fileno()), log_format, layout],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=_environment(str(self._folder.path), layout),
                cwd="/",
                start_new_session=True,
            )
        self._channel = ours
        self._answers = ours.makefile("rb")
        try:
            self.network_cut = bool(self._greeting())
        except (OSError, ValueError, KeyError) as error:
            self.stop()
            raise ParsersUnavailable(
                "The parse server did not start; the log has its reason. Try again."
            ) from error

    def exchange(self, request: Request) -> tuple[dict[str, str], list[bytes | None]]:
        """Send a request and await its outcome; raises `OSError` or `ValueError` when the server is gone."""
        self._channel.settimeout(request.limits.seconds + _LOADING)
        self._channel.sendall(request.to_line())
        outcome = json.loads(self._answers.readline())
        sizes = [int(size) for size in outcome.pop("bytes")]
        if sum(sizes) > request.limits.output_bytes:
            raise ValueError("the answer is too long")
        bodies = [None if size < 0 else self._answers.read(size) for size in sizes]
        if any(body is not None and len(body) != size for body, size in zip(bodies, sizes, strict=True)):
            raise ValueError("the answer was cut short")
        if "code" not in outcome and len(bodies) != 1 + len(request.beside):
            raise ValueError("the answer is not of this request")
        return {key: str(value) for key, value in outcome.items()}, bodies

    def stop(self) -> None:
        """Close the socket, which ends the server, and wait for it."""
        self._answers.close()
        self._channel.close()
        if self.owner != os.getpid():
            # Copied by a fork: the server belongs to the process that started it.
            self.process.returncode = 0
            return
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._folder.remove()

    def _greeting(self) -> bool:
        self._channel.settimeout(_LOADING)
        return json.loads(self._answers.readline())["network_cut"] is True


def _environment(folder: str, layout: str) -> dict[str, str]:
    """Nothing of ours: no settings, keys or addresses. A layout may need to be told where its models are."""
    names = ("PATH", "LD_LIBRARY_PATH") + (MODELS if layout != FAST else ())
    kept = {name: os.environ[name] for name in names if name in os.environ}
    if layout != FAST:
        kept["HF_HUB_OFFLINE"] = "1"  # a parser has no network, and would only wait for it
    return {
        **kept,
        "HOME": folder,
        "TMPDIR": folder,
        "LANG": "C.UTF-8",
        "PYTHONUTF8": "1",
        "PYTHONPATH": str(Path(ingest.__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
