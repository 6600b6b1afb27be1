"""Reads in the audit trail of a database server, where writers do not wait for one another."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, text

from api.trail import Trail
from ibid.audit import Who
from ibid.db.session import Database
from ibid.db.tables import Audit
from tests.services import postgres_tables

pytestmark = pytest.mark.service
WHO = Who("key_1", "user:ann", "req_1")


@pytest.fixture
def server() -> Iterator[Database]:
    with postgres_tables() as made:
        yield made


def resources(db: Database) -> list[str]:
    with db.read() as session:
        return sorted(session.scalars(select(Audit.resource)))


def test_a_read_is_in_the_table_at_once(server: Database, tmp_path: Path) -> None:
    with server.begin() as session:
        session.execute(text("DELETE FROM audit"))
        Trail(server, tmp_path / "no data directory").note(WHO, "search", "col_1", {})
    assert resources(server) == ["col_1"]


def test_what_was_noted_before_a_move_to_the_server_is_taken_in(
    server: Database, db: Database, tmp_path: Path
) -> None:
    Trail(db, tmp_path).note(WHO, "search", "before", {"hits": 1})
    trail = Trail(server, tmp_path)
    trail.settle()
    trail.settle()
    assert resources(server) == ["before"]
