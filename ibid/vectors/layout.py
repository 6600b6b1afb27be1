"""How a generation looks in Qdrant, embedded or on a server: names of vectors, indexed fields, stored payload."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ibid.filters import Fact, Scalar
from ibid.vectors.port import Point, PointPayload

DENSE, SPARSE = "dense", "bm25"
# One list of facts with the same few fields for whatever keys people choose: a fixed set of typed indexes serves all.
META = "meta"
KEYWORDS = ("document_id", "version_id", "access", f"{META}[].key", f"{META}[].value")
NUMBERS = ("live_from", "live_to", f"{META}[].at", f"{META}[].then")
PROPOSED = ("version_id", "ordinal", "of")
"""What a candidate says of itself."""

Stored = dict[str, Any]

# So many bytes of a text are a whole number that a float holds exactly.
_BYTES: Final = 6


def stored(point: Point) -> Stored:
    """What is kept beside a point; a current version has no `live_to`, so no range over it excludes the point."""
    payload = point.payload
    fields: Stored = {
        "document_id": payload.document_id,
        "version_id": payload.version_id,
        "live_from": payload.live_from,
        "ordinal": point.ordinal,
        "of": point.of,
        **described(payload.access, payload.facts),
    }
    if payload.live_to is not None:
        fields["live_to"] = payload.live_to
    return fields


def described(access: Sequence[str], facts: Sequence[Fact]) -> Stored:
    """The part of what is kept that is said of a document, and may change."""
    return {"access": list(access), META: [_kept(fact) for fact in facts]}


def token(value: Scalar) -> str:
    """The value as a text that no other value of its kind has: engines match texts exactly, and floats not."""
    return value if isinstance(value, str) else repr(value)


def place(value: str | float) -> tuple[float, float]:
    """Where a value stands in the order of its kind: exact for a number, and for a text by its first 12 bytes.

    UTF-8 has the order of code points, and no text holds a null character, so zeros behind a text change no order.
    """
    if not isinstance(value, str):
        return value, 0.0
    start = value.encode()[: 2 * _BYTES].ljust(2 * _BYTES, b"\0")
    return float(int.from_bytes(start[:_BYTES])), float(int.from_bytes(start[_BYTES:]))


def _kept(fact: Fact) -> Stored:
    fields: Stored = {"key": fact.key, "kind": fact.kind, "value": token(fact.value)}
    if fact.kind != "truth":
        fields["at"], fields["then"] = place(fact.value)
    return fields


def _fact(fields: Mapping[str, Any]) -> Fact:
    key, kind, value = fields["key"], fields["kind"], fields["value"]
    if kind == "truth":
        return Fact(key, "truth", value == token(value=True))
    return Fact(key, "text", value) if kind == "text" else Fact(key, "number", float(value))


def loaded(fields: Mapping[str, Any] | None) -> PointPayload:
    """What is kept beside a point; what is missing there is empty, so that a comparison finds it wrong."""
    kept = fields or {}
    return PointPayload(
        document_id=kept.get("document_id", ""),
        version_id=kept.get("version_id", ""),
        access=tuple(kept.get("access", ())),
        live_from=kept.get("live_from", 0.0),
        live_to=kept.get("live_to"),
        facts=tuple(_fact(each) for each in kept.get(META, ())),
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
