"""Small texts of one collection read by one confined process: starting it costs more than reading them."""

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from sqlalchemy import select

from ibid.claims import Claim
from ibid.db.tables import Blob, Parse, Version
from ibid.errors import IbidError
from ibid.media import UnsupportedType
from ibid.types import ReadBy
from ingest import scratch
from ingest.parsing.registry import offer_for
from ingest.reading import Ahead, copied, parse_key
from ingest.tools import Tools

SMALL: Final = 64 * 1024
"""Bytes of a document that may be read together with others."""

log = logging.getLogger(__name__)


def read(tools: Tools, claims: Sequence[Claim]) -> dict[str, Ahead]:
    """What could be read of the claims' versions, by their ids. Any other is read alone, and tells what is wrong."""
    found: dict[str, Ahead] = {}
    for (_, media_type), files in _shelves(tools, claims).items():
        if len(files) > 1 and not tools.stopping.is_set():
            found |= _read(tools, media_type, files)
    return found


def _shelves(tools: Tools, claims: Sequence[Claim]) -> dict[tuple[str, str], dict[Version, str]]:
    """By collection and media type the small versions that were never read, and the keys of their bytes."""
    collections = {held.version_id: held.collection_id for held in claims}
    small = (
        select(Version, Blob.key)
        .join(Blob, Blob.id == Version.blob_id)
        .where(
            Version.id.in_(collections),
            Version.parse_key.is_(None),
            Version.read_by == ReadBy.TEXT,
            Blob.size <= SMALL,
        )
    )
    with tools.db.read() as session:
        rows = [row for row in session.execute(small) if _may_share(row[0].media_type)]
        keys = {version.id: parse_key(version, tools.settings) for version, _ in rows}
        known = set(session.scalars(select(Parse.key).where(Parse.key.in_(keys.values()))))
    shelves: dict[tuple[str, str], dict[Version, str]] = defaultdict(dict)
    for version, blob_key in rows:
        if keys[version.id] not in known:
            shelves[collections[version.id], version.media_type][version] = blob_key
    return shelves


def _may_share(media_type: str) -> bool:
    try:
        return media_type in offer_for(media_type).shared
    except UnsupportedType:  # of another release; its own read refuses it
        return False


def _read(tools: Tools, media_type: str, files: dict[Version, str]) -> dict[str, Ahead]:
    started = time.perf_counter()
    try:
        with scratch.folder() as folder:
            paths = [
                (copied(tools, key, version.filename, folder / version.id), version.filename)
                for version, key in files.items()
            ]
            read = tools.reader.parse_together(paths, media_type)
    except IbidError as error:  # each meets it again when it is read alone, and is judged by that
        log.info("%d documents are read one by one: %s", len(files), error.code)
        return {}
    share = (time.perf_counter() - started) / len(files)
    each = zip(files, read, strict=True)
    return {version.id: Ahead(parsed, share) for version, parsed in each if parsed and not parsed.attachments}
