"""The parse server: loads the parsers once and forks a confined child for each document, or each page to recognise.

Small texts may share a child. The server talks to one client over an inherited socket: a line of JSON with the
request, a line of JSON with the outcome, and after a good outcome so many bytes of each document
(`ingest.parsing.codec`). It ends when the client goes.
"""

import gc
import json
import logging
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from ibid import logs
from ibid.errors import IbidError
from ingest.parsing import sandbox
from ingest.parsing.errors import OutOfMemory, ParserDied, TimedOut, TooLargeWhenUnpacked, Unreadable
from ingest.parsing.sandbox import Limits

log = logging.getLogger(__name__)

_LOOK_AROUND: Final = 1.0
"""Seconds between looks at whether the parent still lives."""
_OK, _FAILED = b"+", b"-"
_KIB: Final = 1024 if sys.platform == "linux" else 1
"""Unit of `ru_maxrss`."""


@dataclass(frozen=True, slots=True)
class Request:
    """A document to read, or with a `page` (from 1) the picture of that page.

    `layout` is how PDFs are read. `recognised` is what was made of pictures before, as `ingest.parsing.recognised`
    writes it. `beside` are the paths and names of more documents of this type, which the same child reads after it,
    under the limits of one.
    """

    path: str
    filename: str
    media_type: str
    limits: Limits
    page: int = 0
    layout: str = "fast"
    recognised: tuple[str, ...] = ()
    beside: tuple[tuple[str, str], ...] = ()

    def to_line(self) -> bytes:
        """As it travels."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "Request":
        """From `to_line`."""
        fields = json.loads(line)
        given = {
            "limits": Limits(**fields["limits"]),
            "recognised": tuple(fields["recognised"]),
            "beside": tuple((path, filename) for path, filename in fields["beside"]),
        }
        return cls(**(fields | given))

    def each(self) -> list["Request"]:
        """A request for each of its documents alone."""
        others = (replace(self, path=path, filename=name, beside=()) for path, name in self.beside)
        return [replace(self, beside=()), *others]


@dataclass(frozen=True, slots=True)
class _Ended:
    """How a child ended: its wait status, and the most memory that it or a program of its held at once."""

    status: int
    peak_bytes: int
    in_time: bool


class _ClientGone(Exception):
    """The parent died or closed the socket."""


def main() -> None:
    """Serve the socket whose number is the first argument; then come the format of the log and the layout of PDFs."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(channel.fileno(), False)
    # What libraries print must not go where a supervisor reads.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # Ours only: what libraries have to say of a document may quote it.
    logs.configure("INFO", "json" if sys.argv[2:3] == ["json"] else "text", only="ingest")
    if sys.argv[3:] != ["hi_res"]:  # which is told by a model in torch
        sandbox.keep_out()
    cut = sandbox.cut_network()
    home = os.environ["TMPDIR"]
    try:
        _serve(channel, Path(home), os.getppid(), network_cut=cut)
    except (_ClientGone, ConnectionError):
        log.debug("The client has gone.")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _serve(channel: socket.socket, home: Path, parent: int, *, network_cut: bool) -> None:
    requests = channel.makefile("rb")
    channel.sendall(json.dumps({"network_cut": network_cut}).encode() + b"\n")
    while True:
        _await(channel, parent)
        line = requests.readline()
        if not line:
            return
        outcome, bodies = _answered(Request.from_line(line), channel, home, parent)
        sizes = [-1 if body is None else len(body) for body in bodies]
        heading = json.dumps({**outcome, "bytes": sizes}).encode() + b"\n"
        channel.sendall(heading + b"".join(filter(None, bodies)))


def _await(channel: socket.socket, parent: int) -> None:
    """Until the client has something to say."""
    while not select.select([channel], [], [], _LOOK_AROUND)[0]:
        # A sibling of the client may hold its end of the socket open, so that its death alone does not close it.
        if os.getppid() != parent:
            raise _ClientGone


def _answered(
    request: Request, channel: socket.socket, home: Path, parent: int
) -> tuple[dict[str, str | int], list[bytes | None]]:
    """The outcome of a request, and the bytes of each document: None for one of several that is to be read alone."""
    peak = 0
    folder = Path(tempfile.mkdtemp(dir=home))
    try:
        _warm(request)
        ended = _in_child(request, folder, channel, parent)
        peak = ended.peak_bytes
        if request.beside:
            return {"peak_bytes": peak}, _shared(folder, ended, request.limits, 1 + len(request.beside))
        return {"peak_bytes": peak}, [_result(_path(folder, 0), ended, request.limits)]
    except IbidError as error:
        return {"code": error.code, "message": error.message, "peak_bytes": peak}, []
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _warm(request: Request) -> None:
    """Load the parser before the fork, so that the next child has it too, and the models that it needs."""
    from ingest.parsing import direct  # noqa: F401, PLC0415 - with it all that a child imports
    from ingest.parsing.registry import parser_for  # noqa: PLC0415 - parsers may come with packages that load much

    before = len(sys.modules)
    parser_for(request.media_type, request.layout)
    if request.page:
        from ingest.parsing.ocr import recogniser  # noqa: PLC0415 - only a process that recognises loads its models

        recogniser()
    else:
        from ingest.parsing import languages  # noqa: PLC0415 - it loads a model that only this process needs

        languages.load()
    if len(sys.modules) > before:
        # What is here now lives as long as the server: the collector would only touch, and so copy, its pages.
        gc.collect()
        gc.freeze()


def _in_child(request: Request, folder: Path, channel: socket.socket, parent: int) -> _Ended:
    """Read the document in a child, which leaves the result in the folder."""
    alive, child_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        # Not `close`, which waits for the file made of the socket: the child must hold no way to the client.
        os.close(channel.detach())
        os.close(alive)
        _child(request, folder)
    try:
        os.close(child_end)
        in_time = _watch(pid, alive, request.limits, channel, parent)
    finally:
        os.close(alive)
        _, status, usage = os.wait4(pid, 0)
    return _Ended(status, usage.ru_maxrss * _KIB, in_time=in_time)


def _child(request: Request, folder: Path) -> None:
    """Read the document and leave the result in the folder; never returns."""
    status = 1
    try:
        os.setpgid(0, 0)
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
        status = _read_all(folder, request)
    except Exception:  # a door: the last chance to say why
        log.exception("A parse child failed")
    finally:
        # Not sys.exit: what the server has open and buffered is the server's.
        os._exit(status)


def _read_all(folder: Path, request: Request) -> int:
    from ingest.parsing.registry import offer_for  # noqa: PLC0415 - loaded by _warm in the server

    offer = offer_for(request.media_type, request.layout)
    sandbox.confine(request.limits, programs=request.media_type in offer.programs)
    for number, alone in enumerate(request.each()):
        _path(folder, number).write_bytes(_read(alone))
    return 0


def _path(folder: Path, number: int) -> Path:
    """Where the child leaves what it read of one of the documents."""
    return folder / f"result-{number}"


def _read(request: Request) -> bytes:
    """The document, or what is wrong with it."""
    try:
        data = _OK + (_page(request) if request.page else _document(request))
    except IbidError as error:
        data = _failure(error)
    except MemoryError:
        data = _failure(_out_of_memory(request.limits))
    except Exception:  # a door: whatever a vendor raises, the document is what it raised it about
        log.exception("A parser broke on a file of type %s", request.media_type)
        data = _failure(
            Unreadable("This file cannot be read; it may be damaged. Save it again and upload the new file.")
        )
    if len(data) > request.limits.output_bytes:
        data = _failure(
            TooLargeWhenUnpacked("This document holds more text than one document may. Split it.")
        )
    return data


def _document(request: Request) -> bytes:
    from ingest.parsing import recognised  # noqa: PLC0415 - loaded by _warm in the server
    from ingest.parsing.codec import dump  # noqa: PLC0415 - likewise
    from ingest.parsing.direct import DirectReader  # noqa: PLC0415 - likewise
    from ingest.parsing.languages import with_languages  # noqa: PLC0415 - likewise

    pages = tuple(map(recognised.load, request.recognised))
    reader = DirectReader(request.layout)
    return dump(with_languages(reader.parse(Path(request.path), request.filename, request.media_type, pages)))


def _page(request: Request) -> bytes:
    from ingest.parsing import recognised  # noqa: PLC0415 - loaded by _warm in the server
    from ingest.parsing.direct import DirectReader  # noqa: PLC0415 - likewise

    reader = DirectReader(request.layout)
    return recognised.dump(reader.recognise(Path(request.path), request.media_type, request.page))


def _failure(error: IbidError) -> bytes:
    return _FAILED + json.dumps({"code": error.code, "message": error.message}).encode()


def _watch(pid: int, alive: int, limits: Limits, channel: socket.socket, parent: int) -> bool:
    """Until the child has ended, True if by itself.

    It is killed, with what it started, when its time is over or the client goes.
    """
    try:
        in_time = _await_end(alive, limits, channel, parent)
    except BaseException:
        _kill(pid)
        raise
    if not in_time:
        _kill(pid)
    return in_time


def _await_end(alive: int, limits: Limits, channel: socket.socket, parent: int) -> bool:
    """Whether the child ended in its time."""
    deadline = time.monotonic() + limits.seconds
    while (left := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select([alive, channel.fileno()], [], [], min(_LOOK_AROUND, left))
        if alive in ready:
            return True
        # One request at a time: the client says nothing now unless it closes.
        if ready or os.getppid() != parent:
            raise _ClientGone
    return False


def _kill(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        # It has not yet made its own group.
        os.kill(pid, signal.SIGKILL)


def _result(path: Path, ended: _Ended, limits: Limits) -> bytes:
    """The document a child left; raises what it met."""
    if not ended.in_time:
        raise TimedOut(
            f"Reading this document took longer than {limits.seconds:g} seconds and was stopped. Split the document."
        )
    if os.WIFSIGNALED(ended.status):
        raise _killed(os.WTERMSIG(ended.status), limits)
    if os.WEXITSTATUS(ended.status) != 0 or not path.exists():
        raise ParserDied(
            "The parser ended without an answer on this document. Try it again, or save it in another format."
        )
    data = path.read_bytes()
    if data[:1] == _OK:
        return data[1:]
    raise _Told(json.loads(data[1:]))


def _shared(folder: Path, ended: _Ended, limits: Limits, count: int) -> list[bytes | None]:
    """The documents that a child left which read several; what it met with one is found out by reading that alone."""
    if not ended.in_time or ended.status != 0:
        return [None] * count
    paths = [_path(folder, number) for number in range(count)]
    if sum(path.stat().st_size for path in paths) > limits.output_bytes:
        return [None] * count
    read = [path.read_bytes() for path in paths]
    return [data[1:] if data[:1] == _OK else None for data in read]


class _Told(IbidError):
    """An error as the child told it; the client gives it its class back."""

    def __init__(self, told: dict[str, str]) -> None:
        super().__init__(str(told["message"]))
        self.code = str(told["code"])  # type: ignore[misc]


def _killed(number: int, limits: Limits) -> IbidError:
    if number == signal.SIGXCPU:
        return TimedOut(
            f"Reading this document took more than {limits.seconds:g} seconds of processor time. Split it."
        )
    if number == signal.SIGXFSZ:
        return TooLargeWhenUnpacked("This document unpacks to more than is accepted. Split it.")
    name = signal.Signals(number).name
    if number == signal.SIGKILL:
        return ParserDied(
            f"The parser was killed ({name}) on this document, most likely for want of memory. Split it."
        )
    return ParserDied(
        f"The parser crashed ({name}) on this document. Save it in another format and upload that."
    )


def _out_of_memory(limits: Limits) -> OutOfMemory:
    return OutOfMemory(
        f"Reading this document needs more than the {limits.memory_bytes // 2**20} MB that one document may take. Split it."
    )


if __name__ == "__main__":
    main()
