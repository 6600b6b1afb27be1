"""What the endpoints of one application work with, made once and closed at its end."""

import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import select

from api.events import Feed, answer_marks, collection_marks, job_marks
from api.running import Runner
from api.trail import Trail
from ibid import access, catalogue, sample
from ibid.bootstrap import Parts, open_parts
from ibid.chat.port import ModelUnusable
from ibid.chat.registry import ChatModels
from ibid.db.tables import Collection, Generation
from ibid.errors import IbidError, Unavailable
from ibid.settings import Settings
from ibid.vectors.compacting import Compactor
from retrieval.kit import Kit
from retrieval.reranking import load_reranker
from retrieval.search import IndexMissing, search

log = logging.getLogger(__name__)

JOB_POLL_SECONDS = 0.25
COLLECTION_POLL_SECONDS = 1.0
ANSWER_POLL_SECONDS = 0.04
WARM_UP_PAUSE = 0.3


class NotReady(Unavailable):
    """A search would not be answered yet."""

    code = "not_ready"


@dataclass(frozen=True, slots=True)
class Wiring:
    """The parts, what is built on them, and the pollers and tasks of this process."""

    parts: Parts
    kit: Kit
    jobs: Feed
    collections: Feed
    answers: Feed
    runner: Runner
    trail: Trail
    readiness: "Readiness"
    compactor: Compactor


class Readiness:
    """Whether a search is answered: tried once for real in a thread, then cheap looks at what may go away."""

    def __init__(self, parts: Parts, kit: Kit) -> None:
        self._parts = parts
        self._kit = kit
        self._warm = threading.Event()
        self._stop = threading.Event()
        self._reason = "the encoder is being loaded"

    def begin(self) -> None:
        """Warm up in the background."""
        threading.Thread(target=self._warm_up, name="readiness", daemon=True).start()

    def stop(self) -> None:
        """Give up warming."""
        self._stop.set()

    def check(self) -> None:
        """Raise `NotReady`, or the error of what is missing, unless a search would be answered now."""
        if not self._warm.is_set():
            raise NotReady(f"Not ready: {self._reason.rstrip('.')}. Try again in a moment.")
        with self._parts.db.read() as session:
            session.execute(select(1))
        self._parts.store.generations()

    def _warm_up(self) -> None:
        while not self._stop.is_set():
            try:
                self._try()
            except IbidError as error:
                if self._reason != error.message:
                    self._reason = error.message
                    log.info("not ready: %s", error.message)
                self._stop.wait(WARM_UP_PAUSE)
            else:
                self._warm.set()
                return

    def _try(self) -> None:
        encoder = self._parts.encoders.get(self._parts.settings.embedder)
        encoder.encode_query("ready")
        self._load_models()
        if self._kit.reranker is not None:
            self._kit.reranker.scores("ready", ["ready"])
        # A collection made with another encoder may lack it, which is no reason to hold back all others.
        usable = (
            select(Collection.id)
            .join(Generation, Generation.id == Collection.active_generation_id)
            .where(
                access.sees_collection(access.EVERYTHING),
                Generation.embedder_fingerprint == encoder.fingerprint,
            )
        )
        with self._parts.db.read() as session:
            first = session.scalar(usable.limit(1))
        if first is not None:
            self._search(first)
        with self._parts.db.read() as session:
            if self._parts.settings.sample and sample.being_read(session):
                raise NotReady("the sample collection is being read")

    def _load_models(self) -> None:
        """What speaks to providers takes seconds to import, which the first question should not wait for."""
        with self._parts.db.read() as session:
            entries = catalogue.entries(session)
        for entry in (entry for entry in entries if entry.status == "approved"):
            try:
                self._kit.models.get(entry)
            except ModelUnusable as error:
                log.warning("a model is passed over: %s", error.message)

    def _search(self, collection_id: str) -> None:
        try:
            search(self._kit, access.EVERYTHING, collection_id, "ready", 1)
        except IndexMissing as error:
            # `ibid verify` mends it, and that waits for a service that is ready.
            log.warning("collection %s: %s", collection_id, error.message)


@asynccontextmanager
async def wired(settings: Settings, parts: Parts | None) -> AsyncIterator[Wiring]:
    """All of it for the length of the block. Parts that were given are left open: they belong to the caller."""
    own = parts or open_parts(settings)
    models = ChatModels(lambda: own.encoders.get(settings.embedder), settings)
    kit = Kit(
        db=own.db,
        vectors=own.store,
        encoders=own.encoders,
        models=models,
        settings=settings,
        reranker=load_reranker(settings),
    )
    made = Wiring(
        parts=own,
        kit=kit,
        jobs=Feed(lambda ids: job_marks(own.db, ids), JOB_POLL_SECONDS),
        collections=Feed(lambda ids: collection_marks(own.db, ids), COLLECTION_POLL_SECONDS),
        answers=Feed(lambda ids: answer_marks(own.db, ids), ANSWER_POLL_SECONDS),
        runner=Runner(kit),
        trail=Trail(own.db, settings.data_dir),
        readiness=Readiness(own, kit),
        compactor=Compactor(own.store, settings.compact_after_points),
    )
    await run_in_threadpool(made.trail.settle_if_possible)
    made.readiness.begin()
    made.compactor.start()
    try:
        yield made
    finally:
        made.readiness.stop()
        await made.runner.close()
        await run_in_threadpool(made.compactor.stop)
        await run_in_threadpool(made.trail.settle_if_possible)
        await models.close()
        if parts is None:
            own.close()


def wiring(request: Request) -> Wiring:
    """The wiring of the application that answers this request."""
    found = request.app.state.wiring
    if not isinstance(found, Wiring):
        raise NotReady("The service is starting. Try again in a moment.")
    return found
