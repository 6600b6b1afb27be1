"""What a parse child is kept from, each tried in a process of its own that is bound for good."""

import subprocess
import sys

import pytest

BOUND = """
import ctypes, os, resource, socket, subprocess, sys
from ingest.parsing import sandbox
from ingest.parsing.sandbox import Limits
"""


def told(code: str) -> str:
    ran = subprocess.run([sys.executable, "-c", BOUND + code], check=True, capture_output=True, text=True)
    return ran.stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux's")
class TestForbidSockets:
    @pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"])
    def test_none_of_any_family(self, family: str):
        assert told(f"""
assert sandbox.forbid_sockets()
try:
    socket.socket(socket.{family}, socket.SOCK_RAW if "{family}" == "AF_NETLINK" else socket.SOCK_STREAM)
except PermissionError:
    print("refused")
""").endswith("refused")

    def test_nor_for_programs_that_it_starts(self):
        assert "PermissionError" in told("""
assert sandbox.forbid_sockets()
ran = subprocess.run([sys.executable, "-c", "import socket; socket.socket()"], capture_output=True, text=True)
print(ran.stderr)
""")

    def test_what_a_parser_needs_goes_on(self):
        assert (
            told("""
assert sandbox.forbid_sockets()
ours, theirs = socket.socketpair()
ours.sendall(b"still here")
print(theirs.recv(20).decode(), subprocess.run(["true"]).returncode)
""")
            == "still here 0"
        )


class TestCutNetwork:
    def test_nothing_is_reached(self):
        assert (
            told("""
listening = socket.create_server(("127.0.0.1", 0))
if not sandbox.cut_network():
    print("cut")
else:
    try:
        socket.create_connection(listening.getsockname(), 1)
    except OSError:
        print("cut")
""")
            == "cut"
        )


class TestConfine:
    @pytest.mark.parametrize(
        ("limit", "expected"),
        [("CORE", 0), ("FSIZE", 1000), ("NOFILE", 256), ("NPROC", 0), ("CPU", 4)],
    )
    def test_limits(self, limit: str, expected: int):
        code = f"""
sandbox.confine(Limits(3, 2**28, 1000), programs=False)
print(resource.getrlimit(resource.RLIMIT_{limit})[0])
"""
        assert told(code) == str(expected)

    def test_memory_beyond_what_is_loaded(self):
        assert (
            told("""
sandbox.confine(Limits(3, 2**26, 1000), programs=False)
held = bytearray(2**24)
try:
    bytearray(2**27)
except MemoryError:
    print("refused")
""")
            == "refused"
        )

    @pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
    def test_other_processes_cannot_look_inside(self):
        assert (
            told("""
sandbox.confine(Limits(3, 2**28, 1000), programs=False)
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
""")
            == "0"
        )
