"""How a generation looks in Qdrant, embedded or on a server: names of vectors, indexed fields, stored payload."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from ibid.marks import Mark
from ibid.vectors.port import Point, PointPayload

DENSE, SPARSE = "dense", "bm25"
# One list of marks for whatever keys people choose: a fixed set of typed indexes serves all.
MARKS = "marks"
KEYWORDS = ("document_id", "version_id", "access", f"{MARKS}[].series", f"{MARKS}[].value")
NUMBERS = ("live_from", "live_to", f"{MARKS}[].at")
PROPOSED = ("version_id", "ordinal", "of")
"""What a candidate says of itself."""
TOGETHER = "document_id"
"""Points that share it lie side by side where an engine arranges them (docs/scaling.md has the reason)."""

LINKS, BUILD_EF = 16, 100
"""Of a graph over 8-bit vectors: links of a point on each level, twice as many on the lowest, and what is in view when
they are made."""
FULL_SCAN = 10_000
"""In kilobytes of vectors. Below it all are read that the filter lets through: as quick as a graph then, and exact."""
IN_VIEW = 512
"""How many points a search of a graph keeps in view. Of the ten nearest among 100,000 points, half of them hidden by a
filter, it finds 998 in 1,000; with half as many in view 986."""
OVERSAMPLING = 2.0
"""Scores of the 8-bit vectors only choose whose own are then computed: twice as many as are wanted."""

Stored = dict[str, Any]


def stored(point: Point) -> Stored:
    """What is kept beside a point; a current version has no `live_to`, so no range over it excludes the point."""
    payload = point.payload
    fields: Stored = {
        "document_id": payload.document_id,
        "version_id": payload.version_id,
        "live_from": payload.live_from,
        "ordinal": point.ordinal,
        "of": point.of,
        **described(payload.access, payload.marks),
    }
    if payload.live_to is not None:
        fields["live_to"] = payload.live_to
    return fields


def described(access: Sequence[str], marks: Sequence[Mark]) -> Stored:
    """The part of what is kept that is said of a document, and may change."""
    return {"access": list(access), MARKS: [mark._asdict() for mark in marks]}


def loaded(fields: Mapping[str, Any] | None) -> PointPayload:
    """What is kept beside a point; what is missing there is empty, so that a comparison finds it wrong."""
    kept = fields or {}
    return PointPayload(
        document_id=kept.get("document_id", ""),
        version_id=kept.get("version_id", ""),
        access=tuple(kept.get("access", ())),
        live_from=kept.get("live_from", 0.0),
        live_to=kept.get("live_to"),
        marks=tuple(Mark(**each) for each in kept.get(MARKS, ())),
    )


def proposed(fields: Mapping[str, Any] | None) -> tuple[str, int, int]:
    """Version of a candidate, its place there, and of how many, from the fields `PROPOSED`.

    Points of earlier releases say nothing of their place; they count as whole documents until they are written anew.
    """
    kept = fields or {}
    return kept["version_id"], kept.get("ordinal", 0), kept.get("of", 1)


def following(point_id: str | None) -> str | None:
    """The least id after this one, where a scan that leaves it out begins."""
    return None if point_id is None else str(uuid.UUID(int=uuid.UUID(point_id).int + 1))
