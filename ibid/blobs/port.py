"""The blob store port: uploaded bytes by key. A key is made of `[0-9a-z/_-]`, never of a user's name for a file."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from ibid.errors import NotFound, Unavailable


class BlobMissing(NotFound):
    """No bytes are stored under this key."""

    code = "blob_missing"


class BlobsUnavailable(Unavailable):
    """The blob store did not answer, or has no room."""

    code = "blob_store_unavailable"


class NoRoom(BlobsUnavailable):
    """The disk that takes uploads is full."""

    code = "no_room"


class BlobStore(Protocol):
    """Durable bytes. Writes are all or nothing: a reader sees the whole blob or none."""

    def put(self, key: str, chunks: Iterable[bytes]) -> int:
        """Store the concatenation of chunks, durable when it returns; gives its size in bytes."""
        ...

    def open(self, key: str) -> Iterator[bytes]:
        """The bytes in pieces; raises `BlobMissing` before the first piece if there are none."""
        ...

    def read(self, key: str) -> bytes:
        """The whole blob."""
        ...

    def exists(self, key: str) -> bool:
        """Whether bytes are stored under the key."""
        ...

    def delete(self, key: str) -> None:
        """Remove the blob; nothing happens if there is none."""
        ...

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Every key, or those below `prefix` (whole parts, without the last `/`), in no particular order."""
        ...
