"""Engines and transactions, the same for SQLite and PostgreSQL."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, DateTime, Engine, create_engine, event, func, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from ibid.clock import now
from ibid.errors import Unavailable

SQLITE_BUSY_MS = 15_000
CONNECT_SECONDS = 5
POOL_SECONDS = 10.0

log = logging.getLogger(__name__)


class DatabaseUnavailable(Unavailable):
    """The database did not answer."""

    code = "database_unavailable"


class Database:
    """An engine and its transactions. One for each process: it is not used across a fork."""

    def __init__(self, url: str) -> None:
        self.on_work: Callable[[], object] = lambda: None
        self.url = make_url(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _sqlite(url) if self.sqlite else _server(url)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @contextmanager
    def begin(self, *, durable: bool = True) -> Iterator[Session]:
        """One transaction that may write: committed at the end of the block, rolled back on an error.

        On SQLite it is `BEGIN IMMEDIATE`, since a read that upgrades to a write fails at once whatever the timeout.
        If jobs were queued in it, `on_work` is called after the commit and only then.

        A step that the next attempt does again may be not `durable`: SQLite then does not wait for the disk. Every
        process that saw it ends with the machine whose power loss undoes it, and a later durable commit keeps it. (A
        server may lose its power alone, so there it is always waited for.)
        """
        with translated(), self._sessions() as session:
            options = {"ibid_write": True, "ibid_durable": durable} if self.sqlite else {}
            session.connection(execution_options=options)
            yield session
            session.commit()
            work = session.info.pop("work", False)
        if work:
            self.on_work()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One consistent view for reading; nothing is kept."""
        with translated(), self._sessions() as session:
            if not self.sqlite:
                session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            yield session

    def scrub(self) -> None:
        """On SQLite, empty the write-ahead log, where pages from before a delete still are; raises `DatabaseUnavailable`.

        Waits for transactions under way, as long as any writer does.
        """
        if not self.sqlite:
            return
        with (
            translated(),
            closing(self.engine.raw_connection()) as connection,
            closing(connection.cursor()) as cursor,
        ):
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            (busy, *_) = cursor.fetchone() or (1,)
        if busy:
            raise DatabaseUnavailable(
                "The database's write-ahead log is in use, so it could not be emptied yet."
            )

    def dispose(self) -> None:
        """Close the pool."""
        self.engine.dispose()


def moment(session: Session) -> datetime:
    """The present by the clock that leases are kept by: the database server's, which all machines share.

    SQLite has none, and all its processes share this machine's.
    """
    if session.get_bind().dialect.name == "sqlite":
        return now()
    return session.scalars(select(func.clock_timestamp(type_=DateTime(timezone=True)))).one()


def insert_missing(session: Session, table: type[DeclarativeBase], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows whose keys are not there yet, also where another transaction inserts the same just now."""
    if rows:
        dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
        session.execute(dialect.insert(table).on_conflict_do_nothing(), rows)


@contextmanager
def translated() -> Iterator[None]:
    """Turn a lost, locked or full database into `DatabaseUnavailable`; errors of our SQL stay what they are."""
    try:
        yield
    except OperationalError as error:
        log.warning(
            "the database did not answer: %s", error.orig
        )  # which names hosts and users: not for strangers
        raise DatabaseUnavailable(
            "The database did not answer. Nothing was changed; try again in a moment."
        ) from error
    except PoolExhausted as error:
        raise DatabaseUnavailable(
            "All connections to the database are in use. Nothing was changed; try again in a moment."
        ) from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise DatabaseUnavailable(
                "The connection to the database was lost. Try again in a moment."
            ) from error
        raise


def _server(url: str) -> Engine:
    """Whoever asks learns in seconds that the server does not answer, and not after the minutes that TCP takes."""
    waits = {"connect_timeout": CONNECT_SECONDS, "keepalives_idle": 10, "keepalives_interval": 5}
    return create_engine(
        url,
        pool_pre_ping=True,
        pool_size=10,
        max_overflow=20,
        pool_timeout=POOL_SECONDS,
        connect_args=waits,
        hide_parameters=True,
    )


def _sqlite(url: str) -> Engine:
    path = make_url(url).database
    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        connect_args={"timeout": SQLITE_BUSY_MS / 1000},
        pool_size=20,
        max_overflow=30,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def configure(connection: DBAPIConnection, _record: object) -> None:
        connection.isolation_level = None  # SQLAlchemy says BEGIN itself, below
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "secure_delete=ON",  # what is deleted is overwritten, and not only forgotten
            f"busy_timeout={SQLITE_BUSY_MS}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        durable = options.get("ibid_durable", True)
        if connection.info.get("durable", True) != durable:
            connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            connection.info["durable"] = durable
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("ibid_write", False) else "BEGIN")

    return engine
