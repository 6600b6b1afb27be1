"""Blobs in a dictionary; nothing is kept."""

import threading
from collections.abc import Iterable, Iterator

from ibid.blobs.names import below, checked, missing


class MemoryBlobStore:
    """Bytes by key, thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blobs: dict[str, bytes] = {}

    def put(self, key: str, chunks: Iterable[bytes]) -> int:
        """Store the concatenation of chunks; gives its size in bytes."""
        checked(key)
        whole = b"".join(chunks)
        with self._lock:
            self._blobs[key] = whole
        return len(whole)

    def open(self, key: str) -> Iterator[bytes]:
        """The bytes in one piece, none if the blob is empty."""
        whole = self.read(key)
        return iter([whole] if whole else [])

    def read(self, key: str) -> bytes:
        """The whole blob."""
        with self._lock:
            whole = self._blobs.get(checked(key))
        if whole is None:
            raise missing(key)
        return whole

    def exists(self, key: str) -> bool:
        """Whether bytes are stored under the key."""
        with self._lock:
            return checked(key) in self._blobs

    def delete(self, key: str) -> None:
        """Remove the blob; nothing happens if there is none."""
        with self._lock:
            self._blobs.pop(checked(key), None)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Every key, or those below `prefix`, as they were when asked."""
        with self._lock:
            return iter([key for key in self._blobs if below(key, prefix)])
