"""Shops over the real databases and the real embedded stores."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ibid.blobs.directory import DirectoryBlobStore
from ibid.blobs.memory import MemoryBlobStore
from ibid.bootstrap import open_parts
from ibid.db.session import Database
from ibid.db.tables import Base
from ibid.nudge.memory import MemoryNudge
from ibid.settings import Settings
from ibid.types import Scope
from ibid.vectors.edge import EdgeVectorStore
from ibid.vectors.memory import MemoryVectorStore
from tests.services import postgres_database
from tests.unit.shop import Shop

ADMIN = Scope(key_id="key_admin", role="admin")


@contextmanager
def opened(tmp_path: Path, database: str, store: str) -> Iterator[Shop]:
    """A shop on `sqlite` or `postgresql`, with vectors and bytes on disk (`edge`) or in `memory`."""
    settings = Settings(data_dir=tmp_path / "data", embedder="hashing", sample=False)
    with ExitStack() as stack:
        url = f"sqlite:///{settings.data_dir / 'ibid.db'}"
        db = Database(url if database == "sqlite" else stack.enter_context(postgres_database()))
        Base.metadata.create_all(db.engine)
        on_disk = store == "edge"
        parts = open_parts(
            settings,
            db=db,
            store=EdgeVectorStore(settings.data_dir / "vectors") if on_disk else MemoryVectorStore(),
            blobs=DirectoryBlobStore(settings.data_dir / "blobs") if on_disk else MemoryBlobStore(),
            nudge=MemoryNudge(),
        )
        stack.callback(parts.close)
        yield Shop(parts, ADMIN)
