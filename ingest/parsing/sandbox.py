"""What a process that reads foreign files is kept from: memory, time, disk, the network, and torch."""

import ctypes
import math
import os
import resource
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
_PR_SET_NO_NEW_PRIVS: Final = 38
_KILL: Final = 9
_OPEN_FILES: Final = 256

KEPT_OUT: Final = frozenset({"torch", "tensorflow", "mxnet", "cupy", "jax"})
"""spaCy's numerical library loads whichever of these it finds; none is needed to tell a verb."""


@dataclass(frozen=True, slots=True)
class Limits:
    """For one document: seconds of wall time (and of processor time), bytes of memory beyond what is loaded, bytes written."""

    seconds: float = 120.0
    memory_bytes: int = 2 * 1024**3
    output_bytes: int = 512 * 1024**2


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
    """Move this process to a network of its own without interfaces; False where the system does not allow it."""
    libc = _libc()
    if libc is None:
        return False
    return 0 in (libc.unshare(flags) for flags in (_CLONE_NEWNET, _CLONE_NEWUSER | _CLONE_NEWNET))


def confine(limits: Limits, *, programs: bool) -> None:
    """Bind this process, for good, to the limits; without `programs` it cannot start processes (unless it is root)."""
    libc = _libc()
    if libc is not None:
        libc.prctl(_PR_SET_PDEATHSIG, _KILL, 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
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
