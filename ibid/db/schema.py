"""The schema's version: upgraded by command, and in standalone mode at every start, after the file was copied."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from ibid.db.session import Database, translated
from ibid.errors import Unavailable

_BEFORE = "-before-upgrade-from-"


class SchemaOutdated(Unavailable):
    """The database's tables are older than those this version of Ibid works with."""

    code = "schema_outdated"


class SchemaUnknown(Unavailable):
    """The database was upgraded by a version of Ibid that knows more than this one."""

    code = "schema_unknown"


def config() -> Config:
    """Alembic's configuration without a file: the migrations are a package."""
    import migrations  # noqa: PLC0415 - found where it is installed; only upgrades need it

    made = Config()
    made.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return made


def current(db: Database) -> str | None:
    """The revision the database is at; None before the first upgrade."""
    with translated(), db.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head() -> str | None:
    """The revision this version of Ibid works with."""
    return _scripts().get_current_head()


def upgrade(db: Database) -> None:
    """Bring the tables to this version; raises `SchemaUnknown` if they are of a later one."""
    _refuse_unknown(current(db))
    made = config()
    with translated(), migrating(db) as connection:
        made.attributes["connection"] = connection
        command.upgrade(made, "head")


@contextmanager
def migrating(db: Database) -> Iterator[Connection]:
    """A connection for migrations, committed at the end of the block.

    SQLite alters a table by making it anew and dropping the old one, which would delete every row that refers to it
    (`ON DELETE CASCADE`). So foreign keys are not enforced meanwhile, but checked before the commit.
    """
    with db.engine.connect() as connection:
        if not db.sqlite:
            yield connection
            connection.commit()
            return
        # On the driver's own connection: within a transaction the pragma does nothing.
        driver = connection.connection.cursor()
        driver.execute("PRAGMA foreign_keys=OFF")
        try:
            yield connection
            if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").all():
                raise RuntimeError(f"The migration leaves rows that refer to nothing: {broken[:5]}")
            connection.commit()
        finally:
            connection.rollback()  # what was committed stays
            driver.execute("PRAGMA foreign_keys=ON")
            driver.close()


def upgrade_with_copy(db: Database) -> Path | None:
    """Upgrade a SQLite database after copying it; gives where the copy is, None if there was nothing to do or keep."""
    found = current(db)
    if found == head():
        return None
    _refuse_unknown(found)
    copy = _copy(db, found) if found else None
    upgrade(db)
    return copy


def require(db: Database) -> None:
    """Raise `SchemaOutdated` or `SchemaUnknown` unless the database is at this version."""
    found, wanted = current(db), head()
    _refuse_unknown(found)
    if found != wanted:
        raise SchemaOutdated(
            f"The database is at schema {found or 'none'} and this version of Ibid needs {wanted}. "
            "Run `ibid db upgrade` once, then start again."
        )


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(config())


def _refuse_unknown(found: str | None) -> None:
    known = {script.revision for script in _scripts().walk_revisions()}
    if found is not None and found not in known:
        raise SchemaUnknown(
            f"The database is at schema {found}, which this version of Ibid does not know: a later version upgraded it. "
            "Start that version, or go back to the copy of the database made before that upgrade."
        )


def copies(db: Database) -> list[Path]:
    """Copies of a SQLite database that were made before upgrades; they hold what was in it then."""
    source = Path(str(db.url.database))
    if not db.sqlite or not source.parent.is_dir():
        return []
    return sorted(source.parent.glob(f"{source.stem}{_BEFORE}*{source.suffix}"))


def _copy(db: Database, revision: str) -> Path:
    """An exact copy by SQLite's own backup, which is right even while others write."""
    source = Path(str(db.url.database))
    target = source.with_name(f"{source.stem}{_BEFORE}{revision}{source.suffix}")
    with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as copy:
        original.backup(copy)
    return target
