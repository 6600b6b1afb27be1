"""Blobs in S3-compatible object storage, through the obstore library."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, Self

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from ibid.blobs.names import checked, missing
from ibid.blobs.port import BlobsUnavailable
from ibid.errors import Invalid
from ibid.settings import Settings

if TYPE_CHECKING:  # these exist in the library's type stubs only
    from obstore import GetResult
    from obstore.store import S3Config

# What is not longer is one request; S3 wants parts of a multipart upload to be at least 5 MB.
PART = 8 * 1024 * 1024
_PARTS_AT_ONCE = 4
_PIECE = 1 << 20
_SCHEME = "s3://"


class ObjectBlobStore:
    """One bucket and a prefix in it. Thread-safe: the client is, and nothing else is kept."""

    def __init__(
        self,
        url: str,
        *,
        endpoint: str = "",
        region: str = "us-east-1",
        access_key_id: str = "",
        secret_access_key: str = "",
        timeout: float = 30.0,
    ) -> None:
        bucket, _, prefix = url.removeprefix(_SCHEME).partition("/")
        if not url.startswith(_SCHEME) or not bucket:
            raise Invalid(
                f"{url!r} is not an address of object storage. Write it as s3://bucket or s3://bucket/prefix."
            )
        self._url = url
        config: S3Config = {"region": region}
        # What is not given the library looks for in the environment and on the machine, as its users expect.
        if endpoint:
            config["endpoint"] = endpoint
        if access_key_id:
            config["access_key_id"] = access_key_id
        if secret_access_key:
            config["secret_access_key"] = secret_access_key
        self._store = S3Store(
            bucket,
            prefix=prefix.strip("/") or None,
            config=config,
            client_options={
                "allow_http": endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=5),
                "timeout": timedelta(seconds=timeout),
            },
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=timeout)},
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The bucket that the settings name."""
        secret = settings.s3_secret_access_key
        return cls(
            settings.blobs_url,
            endpoint=settings.s3_endpoint,
            region=settings.s3_region,
            access_key_id=settings.s3_access_key_id,
            secret_access_key=secret.get_secret_value() if secret else "",
        )

    def put(self, key: str, chunks: Iterable[bytes]) -> int:
        """Store the concatenation of chunks: one request if it is short, else parts as they come. Gives its size.

        The storage shows the object when it is complete. An upload that breaks off is aborted.
        """
        checked(key)
        source = iter(chunks)
        head = _taken(source, PART)
        if len(head) < PART:
            with self._translated():
                obstore.put(self._store, key, head, use_multipart=False)
            return len(head)
        return self._put_parts(key, chain([head], source))

    def open(self, key: str) -> Iterator[bytes]:
        """The bytes in pieces of about a megabyte; a missing blob shows at once."""
        with self._translated(key):
            result = obstore.get(self._store, checked(key))
        return self._pieces(key, result)

    def read(self, key: str) -> bytes:
        """The whole blob."""
        with self._translated(key):
            return bytes(obstore.get(self._store, checked(key)).bytes())

    def exists(self, key: str) -> bool:
        """Whether bytes are stored under the key."""
        try:
            with self._translated():
                obstore.head(self._store, checked(key))
        except FileNotFoundError:
            return False
        return True

    def delete(self, key: str) -> None:
        """Remove the blob; nothing happens if there is none."""
        try:
            with self._translated():
                obstore.delete(self._store, checked(key))
        except FileNotFoundError:
            return

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Every key below the store's own prefix, or below `prefix` there, as the storage lists them."""
        with self._translated():
            for page in obstore.list(self._store, prefix or None, chunk_size=1000):
                for entry in page:
                    yield entry["path"]

    def _put_parts(self, key: str, chunks: Iterable[bytes]) -> int:
        counted = _Counted(chunks)
        with self._translated():
            # An error of the chunks' source aborts the upload and passes as it is.
            obstore.put(
                self._store,
                key,
                counted,
                use_multipart=True,
                chunk_size=PART,
                max_concurrency=_PARTS_AT_ONCE,
            )
        return counted.size

    def _pieces(self, key: str, result: "GetResult") -> Iterator[bytes]:
        with self._translated(key):
            for piece in result.stream(min_chunk_size=_PIECE):
                yield bytes(piece)

    @contextmanager
    def _translated(self, key: str | None = None) -> Iterator[None]:
        """The library's errors as ours; with a key, nothing there is `BlobMissing`."""
        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise BlobsUnavailable(
                    f"There is no bucket for {self._url}. Create it, or correct the setting."
                ) from error
            if key is None:
                raise
            raise missing(key) from error
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise BlobsUnavailable(
                f"The object storage {self._url} refused the access. Check its keys and what they may do."
            ) from error
        except (BaseError, OSError) as error:
            reason = (str(error).strip().splitlines() or ["no reason given"])[0][:300]
            raise BlobsUnavailable(
                f"The object storage {self._url} did not answer as it should ({reason}). Check that it runs and its settings."
            ) from error


def _taken(source: Iterator[bytes], size: int) -> bytes:
    """The first chunks, until they are `size` bytes or more, or all."""
    head = bytearray()
    for chunk in source:
        head += chunk
        if len(head) >= size:
            break
    return bytes(head)


class _Counted(Iterator[bytes]):
    """Chunks on their way through, counted in bytes."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.size = 0

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        self.size += len(chunk)
        return chunk
