"""Services that run on the machine: found by environment, skipped with a reason, or required by `.ci/run`."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy
from sqlalchemy import make_url

from ibid.db.session import Database
from ibid.db.tables import Base

REQUIRED = os.environ.get("IBID_REQUIRE_SERVICES") == "1"
POSTGRES = os.environ.get("IBID_TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres")
RABBITMQ = os.environ.get("IBID_TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//")
REDIS = os.environ.get("IBID_TEST_REDIS_URL", "redis://127.0.0.1:6379/15")


def missing(name: str, error: Exception) -> None:
    """Skip the test, or fail it where services are required."""
    reason = f"{name} does not answer: {error}"
    if REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def postgres_tables() -> Iterator[Database]:
    """A new database on the real server with empty tables."""
    with postgres_database() as url:
        made = Database(url)
        Base.metadata.create_all(made.engine)
        try:
            yield made
        finally:
            made.dispose()


@contextmanager
def postgres_database() -> Iterator[str]:
    """The URL of a new, empty database on the real server."""
    server = sqlalchemy.create_engine(POSTGRES, isolation_level="AUTOCOMMIT")
    name = f"ibid_test_{uuid.uuid4().hex[:12]}"
    try:
        with server.connect() as connection:
            connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    except sqlalchemy.exc.OperationalError as error:
        missing("PostgreSQL", error)
    try:
        yield make_url(POSTGRES).set(database=name).render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            connection.execute(sqlalchemy.text(f"DROP DATABASE {name} WITH (FORCE)"))
        server.dispose()
