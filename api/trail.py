"""The audit trail of reads, which do not wait for whoever writes to the database.

SQLite lets in one writer at a time, and beside an ingestion a search waited 40 to 240 ms until its row was written. There
a row goes into a file first, before the reply goes out, so that a killed process loses none; from the file it goes into
the table, once. Only a machine that loses its power may lose those of the last moments. The writers of a database server
do not wait for one another: there it goes straight into the table.
"""

import fcntl
import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from ibid import audit
from ibid.audit import Who
from ibid.clock import new_id
from ibid.db.session import Database, insert_missing
from ibid.db.tables import Audit
from ibid.errors import IbidError, Unavailable

OFTEN = 500
"""Rows after which the file is taken into the table, if nobody asked for the trail before."""

log = logging.getLogger(__name__)


class TrailUnwritable(Unavailable):
    """What is read cannot be written down, so it is not shown."""

    code = "trail_unwritable"


class Trail:
    """Where reads are noted, by whoever serves this data directory."""

    def __init__(self, db: Database, folder: Path) -> None:
        self._db = db
        self._folder = folder
        self._file = folder / "reads.jsonl"
        self._noted = count(1)

    def note(self, who: Who, action: str, resource: str, detail: Mapping[str, Any]) -> None:
        """Keep a row, before what it tells of is shown; raises `TrailUnwritable`."""
        row = audit.row(who, action, resource, detail)
        if not self._db.sqlite:
            with self._db.begin() as session:
                session.add(row)
            return
        try:
            self._append(row)
        except OSError as error:
            log.warning("a read cannot be noted: %s", error)
            raise TrailUnwritable(
                "What is read cannot be written into the audit trail, so it is not shown. Look at the data directory."
            ) from error
        if next(self._noted) % OFTEN == 0:
            threading.Thread(target=self.settle_if_possible, name="trail", daemon=True).start()

    def settle(self) -> None:
        """Take into the table what is noted so far, also by a process that was killed.

        Waits for whoever writes to the database; raises `DatabaseUnavailable`.
        """
        if self._file.exists():
            with self._alone():
                if self._file.exists():
                    self._file.rename(self._folder / f"reads.{new_id('taken')}.jsonl")
        for taken in sorted(self._folder.glob("reads.taken_*.jsonl")):
            self._take_in(taken)

    def settle_if_possible(self) -> None:
        """The same for those whom nobody hears: what cannot be taken in now is taken in later."""
        try:
            self.settle()
        except (IbidError, OSError) as error:
            log.warning("reads are not in the audit table yet: %s", error)

    def _append(self, row: Audit) -> None:
        """On a line of its own, also behind one that a full disk has torn."""
        line = b"\n" + json.dumps(_values(row)).encode() + b"\n"
        with self._alone():
            file = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                if os.write(file, line) != len(line):
                    raise OSError("the disk is full")
            finally:
                os.close(file)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other thread or process writes into the file or takes it away, in the block."""
        lock = os.open(self._folder / "reads.lock", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _take_in(self, taken: Path) -> None:
        """Rows that a killed process took in and did not remove are there already, and so are those of another."""
        try:
            lines = taken.read_bytes().splitlines()
        except FileNotFoundError:
            return
        rows = [row for line in lines if (row := _read(line)) is not None]
        with self._db.begin() as session:
            insert_missing(session, Audit, rows)
        taken.unlink(missing_ok=True)


_COLUMNS = frozenset(column.name for column in Audit.__table__.columns)


def _values(row: Audit) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _COLUMNS} | {"at": row.at.isoformat()}


def _read(line: bytes) -> dict[str, Any] | None:
    """A row's values; None for an empty line, and for one that is no row: it was torn, and its reader refused."""
    if not line.strip(b"\0 "):
        return None
    try:
        values: dict[str, Any] = json.loads(line)
        if values.keys() == _COLUMNS:
            return values | {"at": datetime.fromisoformat(values["at"])}
    except (ValueError, AttributeError, TypeError):
        pass
    log.error("no row of the audit trail: %s", line[:1000].decode(errors="replace"))
    return None
