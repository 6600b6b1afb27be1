"""`ibid doctor` as a process: what it finds, what it says to do, and that it waits for nothing and makes nothing."""

import json
from pathlib import Path

import pytest

from ibid.db import schema
from tests.running import ADMIN_KEY, command, free_port, serving

pytestmark = pytest.mark.slow
QUICK = {"IBID_EMBEDDER": "hashing"}


def doctor(data: Path, **environment: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """Its exit status, and the level and text of each finding by name."""
    done = command("doctor", **{"IBID_DATA_DIR": str(data), **QUICK, **environment})
    assert "Traceback" not in done.stderr, done.stderr
    rows = [
        [cell.strip() for cell in line.split("│")[1:4]] for line in done.stdout.splitlines() if "│" in line
    ]
    return done.returncode, {name: (level, text) for name, level, text in rows}


def test_nothing_is_wrong_and_nothing_is_made(tmp_path: Path) -> None:
    status, found = doctor(tmp_path / "data")
    assert status == 0
    assert {level for level, _ in found.values()} <= {"ok", "note"}
    assert found["parsers"][0] == "ok"
    assert found["models"] == ("ok", "extractive")
    assert found["server"] == ("note", "none runs here; `ibid serve` starts one")
    assert not (tmp_path / "data").exists()


def test_says_what_to_do_about_each_problem(tmp_path: Path) -> None:
    status, found = doctor(
        tmp_path,
        IBID_EMBEDER="x",
        IBID_DATABASE_URL="postgresql+psycopg://somebody:hidden-word@127.0.0.1:9/none",
        IBID_BROKER_URL="redis://127.0.0.1:9/0",
        IBID_QDRANT_URL="http://127.0.0.1:9",
        IBID_HOST="0.0.0.0",
        IBID_PDF_LAYOUT="hi_res",
    )
    assert status == 1
    problems = {name for name, (level, _) in found.items() if level == "problem"}
    assert problems == {"settings", "models", "database", "broker", "vectors", "pdf layout"}
    assert "ibid[hi-res]" in found["pdf layout"][1]
    assert "IBID_EMBEDER" in found["settings"][1]
    assert "IBID_BROKER_URL" in found["broker"][1]
    assert found["address"][0] == "note"
    assert "hidden-word" not in str(found)


def test_server_that_left_without_a_word(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    (tmp_path / "cli-key").write_text(json.dumps({"url": url, "key": "k"}))
    status, found = doctor(tmp_path)
    assert (status, found["server"]) == (0, ("note", f"none answers at {url}; `ibid serve` starts one"))


def test_server_that_runs(tmp_path: Path) -> None:
    with serving(tmp_path, **QUICK) as server:
        status, found = doctor(tmp_path / "data", IBID_ADMIN_KEY=ADMIN_KEY)
    assert (status, found["server"]) == (0, ("ok", f"ready at {server.url}"))
    assert found["database"][1].endswith(f"schema {schema.head()}")
    assert "IBID_ADMIN_KEY" in found["settings"][1]
    assert ADMIN_KEY not in str(found)
