"""Folders for copies of documents. Their process removes them; after it was killed, any other worker of the machine."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, cast

PREFIX: Final = "ibid-scratch-"
IN_MEMORY: Final = 1024 * 1024
"""So many bytes of a spooled file stay in memory."""
YOUNG: Final = 60.0
"""Seconds in which a folder may be there and not yet locked by its owner."""


@dataclass(frozen=True, slots=True)
class Scratch:
    """A folder that is locked for as long as its process lives."""

    path: Path
    lock: int

    def remove(self) -> None:
        """Remove it with all that is in it, as far as it is still there."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock)


def make() -> Scratch:
    """A new folder that only this user can read."""
    path = Path(tempfile.mkdtemp(prefix=PREFIX))
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return Scratch(path, lock)


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that is gone at the end of the block."""
    made = make()
    try:
        yield made.path
    finally:
        made.remove()


@contextmanager
def spooled() -> Iterator[BinaryIO]:
    """A file without a name, on the disk only if it grows: nobody has to remove it."""
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
        yield cast("BinaryIO", file)


def tidy(*, young: float = YOUNG) -> int:
    """Remove the folders of processes that are gone; gives how many."""
    removed = 0
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError, PermissionError):  # gone, a link, or somebody else's
            continue
        try:
            found = os.fstat(lock)
            if found.st_uid == os.geteuid() and time.time() - found.st_ctime >= young and _is_left(lock):
                shutil.rmtree(path)
                removed += 1
        finally:
            os.close(lock)
    return removed


def _is_left(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
