"""The pipe between a server and its worker: what it hands over, and that nobody outlives it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import pytest

from ibid.settings import Settings
from worker import lifeline, wiring
from worker.lifeline import Handed, NoServer

HOLDER = "from worker import lifeline; lifeline.hold(); print('held', flush=True); input()"


@dataclass(frozen=True)
class Pipe:
    """Both sides of a lifeline."""

    reading: BinaryIO
    writing: BinaryIO

    @property
    def fd(self) -> int:
        return self.reading.fileno()


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipe]:
    """This process is told of it as a worker is."""
    reading, writing = os.pipe()
    monkeypatch.setenv(lifeline.VARIABLE, str(reading))
    lifeline.handed.cache_clear()
    with os.fdopen(reading, "rb", 0) as receiver, os.fdopen(writing, "wb", 0) as sender:
        yield Pipe(receiver, sender)
    lifeline.handed.cache_clear()


class TestHanded:
    def test_is_what_the_server_wrote(self, pipe: Pipe) -> None:
        pipe.writing.write(lifeline.message("a socket's address", b"\x00\xff key"))
        assert lifeline.handed() == Handed("a socket's address", b"\x00\xff key")
        assert lifeline.handed() == Handed("a socket's address", b"\x00\xff key")

    def test_nothing_by_a_server_that_ended(self, pipe: Pipe) -> None:
        pipe.writing.write(b'{"address": ')
        pipe.writing.close()
        with pytest.raises(NoServer, match="before it handed over"):
            lifeline.handed()

    def test_nothing_without_a_server(self) -> None:
        lifeline.handed.cache_clear()
        with pytest.raises(NoServer, match="ibid serve"):
            wiring.wire(Settings())


class TestHold:
    @pytest.fixture
    def held(self, pipe: Pipe) -> Iterator[subprocess.Popen[bytes]]:
        """A process that holds the pipe and would wait for ever."""
        with subprocess.Popen(
            [sys.executable, "-c", HOLDER],
            pass_fds=(pipe.fd,),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            yield process
            process.kill()

    def test_ends_the_process_with_the_server(self, pipe: Pipe, held: subprocess.Popen[bytes]) -> None:
        pipe.writing.close()
        assert held.wait(30) == 75

    def test_lets_it_live_while_the_server_does(self, pipe: Pipe, held: subprocess.Popen[bytes]) -> None:
        pipe.writing.write(lifeline.message("a late message", b"key"))
        assert held.stdin is not None
        held.stdin.write(b"end of your own accord\n")
        held.stdin.close()
        assert held.wait(30) == 0
