"""The schema: what migrations make is what the code describes, on both databases; SQLite is copied before it changes."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import text

import migrations
from ibid.db import schema
from ibid.db.schema import SchemaOutdated, SchemaUnknown
from ibid.db.session import Database
from tests.running import Server, end_family, new_collection
from tests.services import postgres_database

# What is looked at here does not depend on what the vectors mean; this encoder needs no seconds to load.
QUICK = {"IBID_EMBEDDER": "hashing"}


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

    def test_tables_of_a_later_version_are_left_alone(self, empty: Database) -> None:
        schema.upgrade(empty)
        with empty.engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        for use in (schema.require, schema.upgrade, schema.upgrade_with_copy):
            with pytest.raises(SchemaUnknown, match="later version"):
                use(empty)
        assert schema.current(empty) == "9999"


@pytest.fixture
def later_version(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that runs a later version of Ibid, which has one migration more."""
    package = tmp_path / "later" / "migrations"
    shutil.copytree(Path(migrations.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "versions" / "9999_later.py").write_text(
        f"""
from alembic import op
revision, down_revision = "9999", {schema.head()!r}
def upgrade(): op.execute("CREATE TABLE later (id integer)")
"""
    )
    # Without the safe path, `python -m` would find the working directory's migrations first.
    return {"PYTHONPATH": str(package.parent), "PYTHONSAFEPATH": "1"}


@pytest.mark.slow
class TestStart:
    """`ibid serve` of a later version, on the database of this one."""

    def test_standalone_upgrades_after_copying(self, tmp_path: Path, later_version: dict[str, str]) -> None:
        server = Server(tmp_path / "server", dict(QUICK))
        try:
            server.start()
            with server.client() as client:
                new_collection(client, "kept")
            server.stop()
            server.environment |= later_version
            server.start()
            with server.client() as client:
                assert [c["name"] for c in client.get("/v1/collections").json()["data"]] == ["kept"]
            server.stop()
        finally:
            end_family(server.process)
        data = server.folder / "data"
        copy = data / f"ibid-before-upgrade-from-{schema.head()}.db"
        assert f"the former one is kept as {copy}" in " ".join(server.log.read_text().split())
        assert _revision_and_collections(data / "ibid.db") == ("9999", ["kept"])
        assert _revision_and_collections(copy) == (schema.head(), ["kept"])

    @pytest.mark.service
    def test_distributed_only_by_command(self, tmp_path: Path, later_version: dict[str, str]) -> None:
        with postgres_database() as url:
            server = Server(tmp_path / "server", QUICK | later_version | {"IBID_DATABASE_URL": url})
            db = Database(url)
            schema.upgrade(db)
            try:
                for command in ("serve", "worker"):
                    refused = server.command(command)
                    assert refused.returncode == 1
                    assert refused.stderr.startswith("schema_outdated: ")
                    assert "ibid db upgrade" in refused.stderr
                    assert schema.current(db) == schema.head()
                upgraded = server.command("db", "upgrade")
                assert upgraded.returncode == 0, upgraded.stderr
                assert schema.current(db) == "9999"
                server.start()
                assert server.is_ready()
                server.stop()
            finally:
                end_family(server.process)
                db.dispose()


def _revision_and_collections(file: Path) -> tuple[str, list[str]]:
    with closing(sqlite3.connect(file)) as raw:
        (revision,) = raw.execute("SELECT version_num FROM alembic_version").fetchone()
        return revision, [name for (name,) in raw.execute("SELECT name FROM collections")]
