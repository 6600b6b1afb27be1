"""Keys of blobs: what may be one, and the errors that name one."""

import re

from ibid.blobs.port import BlobMissing
from ibid.errors import Invalid

LONGEST = 200
_KEY = re.compile(r"[0-9a-z_-]+(/[0-9a-z_-]+)*")


class KeyInvalid(Invalid):
    """Not a key of a blob."""

    code = "blob_key_invalid"


def checked(key: str) -> str:
    """The key itself, if it is one: parts of `[0-9a-z_-]` joined by `/`, at most 200 characters."""
    if len(key) > LONGEST or not _KEY.fullmatch(key):
        raise KeyInvalid(f"{key[:LONGEST]!r} is not the key of a blob.")
    return key


def below(key: str, prefix: str) -> bool:
    """Whether the key's first parts are those of the prefix; every key is below an empty one."""
    return not prefix or key.startswith(f"{prefix}/")


def missing(key: str) -> BlobMissing:
    """The error of a key under which nothing is stored."""
    return BlobMissing(f"No bytes are stored under {key}: they were deleted, or the blob store was lost.")
