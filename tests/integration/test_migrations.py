"""What migrations make of rows that are there."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory

from ibid.db import schema
from ibid.db.session import Database

SCRIPTS = ScriptDirectory.from_config(schema.config())


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path / 'ibid.db'}")
    yield made
    made.dispose()


def upgrade(db: Database, revision: str) -> None:
    config = schema.config()
    with schema.migrating(db) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def downgrade(db: Database, revision: str) -> None:
    config = schema.config()
    with schema.migrating(db) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def insert(raw: sqlite3.Connection, table: str, **values: str | int) -> None:
    """A row; what it must have and is not told is 0."""
    needed = [name for _, name, _, must, *_ in raw.execute(f"PRAGMA table_info({table})") if must]
    row = dict.fromkeys(needed, 0) | values
    marks = ", ".join("?" * len(row))
    raw.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))


class TestChunksMade:
    def test_what_is_stored_was_made(self, db: Database, tmp_path: Path) -> None:
        upgrade(db, "0001")
        with closing(sqlite3.connect(tmp_path / "ibid.db")) as raw:
            insert(raw, "collections", id="c")
            insert(raw, "generations", id="g", collection_id="c")
            insert(raw, "documents", id="d", collection_id="c")
            insert(raw, "blobs", id="b")
            insert(raw, "versions", id="v", document_id="d", blob_id="b", receipt='{"pages": null}')
            insert(raw, "indexings", generation_id="g", version_id="v", chunks=7)
            raw.commit()
        upgrade(db, "0002")
        with closing(sqlite3.connect(tmp_path / "ibid.db")) as raw:
            assert raw.execute("SELECT made, embedded, chunks FROM indexings").fetchall() == [(7, 0, 7)]
            assert raw.execute("SELECT receipt FROM versions").fetchall() == [("{}",)]


class TestIdentity:
    def test_says_of_which_kind_it_is(self, db: Database, tmp_path: Path) -> None:
        upgrade(db, "0002")
        with closing(sqlite3.connect(tmp_path / "ibid.db")) as raw:
            insert(raw, "collections", id="c")
            insert(raw, "documents", id="d1", collection_id="c", name="a.txt", identity="a.txt")
            insert(raw, "documents", id="d2", collection_id="c", name="b.txt", identity="x", external_id="x")
            insert(raw, "documents", id="d3", collection_id="c", identity="d3", deleted_at="2026-01-01")
            raw.commit()
        upgrade(db, "0003")
        with closing(sqlite3.connect(tmp_path / "ibid.db")) as raw:
            found = raw.execute("SELECT identity, parent_id FROM documents ORDER BY id").fetchall()
        assert found == [("name:a.txt", None), ("external:x", None), ("d3", None)]


class TestNames:
    def test_replies_and_uploads_are_found_by_the_documents_they_name(
        self, db: Database, tmp_path: Path
    ) -> None:
        upgrade(db, "0008")
        body = '{"documents": [{"id": "doc_0a", "name": "doc_x"}, {"id": "doc_0b"}]}'
        with closing(sqlite3.connect(tmp_path / "ibid.db")) as raw:
            insert(raw, "saved_replies", key_id="k", idempotency_key="i", body=body)
            insert(raw, "saved_replies", key_id="k", idempotency_key="empty")
            insert(raw, "partial_uploads", id="up_1", outcome='{"id": "doc_0a"}')
            insert(raw, "partial_uploads", id="up_2")
            raw.commit()
        upgrade(db, "0009")
        with closing(sqlite3.connect(tmp_path / "ibid.db")) as raw:
            named = raw.execute("SELECT * FROM saved_reply_names ORDER BY named").fetchall()
            became = raw.execute("SELECT id, document_id FROM partial_uploads ORDER BY id").fetchall()
        assert named == [("k", "i", "doc_0a"), ("k", "i", "doc_0b")]
        assert became == [("up_1", "doc_0a"), ("up_2", None)]


class TestRows:
    """One row in each table, all of whose keys are 1, so that everything refers to something."""

    def test_none_is_lost_on_the_way_up_and_down(self, db: Database, tmp_path: Path) -> None:
        upgrade(db, "0001")
        revisions = [script.revision for script in reversed(list(SCRIPTS.walk_revisions()))]
        for revision in revisions:
            before = self.filled(tmp_path)
            upgrade(db, revision)
            assert self.counts(tmp_path, before) == before, revision
        tables = self.filled(tmp_path)
        for revision in reversed(revisions[:-1]):
            downgrade(db, revision)
            left = self.counts(tmp_path, tables)
            assert set(left.values()) == {1}, revision
        with db.engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1

    def filled(self, folder: Path) -> dict[str, int]:
        """Give each table that has none a row; gives how many rows there are."""
        with closing(sqlite3.connect(folder / "ibid.db")) as raw:
            listed = raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            tables = [name for (name,) in listed if name != "alembic_version"]
            for table in tables:
                if not raw.execute(f"SELECT 1 FROM {table}").fetchone():
                    columns = {
                        name
                        for _, name, _, must, _, key in raw.execute(f"PRAGMA table_info({table})")
                        if must or key
                    }
                    columns |= {row[3] for row in raw.execute(f"PRAGMA foreign_key_list({table})")}
                    insert(raw, table, **dict.fromkeys(columns, 1))
            raw.commit()
        return dict.fromkeys(tables, 1)

    def counts(self, folder: Path, tables: dict[str, int]) -> dict[str, int]:
        """Rows of those of the tables that are still there."""
        with closing(sqlite3.connect(folder / "ibid.db")) as raw:
            listed = {name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            return {
                table: raw.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in tables
                if table in listed
            }
