"""Blobs as files below one folder, for standalone mode; several processes may use it at once."""

import errno
import hashlib
import os
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ibid.blobs.names import below, checked, missing
from ibid.blobs.port import BlobsUnavailable, NoRoom
from ibid.disk import sync_folder

_PIECE = 1 << 20
_INCOMING = ".incoming"
_KEPT = "kept"
_TOGETHER = 2
_PART = re.compile("[0-9a-f]{2}")
# An upload that takes longer than a day has died; other processes write here too, so younger files stay.
_LEFT_BEHIND_SECONDS = 24 * 3600
NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


class DirectoryBlobStore:
    """`root/kept/ab/cd/KEY` with `+` for `/`, where `abcd` begins the hash of the key's first two parts.

    So no folder grows too long, and keys that share these parts lie in one, where a deletion looks for them.
    Earlier versions, which may run again or still, used `root/ab/cd/KEY` by another hash: what they leave there is
    moved at the next start or when it is asked for, and listed and deleted like the rest.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._kept = root / _KEPT
        self._incoming = root / _INCOMING
        with _translated():
            self._incoming.mkdir(parents=True, exist_ok=True)
            self._clear_leftovers()
            self._move_former()

    def put(self, key: str, chunks: Iterable[bytes]) -> int:
        """Write beside, flush to disk, rename; a reader sees the whole blob or none. Gives its size in bytes."""
        target = self._place(key)
        incoming = self._incoming / uuid.uuid4().hex
        try:
            size = _write(incoming, chunks)
            with _translated():
                self._place_at(target, incoming)
                _remove(self._former_place(key))
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
        with _translated():
            _remove(self._former_place(key))  # first: another process may move it to its place meanwhile
            _remove(self._place(key))

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Every key, or those below `prefix`, in no particular order: one folder is read for two parts or more, else all."""
        former = {key for path in self._former() if below(key := _key(path), prefix)}
        yield from former
        folder = None if prefix.count("/") < _TOGETHER - 1 else _folder(prefix)
        for path in _files(self._kept) if folder is None else _entries(self._kept / folder):
            if below(key := _key(path), prefix) and key not in former:
                yield key

    def _path(self, key: str) -> Path:
        """Where the blob is, if it is stored; moved there, if an earlier version stored it."""
        path = self._place(key)
        if not path.is_file():
            with _translated():
                self._move(self._former_place(key), path)
        return path

    def _place(self, key: str) -> Path:
        return self._kept / _folder(checked(key)) / _name(key)

    def _former_place(self, key: str) -> Path:
        return self._root / _hashed(checked(key)) / _name(key)

    def _former(self) -> Iterator[Path]:
        return _files(self._root)

    def _pieces(self, key: str) -> Iterator[bytes]:
        try:
            with _translated(), self._path(key).open("rb") as file:
                while piece := file.read(_PIECE):
                    yield piece
        except FileNotFoundError as error:
            raise missing(key) from error

    def _move_former(self) -> None:
        """Move what earlier versions stored, and remove their empty folders, so that nobody looks there again."""
        for path in self._former():
            target = self._place(_key(path))
            if target.is_file():
                _remove(path)
            else:
                self._move(path, target)
        for outer in _parts(self._root):
            for inner in _parts(outer):
                _remove_empty(inner)
            _remove_empty(outer)

    def _move(self, path: Path, target: Path) -> None:
        """Nothing happens if there is no such file, or another process was quicker."""
        try:
            if path.is_file():
                self._place_at(target, path)
        except FileNotFoundError:
            return

    def _place_at(self, target: Path, path: Path) -> None:
        """Rename a file, on disk when it returns: so are the folders that it may have been the first in."""
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
        for folder in (target.parent, target.parent.parent, self._kept, self._root):
            sync_folder(folder)

    def _clear_leftovers(self) -> None:
        oldest = time.time() - _LEFT_BEHIND_SECONDS
        for path in self._incoming.iterdir():
            try:
                if path.stat().st_mtime < oldest:
                    path.unlink()
            except FileNotFoundError:
                continue  # its writer finished meanwhile


def _folder(key: str) -> Path:
    return _hashed("/".join(key.split("/")[:_TOGETHER]))


def _hashed(text: str) -> Path:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Path(digest[:2], digest[2:4])


def _name(key: str) -> str:
    return key.replace("/", "+")


def _key(path: Path) -> str:
    return path.name.replace("+", "/")


def _files(root: Path) -> Iterator[Path]:
    for outer in _parts(root):
        for inner in _parts(outer):
            yield from _entries(inner)


def _parts(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if _PART.fullmatch(path.name)]


def _entries(folder: Path) -> list[Path]:
    """What is in the folder; nothing, if it is not there or another process removed it."""
    try:
        with _translated():
            return list(folder.iterdir())
    except FileNotFoundError:
        return []


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except FileNotFoundError:
        return
    sync_folder(path.parent)


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise


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
