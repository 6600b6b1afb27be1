"""Blobs as files below one folder, for standalone mode; several processes may use it at once."""

import errno
import hashlib
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ibid.blobs.names import below, checked, missing
from ibid.blobs.port import BlobsUnavailable, NoRoom

_PIECE = 1 << 20
_INCOMING = ".incoming"
_MOVED = ".layout-2"
_TOGETHER = 2
_PARTS = "[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]"
# An upload that takes longer than a day has died; other processes write here too, so younger files stay.
_LEFT_BEHIND_SECONDS = 24 * 3600
NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


class DirectoryBlobStore:
    """`root/ab/cd/KEY` with `+` for `/`, where `abcd` begins the hash of the key's first two parts.

    So no folder grows too long, and keys that share these parts lie in one, where a deletion looks for them.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / _INCOMING
        with _translated():
            self._incoming.mkdir(parents=True, exist_ok=True)
            self._clear_leftovers()
            self._move_once()

    def put(self, key: str, chunks: Iterable[bytes]) -> int:
        """Write beside, flush to disk, rename; a reader sees the whole blob or none. Gives its size in bytes."""
        target = self._path(key)
        incoming = self._incoming / uuid.uuid4().hex
        try:
            size = _write(incoming, chunks)
            with _translated():
                target.parent.mkdir(parents=True, exist_ok=True)
                incoming.replace(target)
                for folder in (target.parent, target.parent.parent, self._root):
                    _sync_folder(folder)
        finally:
            incoming.unlink(missing_ok=True)
        return size

    def open(self, key: str) -> Iterator[bytes]:
        """The bytes in pieces of a megabyte; a missing blob shows at once."""
        if not self.exists(key):
            raise missing(key)
        return self._pieces(key)

    def read(self, key: str) -> bytes:
        """The whole blob."""
        try:
            with _translated():
                return self._path(key).read_bytes()
        except FileNotFoundError as error:
            raise missing(key) from error

    def exists(self, key: str) -> bool:
        """Whether bytes are stored under the key."""
        return self._path(key).is_file()

    def delete(self, key: str) -> None:
        """Remove the blob, on disk when it returns; nothing happens if there is none."""
        path = self._path(key)
        with _translated():
            try:
                path.unlink()
            except FileNotFoundError:
                return
            _sync_folder(path.parent)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Every key, or those below `prefix`, in no particular order: one folder is read for two parts or more, else all."""
        folders = _PARTS if prefix.count("/") < _TOGETHER - 1 else str(_folder(prefix))
        for path in self._root.glob(f"{folders}/*"):
            key = path.name.replace("+", "/")
            if below(key, prefix):
                yield key

    def _path(self, key: str) -> Path:
        return self._root / _folder(checked(key)) / key.replace("/", "+")

    def _pieces(self, key: str) -> Iterator[bytes]:
        try:
            with _translated(), self._path(key).open("rb") as file:
                while piece := file.read(_PIECE):
                    yield piece
        except FileNotFoundError as error:
            raise missing(key) from error

    def _move_once(self) -> None:
        """Move what was stored before keys that belong together lay in one folder. Two processes may do it at once."""
        done = self._root / _MOVED
        if done.exists():
            return
        for path in self._root.glob(f"{_PARTS}/*"):
            target = self._path(path.name.replace("+", "/"))
            if target == path:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                path.rename(target)
            except FileNotFoundError:
                continue  # the other process was quicker
            _sync_folder(target.parent)
        done.touch()

    def _clear_leftovers(self) -> None:
        oldest = time.time() - _LEFT_BEHIND_SECONDS
        for path in self._incoming.iterdir():
            try:
                if path.stat().st_mtime < oldest:
                    path.unlink()
            except FileNotFoundError:
                continue  # its writer finished meanwhile


def _folder(key: str) -> Path:
    together = "/".join(key.split("/")[:_TOGETHER])
    digest = hashlib.sha256(together.encode()).hexdigest()
    return Path(digest[:2], digest[2:4])


def _write(path: Path, chunks: Iterable[bytes]) -> int:
    """Write a file that is on disk when it returns. An error of the chunks' own source passes as it is."""
    size = 0
    with _translated():
        file = path.open("xb")
    with file:
        for chunk in chunks:
            with _translated():
                size += file.write(chunk)
        with _translated():
            file.flush()
            os.fsync(file.fileno())
    return size


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of the disk as ours; a file that is not there is the caller's to name."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in NO_ROOM:
            raise NoRoom(
                "The disk that holds the uploads is full, so nothing was stored. Free some space and try again."
            ) from error
        raise BlobsUnavailable(
            f"The folder that holds the uploads cannot be used ({error.strerror}). "
            "Check the disk and the folder's permissions."
        ) from error
