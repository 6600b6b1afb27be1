"""What a process that reads foreign files is kept from: memory, time, disk, the network, and torch."""

import ctypes
import errno
import math
import os
import resource
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_KILL: Final = 9
_OPEN_FILES: Final = 256

# Of <linux/seccomp.h>, <linux/filter.h> and <linux/audit.h>.
_FILTER: Final = 2
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000 | errno.EPERM
_X32: Final = 0x40000000
_INSTRUCTION: Final = struct.Struct("HBBI")
_CALLS: Final = {"x86_64": (0xC000003E, 41, 425), "aarch64": (0xC00000B7, 198, 425)}
"""By machine its name for the kernel, and the numbers of the calls that make sockets: socket, io_uring_setup."""

KEPT_OUT: Final = frozenset({"torch", "tensorflow", "mxnet", "cupy", "jax"})
"""spaCy's numerical library loads whichever of these it finds; none is needed to tell a verb."""


@dataclass(frozen=True, slots=True)
class Limits:
    """For one document: seconds of wall time (and of processor time), bytes of memory beyond what is loaded, bytes written."""

    seconds: float = 120.0
    memory_bytes: int = 2 * 1024**3
    output_bytes: int = 512 * 1024**2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


class _Missing(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if fullname.partition(".")[0] in KEPT_OUT:
            raise ModuleNotFoundError(f"{fullname} is kept out of the parse server", name=fullname)
        return None


def keep_out() -> None:
    """Make the imports of `KEPT_OUT` fail in this process as if they were not installed."""
    sys.meta_path.insert(0, _Missing())


def cut_network() -> bool:
    """Keep this process and its children off the network for good; False where the system allows neither way.

    They move to a network of their own without interfaces, or else cannot make sockets.
    """
    libc = _libc()
    if libc is None:
        return False
    alone = 0 in (libc.unshare(flags) for flags in (_CLONE_NEWNET, _CLONE_NEWUSER | _CLONE_NEWNET))
    return alone or forbid_sockets()


def forbid_sockets() -> bool:
    """Make the kernel refuse new sockets (seccomp) to this process and its children; False if it does not."""
    libc, calls = _libc(), _CALLS.get(os.uname().machine)
    if libc is None or calls is None:
        return False
    program = b"".join(_INSTRUCTION.pack(*line) for line in _filter(*calls))
    held = ctypes.create_string_buffer(program, len(program))
    pointer = _Program(len(program) // _INSTRUCTION.size, ctypes.addressof(held))
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return bool(libc.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.byref(pointer), 0, 0) == 0)


def _filter(architecture: int, *refused: int) -> list[tuple[int, int, int, int]]:
    """Instructions of the kernel's packet filter: code, lines to skip if true and if false, value."""
    architecture_at, number_at = 4, 0
    checks = [
        # Other numberings of the same calls: those of 32 bits, and x32.
        (_JUMP_IF_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _REFUSE),
        (_LOAD, 0, 0, number_at),
        (_JUMP_IF_AT_LEAST, len(refused) + 1, 0, _X32),
        *((_JUMP_IF_EQUAL, len(refused) - at, 0, number) for at, number in enumerate(refused)),
    ]
    return [(_LOAD, 0, 0, architecture_at), *checks, (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]


def confine(limits: Limits, *, programs: bool) -> None:
    """Bind this process, for good, to the limits; without `programs` it cannot start processes (unless it is root)."""
    libc = _libc()
    if libc is not None:
        libc.prctl(_PR_SET_PDEATHSIG, _KILL, 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    seconds = math.ceil(limits.seconds) + 1
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_CPU, seconds, seconds + 1)
    _limit(resource.RLIMIT_FSIZE, limits.output_bytes)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _limit(resource.RLIMIT_AS, _loaded_bytes() + limits.memory_bytes)
    if not programs:
        _limit(resource.RLIMIT_NPROC, 0)


def _limit(what: int, soft: int, hard: int | None = None) -> None:
    """Lower a limit; one that is lower already stays."""
    _, ceiling = resource.getrlimit(what)
    allowed = soft if ceiling == resource.RLIM_INFINITY else min(soft, ceiling)
    wanted = soft if hard is None else hard
    resource.setrlimit(what, (allowed, wanted if ceiling == resource.RLIM_INFINITY else min(wanted, ceiling)))


def _loaded_bytes() -> int:
    """Address space in use."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - no pathlib after a fork of a warm process
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 1024**3


def _libc() -> ctypes.CDLL | None:
    """The C library on Linux."""
    return ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
