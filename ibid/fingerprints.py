"""Hashes that name the input of a stage: the same hash means the same work, which is not done again."""

import hashlib
import json
import uuid
from collections.abc import Mapping

from ibid.types import Json

POINTS = uuid.UUID("5c1f3b7e-6f0e-5d0a-9d9e-3c0f6d1b2a47")


def of(*parts: str) -> str:
    """SHA-256 of the parts, in hex; lengths are hashed too, so that ("ab", "c") differs from ("a", "bc")."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8")
        digest.update(len(raw).to_bytes(8, "big"))
        digest.update(raw)
    return digest.hexdigest()


def of_json(value: Mapping[str, Json]) -> str:
    """SHA-256 of a JSON object, whatever the order of its keys."""
    return of(json.dumps(value, sort_keys=True, separators=(",", ":")))


def point_id(generation_id: str, version_id: str, ordinal: int) -> str:
    """The id of a chunk and its point: writing it twice is writing it once."""
    return str(uuid.uuid5(POINTS, f"{generation_id}/{version_id}/{ordinal}"))


def embedding_key(encoder_fingerprint: str, text: str) -> str:
    """Under which the vector of exactly this text by exactly this encoder is kept."""
    return of(encoder_fingerprint, text)
