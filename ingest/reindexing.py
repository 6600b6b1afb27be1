"""Reindexing: a generation is built beside the active one, document by document, and takes over in one commit."""

from contextlib import suppress
from datetime import timedelta

from ibid import claims, generations
from ibid.claims import Claim
from ibid.db.tables import Generation, Version
from ibid.types import JobState
from ingest import indexing, storing
from ingest.indexing import Target
from ingest.standing import VersionGone
from ingest.tools import Tools

BATCH = 8
YIELD = timedelta(seconds=1)


def reindex(tools: Tools, held: Claim) -> None:
    """Store every live version in the claim's generation, then switch; goes on where an earlier attempt stopped.

    When other jobs wait, it steps back after a batch, so that an upload is not kept waiting for a whole collection.
    """
    with tools.db.read() as session:
        generation = session.get_one(Generation, held.generation_id)
    tools.encoders.get(generation.embedder)
    while not _switched(tools, held, generation):
        with tools.db.read() as session:
            lacking = generations.missing(session, generation.id, held.collection_id, limit=BATCH)
        for version in lacking:
            tools.go_on()
            with suppress(VersionGone):
                _build(tools, held, generation, version)
        if _stepped_back(tools, held, generation):
            return


def _build(tools: Tools, held: Claim, generation: Generation, version: Version) -> None:
    target = Target(held, version.id, generation)
    texts = indexing.cut(tools, target)
    unknown = indexing.embed(tools, generation, texts, ())
    tools.go_on()  # not every text has its vector if the worker was told to stop
    storing.store(tools, target, indexing.count(texts, unknown))


def _stepped_back(tools: Tools, held: Claim, generation: Generation) -> bool:
    """Show how far it is; put the job back if others wait."""
    with tools.db.begin() as session:
        done, total = generations.coverage(session, generation.id, held.collection_id)
        claims.progress(session, held, "building", done, total, "documents")
        waiting = claims.waiting(session)
        if waiting:
            claims.put_back(session, held, wait=YIELD)
    return waiting


def _switched(tools: Tools, held: Claim, generation: Generation) -> bool:
    """Switch and end the job in one commit, if nothing is missing in the generation."""
    with tools.db.begin() as session:
        generations.lock_collection(session, held.collection_id)
        claims.check(session, held)
        if not generations.switch(session, generation.id):
            return False
        done, total = generations.coverage(session, generation.id, held.collection_id)
        claims.progress(session, held, "switched", done, total, "documents")
        claims.finish(session, held, JobState.SUCCEEDED, {"documents": done})
    return True
