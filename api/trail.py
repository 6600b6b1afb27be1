"""The audit trail of reads, which do not wait for whoever writes to the database.

SQLite lets in one writer at a time, and beside an ingestion a search waited 40 to 240 ms until its row was written. There
a row goes into a file first, before the reply goes out, so that a killed process loses none; from the file it goes into
the table, once. Only a machine that loses its power may lose those of the last moments. The writers of a database server
do not wait for one another: there it goes straight into the table.
"""

import json
import logging
import os
import threading
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.dialects.sqlite import insert

from ibid import audit
from ibid.audit import Who
from ibid.db.session import Database, DatabaseUnavailable
from ibid.db.tables import Audit
from ibid.errors import Unavailable

OFTEN = 500
"""Rows after which the file is taken into the table, if nobody asked for the trail before."""

log = logging.getLogger(__name__)


class TrailUnwritable(Unavailable):
    """What is read cannot be written down, so it is not shown."""

    code = "trail_unwritable"


class Trail:
    """Where reads are noted. One for each data directory, which has one process that serves it."""

    def __init__(self, db: Database, folder: Path) -> None:
        self._db = db
        self._file = folder / "reads.jsonl"
        self._taken = folder / "reads.taken.jsonl"
        self._writing = threading.Lock()
        self._settling = threading.Lock()
        self._noted = 0

    def note(self, who: Who, action: str, resource: str, detail: Mapping[str, Any]) -> None:
        """Keep a row, before what it tells of is shown; raises `TrailUnwritable`."""
        row = audit.row(who, action, resource, detail)
        if not self._db.sqlite:
            with self._db.begin() as session:
                session.add(row)
            return
        self._append(row)
        if self._noted % OFTEN == 0:
            try:
                self.settle()
            except DatabaseUnavailable as error:
                log.warning("reads are not in the audit table yet: %s", error.message)

    def settle(self) -> None:
        """Take into the table what is noted so far, also by a process that was killed."""
        with self._settling:
            self._take_in()
            with self._writing:
                if not self._file.exists():
                    return
                self._file.rename(self._taken)
            self._take_in()

    def _append(self, row: Audit) -> None:
        """With a line's end before it: should a full disk have torn the line before, this one is whole."""
        line = b"\n" + json.dumps(_values(row)).encode()
        try:
            with self._writing:
                file = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
                try:
                    whole = os.write(file, line) == len(line)
                finally:
                    os.close(file)
                self._noted += 1
        except OSError as error:
            raise TrailUnwritable(_UNWRITABLE) from error
        if not whole:
            raise TrailUnwritable(_UNWRITABLE)

    def _take_in(self) -> None:
        """Rows that a killed process took in and did not remove are there already."""
        if not self._taken.exists():
            return
        rows = [row for line in self._taken.read_bytes().splitlines() if (row := _read(line)) is not None]
        if rows:
            with self._db.begin() as session:
                session.execute(insert(Audit).on_conflict_do_nothing(), rows)
        self._taken.unlink()


_UNWRITABLE = (
    "What is read cannot be written into the audit trail. Make room in the data directory, and ask again."
)


def _values(row: Audit) -> dict[str, Any]:
    return {column.name: getattr(row, column.name) for column in Audit.__table__.columns} | {
        "at": row.at.isoformat()
    }


def _read(line: bytes) -> dict[str, Any] | None:
    """A row's values; None for an empty line, and for one that was torn, whose reader was refused."""
    if not line.strip():
        return None
    try:
        values: dict[str, Any] = json.loads(line)
        return values | {"at": datetime.fromisoformat(values["at"])}
    except (ValueError, KeyError):
        log.warning("a torn line of the audit trail was left out")
        return None
