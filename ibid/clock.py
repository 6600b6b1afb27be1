"""Time and identity: what cannot be computed from input."""

from datetime import UTC, datetime

from uuid_utils import uuid7


def now() -> datetime:
    """The present, in UTC."""
    return datetime.now(UTC)


def new_id(prefix: str) -> str:
    """`prefix_` and a UUIDv7 in hex: unique, and ascending in time, so lists page by id."""
    return f"{prefix}_{uuid7().hex}"
