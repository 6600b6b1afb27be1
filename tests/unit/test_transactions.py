"""Transactions on SQLite: which of them wait for the disk, and who else may write."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ibid.clock import now
from ibid.db.session import Database
from ibid.db.tables import Lease

NORMAL, FULL = 1, 2


def synchronous(session: Session) -> int:
    return int(session.execute(text("PRAGMA synchronous")).scalar_one())


class TestBegin:
    def test_waits_for_the_disk_unless_told_otherwise(self, db: Database) -> None:
        """Each takes the pool's one idle connection, so what one of them set must not stay."""
        for durable, expected in ((True, FULL), (False, NORMAL), (True, FULL)):
            with db.begin(durable=durable) as session:
                assert synchronous(session) == expected
        with db.begin() as session:
            assert synchronous(session) == FULL

    @pytest.mark.parametrize("durable", [True, False])
    def test_is_seen_by_all_once_committed_and_by_nobody_if_it_failed(
        self, db: Database, *, durable: bool
    ) -> None:
        with db.begin(durable=durable) as session:
            session.add(Lease(name="kept", owner="", until=now()))
        with pytest.raises(IntegrityError), db.begin(durable=durable) as session:
            session.add_all(Lease(name=name, owner="", until=now()) for name in ("dropped", "kept"))
        with db.read() as session:
            assert [row.name for row in session.query(Lease)] == ["kept"]
