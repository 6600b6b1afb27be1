"""The composition root: every part of the ground, wired from settings in one place."""

from dataclasses import dataclass

from ibid.blobs.port import BlobStore
from ibid.blobs.registry import open_blobs
from ibid.db.session import Database
from ibid.embedding.registry import EmbedderPool, load_embedder
from ibid.nudge.celery import CeleryNudge
from ibid.nudge.port import Nudge
from ibid.settings import Settings
from ibid.types import ChunkerConfig, Recipe
from ibid.vectors.port import VectorStore
from ibid.vectors.registry import open_store


@dataclass(frozen=True, slots=True)
class Parts:
    """What doors and rooms are made from. `close` releases the store and the database."""

    settings: Settings
    db: Database
    store: VectorStore
    blobs: BlobStore
    encoders: EmbedderPool
    nudge: Nudge

    def recipe(self, embedder: str | None = None) -> Recipe:
        """How a new generation is made; loads the encoder to learn its dimensions and fingerprint."""
        encoder = self.encoders.get(embedder or self.settings.embedder)
        return Recipe(
            embedder=encoder.name,
            dimensions=encoder.dimensions,
            embedder_fingerprint=encoder.fingerprint,
            chunker=ChunkerConfig().fitted(encoder.max_tokens),
        )

    def close(self) -> None:
        """Release files and connections."""
        self.store.close()
        self.db.dispose()


def open_parts(
    settings: Settings,
    *,
    db: Database | None = None,
    store: VectorStore | None = None,
    blobs: BlobStore | None = None,
    encoders: EmbedderPool | None = None,
    nudge: Nudge | None = None,
) -> Parts:
    """All parts as the settings say, except those given. Workers are nudged after every commit that queued a job."""
    parts = Parts(
        settings=settings,
        db=db or Database(settings.sql_url),
        store=store or open_store(settings),
        blobs=blobs or open_blobs(settings),
        encoders=encoders or EmbedderPool(lambda name: load_embedder(name, settings)),
        nudge=nudge or CeleryNudge(settings),
    )
    parts.db.on_work = parts.nudge.send
    return parts
