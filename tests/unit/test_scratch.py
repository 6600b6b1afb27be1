"""Folders for copies of documents: gone with their process, whatever becomes of it."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ingest import scratch

KILLED = "import os, signal; from ingest import scratch; made = scratch.make(); (made.path / 'document').write_text('x')"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_is_gone_after_its_block(temporary: Path) -> None:
    with scratch.folder() as folder:
        (folder / "document").write_text("x")
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list(temporary.iterdir()) == []


def test_of_a_killed_process_is_removed_by_another(temporary: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", f"{KILLED}; os.kill(os.getpid(), signal.SIGKILL)"],
        env={"TMPDIR": str(temporary), "PYTHONPATH": str(Path.cwd())},
        check=False,
    )
    assert killed.returncode == -9
    (left,) = temporary.iterdir()
    assert (left / "document").exists()
    assert scratch.tidy() == 0  # so young that its owner may be about to lock it
    assert scratch.tidy(young=0) == 1
    assert not left.exists()


def test_of_a_living_process_and_other_folders_stay(temporary: Path) -> None:
    (temporary / "other").mkdir()
    (temporary / f"{scratch.PREFIX}link").symlink_to(temporary / "other")
    with scratch.folder() as folder:
        assert scratch.tidy(young=0) == 0
        assert folder.exists()
    assert (temporary / "other").exists()
