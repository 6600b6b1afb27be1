"""Reads in the audit trail: noted beside any writer, kept whatever happens, and each once in the table."""

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select, text

from api.trail import OFTEN, Trail, TrailUnwritable
from ibid.audit import Who
from ibid.db.session import Database
from ibid.db.tables import Audit

WHO = Who("key_1", "user:änn", "req_1")


@pytest.fixture
def trail(db: Database, tmp_path: Path) -> Trail:
    return Trail(db, tmp_path)


def resources(db: Database) -> list[str]:
    with db.read() as session:
        return sorted(session.scalars(select(Audit.resource)))


def note(trail: Trail, resource: str = "col_1") -> None:
    trail.note(WHO, "search", resource, {"hits": 2, "documents": ["doc_ä"]})


def test_a_read_is_noted_while_somebody_writes(db: Database, trail: Trail) -> None:
    with db.begin() as session:
        session.execute(text("DELETE FROM audit"))
        note(trail)  # would wait for this very transaction
    assert resources(db) == []
    trail.settle()
    with db.read() as session:
        (row,) = session.scalars(select(Audit))
    assert (row.key_id, row.actor, row.request_id) == ("key_1", "user:änn", "req_1")
    assert (row.action, row.resource, row.detail) == ("search", "col_1", {"hits": 2, "documents": ["doc_ä"]})
    assert row.at.tzinfo is not None


def test_nothing_is_left_when_all_is_in_the_table(trail: Trail, tmp_path: Path) -> None:
    note(trail)
    trail.settle()
    trail.settle()
    assert list(tmp_path.glob("*.jsonl")) == []


def _note_and_die(url: str, folder: Path) -> None:
    note(Trail(Database(url), folder))
    os._exit(9)


def test_a_killed_process_loses_none(db: Database, trail: Trail, tmp_path: Path) -> None:
    url = db.engine.url.render_as_string(hide_password=False)
    dying = multiprocessing.get_context("spawn").Process(target=_note_and_die, args=(url, tmp_path))
    dying.start()
    dying.join()
    assert dying.exitcode == 9
    trail.settle()
    assert resources(db) == ["col_1"]


def test_killed_between_table_and_file_a_row_is_there_once(
    db: Database, trail: Trail, tmp_path: Path
) -> None:
    note(trail, "first")
    lines = (tmp_path / "reads.jsonl").read_bytes()
    trail.settle()
    (tmp_path / "reads.taken.jsonl").write_bytes(lines)
    note(trail, "second")
    trail.settle()
    assert resources(db) == ["first", "second"]


def test_a_torn_line_costs_nothing_but_itself(
    db: Database, trail: Trail, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    note(trail, "before")
    with (tmp_path / "reads.jsonl").open("ab") as file:
        file.write(b'\n{"id": "aud_torn", "a')
    note(trail, "after")
    trail.settle()
    assert resources(db) == ["after", "before"]
    assert "torn" in caplog.text


def test_what_cannot_be_noted_is_refused(db: Database, tmp_path: Path) -> None:
    with pytest.raises(TrailUnwritable):
        note(Trail(db, tmp_path / "not a folder"))


def test_many_threads_and_one_that_settles(db: Database, trail: Trail) -> None:
    with ThreadPoolExecutor(8) as pool:
        noted = [pool.submit(note, trail, f"{number:04}") for number in range(300)]
        settled = [pool.submit(trail.settle) for _ in range(20)]
        for each in (*noted, *settled):
            each.result()
    trail.settle()
    assert resources(db) == [f"{number:04}" for number in range(300)]


def test_the_file_does_not_grow_for_ever(db: Database, trail: Trail, tmp_path: Path) -> None:
    for number in range(OFTEN + 1):
        note(trail, f"{number:04}")
    assert len(resources(db)) == OFTEN
    assert (tmp_path / "reads.jsonl").read_bytes().count(b"\n") == 1
