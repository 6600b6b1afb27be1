"""Fixtures for all tests: settings in a temporary directory, a real database with the real tables, in-memory parts."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from ibid.blobs.memory import MemoryBlobStore
from ibid.bootstrap import Parts, open_parts
from ibid.db.session import Database
from ibid.db.tables import Base
from ibid.nudge.memory import MemoryNudge
from ibid.settings import Settings
from ibid.types import Scope
from ibid.vectors.memory import MemoryVectorStore
from tests.running import ENCODERS
from tests.services import REQUIRED

pytest.register_assert_rewrite("tests.main_job")
# How long an example takes says something about the machine, not about the code.
hypothesis_settings.register_profile("ibid", deadline=None)
hypothesis_settings.load_profile("ibid")

DATA = Path(os.environ.get("IBID_TEST_DATA", "../shared/data"))


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of whoever runs the tests do not reach them."""
    for name in os.environ:
        if name.startswith("IBID_") and not name.startswith(("IBID_TEST_", "IBID_REQUIRE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("IBID_ENCODER_DIR", str(ENCODERS))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", embedder="hashing", sample=False)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """SQLite as standalone mode uses it."""
    database = Database(f"sqlite:///{tmp_path / 'test.db'}")
    Base.metadata.create_all(database.engine)
    yield database
    database.dispose()


@pytest.fixture
def parts(settings: Settings, db: Database) -> Iterator[Parts]:
    """Everything of the ground, in memory where it can be."""
    made = open_parts(
        settings, db=db, store=MemoryVectorStore(), blobs=MemoryBlobStore(), nudge=MemoryNudge()
    )
    yield made
    made.store.close()


@pytest.fixture
def admin() -> Scope:
    return Scope(key_id="key_admin", role="admin")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of test data; without it a skip that says how to have it, or a failure where it is required."""
    if not DATA.is_dir():
        reason = f"no test data at {DATA}; set IBID_TEST_DATA"
        (pytest.fail if REQUIRED else pytest.skip)(reason)
    return DATA
