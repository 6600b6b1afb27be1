"""A shelf: documents put into SQL and the in-memory store without parsing, one chunk for each paragraph."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from ibid import collections, documents, fingerprints, generations
from ibid.chat.registry import ChatModels
from ibid.clock import new_id, now
from ibid.db.session import Database, insert_missing
from ibid.db.tables import (
    Base,
    Blob,
    ChunkRow,
    Collection,
    Document,
    DocumentGrant,
    Embedding,
    Generation,
    Indexing,
    Parse,
    Version,
)
from ibid.embedding.bm25 import Bm25
from ibid.embedding.hashing import HashingEmbedder
from ibid.embedding.registry import EmbedderPool
from ibid.filters import facts
from ibid.layout import encode_layout
from ibid.marks import marks
from ibid.settings import Settings
from ibid.types import Element, ElementKind, Json, ParseReport, Recipe, Scope, SparseConfig
from ibid.vectors.memory import MemoryVectorStore
from ibid.vectors.port import ANYONE, Point, PointPayload
from retrieval.kit import Kit
from retrieval.reranking import Reranker

ADMIN = Scope(key_id="key_admin", role="admin")
ANN = Scope(key_id="key_app", role="reader", principals=frozenset({"user:ann", "key:key_app"}), actor="ann")
BOB = Scope(key_id="key_app", role="reader", principals=frozenset({"user:bob", "key:key_app"}), actor="bob")
PARAGRAPH = re.compile(r"[^\n](?:[^\n]|\n(?!\n))*")


class Shelf:
    """One collection named `shelf` with the real database, engine double and encoder that unit tests use."""

    def __init__(
        self, folder: Path, *, url: str = "", reranker: Reranker | None = None, **settings: object
    ) -> None:
        self.settings = Settings(data_dir=folder, embedder="hashing", **settings)
        self.db = Database(url or f"sqlite:///{folder / 'ibid.db'}")
        Base.metadata.create_all(self.db.engine)
        self.store = MemoryVectorStore()
        self.encoder = HashingEmbedder()
        pool = EmbedderPool(lambda _: self.encoder)
        models = ChatModels(lambda: self.encoder, self.settings)
        self.kit = Kit(self.db, self.store, pool, models, self.settings, reranker)
        with self.db.begin() as session:
            made = collections.create(
                session, name="shelf", description="", grants=None, recipe=self.recipe()
            )
            self.collection_id = made.id

    def recipe(self, **sparse: float) -> Recipe:
        return Recipe(
            embedder="hashing",
            dimensions=self.encoder.dimensions,
            embedder_fingerprint=self.encoder.fingerprint,
            sparse=SparseConfig(**sparse),
        )

    def close(self) -> None:
        self.db.dispose()

    @property
    def generation_id(self) -> str:
        with self.db.read() as session:
            return session.get_one(Collection, self.collection_id).active_generation_id

    def add(
        self,
        name: str,
        text: str,
        *,
        grants: Sequence[str] | None = None,
        metadata: Mapping[str, Json] | None = None,
    ) -> str:
        """A document with one live version; gives its id."""
        document_id = new_id("doc")
        with self.db.begin() as session:
            session.add(
                Document(
                    id=document_id,
                    collection_id=self.collection_id,
                    identity=f"name:{name}",
                    name=name,
                    meta=dict(metadata or {}),
                    restricted=grants is not None,
                    created_at=now(),
                    updated_at=now(),
                )
            )
            session.flush()
            session.add_all(DocumentGrant(document_id=document_id, principal=one) for one in grants or ())
        self.replace(document_id, text)
        return document_id

    def replace(self, document_id: str, text: str, *, live_from: datetime | None = None) -> str:
        """A new live version of the document, indexed wherever versions are written; gives its id."""
        moment = live_from or now()
        with self.db.begin() as session:
            former = session.scalars(select(Version).where(Version.document_id == document_id)).all()
            for version in former:
                version.live_to = version.live_to or moment
            version_id = self._version(session, document_id, text, len(former) + 1, moment)
            targets = [generation.id for generation in generations.written(session, self.collection_id)]
        for version in former:
            for target in targets:
                self.store.supersede(target, version.id, moment.timestamp())
        for target in targets:
            self.index(target, version_id)
        return version_id

    def _version(self, session, document_id: str, text: str, number: int, moment: datetime) -> str:
        version_id, blob_id, key = new_id("ver"), new_id("blob"), fingerprints.of(text, new_id("parse"))
        session.add(Blob(id=blob_id, sha256=key, size=len(text), key=key, touched_at=moment))
        elements = [Element(ElementKind.PARAGRAPH, *match.span()) for match in PARAGRAPH.finditer(text)]
        layout = encode_layout(elements, (), ParseReport(parser="shelf"))
        session.add(Parse(key=key, text=text, layout=layout, seconds=0.0, created_at=moment))
        session.flush()
        session.add(
            Version(
                id=version_id,
                document_id=document_id,
                number=number,
                blob_id=blob_id,
                sha256=key,
                filename="",
                media_type="text/plain",
                size=len(text),
                parse_key=key,
                job_id="",
                receipt={},
                live_from=moment,
                created_at=moment,
            )
        )
        session.get_one(Document, document_id).current_version_id = version_id
        return version_id

    def index(self, generation_id: str, version_id: str) -> None:
        """Chunks in SQL and points in the store for one version in one generation."""
        points = []
        with self.db.begin() as session:
            version = session.get_one(Version, version_id)
            recipe = generations.recipe_of(session.get_one(Generation, generation_id))
            text = session.get_one(Parse, version.parse_key).text
            document = session.get_one(Document, version.document_id)
            payload = PointPayload(
                document_id=document.id,
                version_id=version.id,
                access=documents.grants(session, document) or (ANYONE,),
                live_from=version.live_from.timestamp(),
                live_to=version.live_to.timestamp() if version.live_to else None,
                marks=marks(facts(document.meta)),
            )
            found = list(PARAGRAPH.finditer(text))
            for ordinal, match in enumerate(found):
                chunk_id = fingerprints.point_id(generation_id, version_id, ordinal)
                key = fingerprints.embedding_key(recipe.embedder_fingerprint, match.group())
                session.add(
                    ChunkRow(
                        id=chunk_id,
                        generation_id=generation_id,
                        version_id=version_id,
                        ordinal=ordinal,
                        start=match.start(),
                        end=match.end(),
                        page=None,
                        heading=[],
                        tokens=len(match.group().split()),
                        text=match.group(),
                        embedding_key=key,
                    )
                )
                dense = self.encoder.encode([match.group()])[0]
                insert_missing(session, Embedding, [{"key": key, "vector": dense.tobytes()}])
                words = Bm25(recipe.sparse).document(match.group())
                points.append(Point(chunk_id, dense, words, payload, ordinal, len(found)))
            session.add(
                Indexing(
                    generation_id=generation_id,
                    version_id=version_id,
                    made=len(points),
                    embedded=len(points),
                    chunks=len(points),
                    created_at=now(),
                )
            )
        self.store.create(generation_id, recipe.dimensions)
        self.store.upsert(generation_id, points)

    def delete(self, document_id: str) -> None:
        """Delete the document for readers; its points stay, as they do until a worker has cleaned up."""
        with self.db.begin() as session:
            documents.delete(session, ADMIN, document_id, grace=None)

    def switch(self) -> str:
        """Build another generation from all live versions and make it active; gives its id."""
        with self.db.begin() as session:
            reindex = generations.start_reindex(session, ADMIN, self.collection_id, self.recipe(avg_len=64.0))
            target = reindex.to_generation_id
        with self.db.read() as session:
            lacking = [
                version.id for version in generations.missing(session, target, self.collection_id, limit=1000)
            ]
        self.store.create(target, self.encoder.dimensions)
        for version_id in lacking:
            self.index(target, version_id)
        with self.db.begin() as session:
            assert generations.switch(session, target)
        return target


def ago(**length: float) -> datetime:
    return now() - timedelta(**length)
