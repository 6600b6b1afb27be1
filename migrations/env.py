"""Alembic's entry: runs migrations over a connection handed in by `ibid.db.schema`, or one from the settings."""

from typing import Literal

from alembic import context
from sqlalchemy import Connection

from ibid.db import schema
from ibid.db.session import Database
from ibid.db.tables import Base, Utc
from ibid.settings import Settings


def render(kind: str, value: object, _context: object) -> str | Literal[False]:
    """Migrations name plain types, so that they mean the same when our own types change."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(value, Utc) else False


def migrate(connection: Connection) -> None:
    """Run the migrations in one transaction; SQLite tables are altered by copying (`batch`)."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        compare_server_default=True,
        render_item=render,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    database = Database(Settings().sql_url)
    with schema.migrating(database) as opened:
        migrate(opened)
    database.dispose()
