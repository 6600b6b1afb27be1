"""How a generation looks in Qdrant, embedded or on a server: names of vectors, indexed fields, stored payload."""

import uuid
from collections.abc import Mapping
from typing import Any

from ibid.vectors.port import Point, PointPayload

DENSE, SPARSE = "dense", "bm25"
KEYWORDS = ("document_id", "version_id", "access")
NUMBERS = ("live_from", "live_to")
PROPOSED = ("version_id", "ordinal", "of")
"""What a candidate says of itself."""

Stored = dict[str, str | float | list[str]]


def stored(point: Point) -> Stored:
    """What is kept beside a point; a current version has no `live_to`, so no range over it excludes the point."""
    payload = point.payload
    fields: Stored = {
        "document_id": payload.document_id,
        "version_id": payload.version_id,
        "access": list(payload.access),
        "live_from": payload.live_from,
        "ordinal": point.ordinal,
        "of": point.of,
    }
    if payload.live_to is not None:
        fields["live_to"] = payload.live_to
    return fields


def loaded(fields: Mapping[str, Any] | None) -> PointPayload:
    """What is kept beside a point; what is missing there is empty, so that a comparison finds it wrong."""
    kept = fields or {}
    return PointPayload(
        document_id=kept.get("document_id", ""),
        version_id=kept.get("version_id", ""),
        access=tuple(kept.get("access", ())),
        live_from=kept.get("live_from", 0.0),
        live_to=kept.get("live_to"),
    )


def proposed(fields: Mapping[str, Any] | None) -> tuple[str, int, int]:
    """Version of a candidate, its place there, and of how many, from the fields `PROPOSED`."""
    kept = fields or {}
    return kept["version_id"], kept["ordinal"], kept["of"]


def following(point_id: str | None) -> str | None:
    """The least id after this one, where a scan that leaves it out begins."""
    return None if point_id is None else str(uuid.UUID(int=uuid.UUID(point_id).int + 1))
