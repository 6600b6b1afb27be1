"""A whole knowledge base in a folder, for measurements: the product's own pipeline, worked in this process."""

import io
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from evals.filling import kit_of
from evals.shelf import ADMIN
from ibid import access, claims, collections, documents, media, uploads
from ibid.blobs.directory import DirectoryBlobStore
from ibid.bootstrap import Parts, open_parts
from ibid.db.tables import Base
from ibid.nudge.memory import MemoryNudge
from ibid.settings import Settings
from ingest.parsing.direct import DirectReader
from ingest.tools import Tools
from ingest.work import work

LEASE = timedelta(hours=1)


class Workbench:
    """A data directory with everything wired; use it in a `with` block."""

    def __init__(self, folder: Path) -> None:
        settings = Settings(data_dir=folder)
        blobs = DirectoryBlobStore(folder / "blobs")
        self.parts: Parts = open_parts(settings, blobs=blobs, nudge=MemoryNudge())
        Base.metadata.create_all(self.parts.db.engine)
        self.kit = kit_of(self.parts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.parts.close()

    def fill(self, collection: str, files: Iterable[tuple[str, bytes]]) -> None:
        """Make the collection and ingest the files, unless it is there already."""
        db = self.parts.db
        with db.read() as session:
            try:
                access.collection(session, ADMIN, collection)
            except access.CollectionNotFound:
                pass
            else:
                return
        with db.begin() as session:
            collections.create(
                session, name=collection, description="", grants=None, recipe=self.parts.recipe()
            )
        for name, data in files:
            kept = uploads.keep(db, self.parts.blobs, io.BytesIO(data))
            upload = documents.Upload(name, media.check_upload(name, data[:1024]).name, kept)
            with db.begin() as session:
                documents.accept(session, ADMIN, collection, upload)
        self._work()

    def _work(self) -> None:
        parts = self.parts
        tools = Tools(parts.settings, parts.db, parts.store, parts.blobs, parts.encoders, DirectReader())
        while True:
            with parts.db.begin() as session:
                batch = claims.claim(session, "evals", lease=LEASE, limit=64)
            if not batch:
                return
            work(tools, batch)
