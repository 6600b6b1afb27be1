"""Reads in the audit trail: noted beside any writer, kept whatever happens, and each once in the table."""

import multiprocessing
import os
import resource
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select, text

from api.trail import OFTEN, Trail, TrailUnwritable
from ibid.audit import Who
from ibid.db.session import Database, DatabaseUnavailable
from ibid.db.tables import Audit
from tests.running import eventually

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


@pytest.mark.parametrize("in_the_table", [False, True], ids=["before the commit", "after the commit"])
def test_killed_while_rows_are_taken_in_each_is_there_once(
    db: Database, trail: Trail, tmp_path: Path, in_the_table: bool
) -> None:
    note(trail, "first")
    lines = (tmp_path / "reads.jsonl").read_bytes()
    if in_the_table:
        trail.settle()
    else:
        (tmp_path / "reads.jsonl").unlink()
    (tmp_path / "reads.taken_1.jsonl").write_bytes(lines)
    note(trail, "second")
    trail.settle()
    assert resources(db) == ["first", "second"]


@pytest.mark.parametrize(
    "line", [b'{"id": "aud_torn", "a', b"[1]", b'{"id": "aud_1"}', b"\0" * 100, b"\xff\xfe"]
)
def test_a_line_that_is_no_row_costs_nothing_but_itself(
    db: Database, trail: Trail, tmp_path: Path, line: bytes
) -> None:
    note(trail, "before")
    with (tmp_path / "reads.jsonl").open("ab") as file:
        file.write(line)
    note(trail, "after")
    trail.settle()
    assert resources(db) == ["after", "before"]


def test_what_cannot_be_noted_is_refused(db: Database, tmp_path: Path) -> None:
    with pytest.raises(TrailUnwritable):
        note(Trail(db, tmp_path / "not a folder"))


def test_what_a_full_disk_has_torn_is_refused(db: Database, trail: Trail, tmp_path: Path) -> None:
    note(trail, "before")
    size = (tmp_path / "reads.jsonl").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, before[1]))
        with pytest.raises(TrailUnwritable):
            note(trail, "torn")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    note(trail, "after")
    trail.settle()
    assert resources(db) == ["after", "before"]


def test_only_the_owner_may_read_it(trail: Trail, tmp_path: Path) -> None:
    note(trail)
    assert (tmp_path / "reads.jsonl").stat().st_mode & 0o077 == 0


def test_several_that_note_and_settle_on_one_folder(db: Database, tmp_path: Path) -> None:
    trails = [Trail(db, tmp_path), Trail(db, tmp_path)]
    with ThreadPoolExecutor(8) as pool:
        noted = [pool.submit(note, trails[number % 2], f"{number:04}") for number in range(400)]
        settled = [pool.submit(trails[number % 2].settle) for number in range(40)]
        for each in (*noted, *settled):
            each.result()
    trails[0].settle()
    assert resources(db) == [f"{number:04}" for number in range(400)]


def test_the_file_does_not_grow_for_ever(db: Database, trail: Trail) -> None:
    for number in range(OFTEN):
        note(trail, f"{number:04}")
    eventually(lambda: len(resources(db)) == OFTEN)


def test_nobody_is_stopped_by_a_table_that_cannot_be_written_now(
    db: Database, trail: Trail, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    note(trail)
    with db.begin() as session:
        session.execute(text("ALTER TABLE audit RENAME TO gone"))
    with pytest.raises(DatabaseUnavailable):
        trail.settle()
    trail.settle_if_possible()
    assert "not in the audit table yet" in caplog.text
    with db.begin() as session:
        session.execute(text("ALTER TABLE gone RENAME TO audit"))
    trail.settle()
    assert resources(db) == ["col_1"]
