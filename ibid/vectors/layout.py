"""How a generation looks in Qdrant, embedded or on a server: names of vectors, indexed fields, stored payload."""

from ibid.vectors.port import PointPayload

DENSE, SPARSE = "dense", "bm25"
KEYWORDS = ("document_id", "version_id", "access")
NUMBERS = ("live_from", "live_to")

Stored = dict[str, str | float | list[str]]


def stored(payload: PointPayload) -> Stored:
    """What is kept beside a point; a current version has no `live_to`, so no range over it excludes the point."""
    fields: Stored = {
        "document_id": payload.document_id,
        "version_id": payload.version_id,
        "access": list(payload.access),
        "live_from": payload.live_from,
    }
    if payload.live_to is not None:
        fields["live_to"] = payload.live_to
    return fields
