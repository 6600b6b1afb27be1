"""The schema: what migrations make is what the code describes, on both databases; SQLite is copied before it changes."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command

from ibid.db import schema
from ibid.db.schema import SchemaOutdated
from ibid.db.session import Database
from tests.services import postgres_database


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        db = Database(f"sqlite:///{tmp_path / 'ibid.db'}")
        yield db
        db.dispose()
        return
    with postgres_database() as url:
        db = Database(url)
        yield db
        db.dispose()


class TestUpgrade:
    def test_makes_what_the_code_describes(self, empty: Database) -> None:
        schema.upgrade(empty)
        with empty.engine.connect() as connection:
            config = schema.config()
            config.attributes["connection"] = connection
            command.check(config)  # as `alembic check`: raises where the two differ

    def test_is_required_before_serving(self, empty: Database) -> None:
        with pytest.raises(SchemaOutdated, match="ibid db upgrade"):
            schema.require(empty)
        schema.upgrade(empty)
        schema.require(empty)

    def test_twice_changes_nothing(self, empty: Database) -> None:
        schema.upgrade(empty)
        schema.upgrade(empty)
        assert schema.current(empty) == schema.head()


class TestCopy:
    def test_a_new_file_needs_none(self, tmp_path: Path) -> None:
        db = Database(f"sqlite:///{tmp_path / 'ibid.db'}")
        assert schema.upgrade_with_copy(db) is None
        db.dispose()

    def test_an_older_file_is_kept(self, tmp_path: Path) -> None:
        db = Database(f"sqlite:///{tmp_path / 'ibid.db'}")
        schema.upgrade(db)
        with closing(sqlite3.connect(tmp_path / "ibid.db")) as raw:
            raw.execute("INSERT INTO leases VALUES ('sweep', 'somebody', '2026-01-01')")
            raw.execute("UPDATE alembic_version SET version_num = '0000'")
            raw.commit()
        with pytest.raises(
            Exception, match="0000"
        ):  # Alembic knows no 0000: what matters is the copy made before
            schema.upgrade_with_copy(db)
        with closing(sqlite3.connect(tmp_path / "ibid-before-upgrade-from-0000.db")) as copy:
            assert copy.execute("SELECT owner FROM leases").fetchall() == [("somebody",)]
        db.dispose()
