"""Builds what a worker process works with."""

from pathlib import Path

from ibid.bootstrap import Parts, open_parts
from ibid.settings import Settings
from ibid.vectors.port import VectorStore
from ibid.vectors.remote import RemoteVectorStore
from ingest.parsing.reader import ConfinedReader
from ingest.tools import Tools
from worker import lifeline


def wire(settings: Settings) -> tuple[Parts, Tools]:
    """Parts and tools of this process; in standalone mode the store is the parent's, reached over its socket."""
    parts = open_parts(settings, store=_store(settings))
    tools = Tools(settings, parts.db, parts.store, parts.blobs, parts.encoders, ConfinedReader(settings))
    return parts, tools


def _store(settings: Settings) -> VectorStore | None:
    if not settings.standalone:
        return None
    handed = lifeline.handed()
    return RemoteVectorStore(Path(handed.address), handed.key)
