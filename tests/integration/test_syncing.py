"""`ibid sync` as people use it: a process of its own against a real server."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pdfs import Sheet, Words, damaged, make_pdf
from tests.running import ADMIN_KEY, Server, command, serving

pytestmark = pytest.mark.slow

QUICK = {"IBID_EMBEDDER": "hashing", "IBID_SAMPLE": "false"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), **QUICK) as running:
        yield running


class Mirror:
    """A folder and the collection that mirrors it."""

    def __init__(self, server: Server, folder: Path, collection: str) -> None:
        self.server, self.folder, self.collection = server, folder, collection
        folder.mkdir()

    def write(self, **texts: str) -> None:
        for name, text in texts.items():
            path = self.folder / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".txt").write_text(text)

    def sync(self, *options: str) -> tuple[int, str]:
        """Exit status and everything printed."""
        done = command(
            "sync", str(self.folder), "-c", self.collection, *options,
            IBID_URL=self.server.url, IBID_API_KEY=ADMIN_KEY,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def documents(self) -> dict[str, int]:
        """The number of the newest version of each, by its external id, or by its name and that it is one."""
        with self.server.client() as client:
            listed = client.get(f"/v1/collections/{self.collection}/documents", params={"limit": 200}).json()
        return {each["external_id"] or f"name:{each['name']}": each["version"] for each in listed["data"]}

    def ingest_count(self) -> int:
        """How many jobs of uploading there ever were."""
        with self.server.client() as client:
            jobs = client.get("/v1/jobs", params={"limit": 200}).json()["data"]
        return sum(job["kind"] == "ingest" for job in jobs)


@pytest.fixture
def mirror(server: Server, tmp_path: Path, request: pytest.FixtureRequest) -> Mirror:
    return Mirror(server, tmp_path / "papers", re.sub(r"[^a-z]", "-", request.node.name.lower()))


class TestMirroring:
    def test_what_is_read_only_in_part_is_told_and_is_no_failure(self, mirror: Mirror) -> None:
        sheets = [Sheet([Words(72, 700, text)]) for text in ("The gate is shut.", "The gate is open.")]
        (mirror.folder / "gate.pdf").write_bytes(damaged(make_pdf(sheets), 2))
        status, printed = mirror.sync()
        assert status == 0, printed
        assert "Page 2 could not be read" in printed
        assert "1 was read only in part" in printed

    def test_adds_changes_and_removes(self, mirror: Mirror) -> None:
        mirror.write(a="One.", deep__b="Two.", c="Three.")
        status, printed = mirror.sync()
        assert (status, mirror.documents()) == (0, {"a.txt": 1, "deep/b.txt": 1, "c.txt": 1}), printed
        assert "3 created" in printed
        assert "3 succeeded" in printed
        mirror.write(a="One, changed.")
        (mirror.folder / "c.txt").unlink()
        status, printed = mirror.sync()
        assert (status, mirror.documents()) == (0, {"a.txt": 2, "deep/b.txt": 1}), printed
        assert "1 updated  1 deleted  1 unchanged" in printed

    def test_again_uploads_nothing(self, mirror: Mirror) -> None:
        mirror.write(a="One.", b="Two.")
        mirror.sync()
        before = mirror.ingest_count()
        status, printed = mirror.sync()
        assert status == 0
        assert printed.splitlines()[-1].strip() == "2 unchanged"
        assert "created" not in printed
        assert mirror.ingest_count() == before

    def test_dry_run_changes_nothing(self, mirror: Mirror) -> None:
        mirror.write(a="One.", b="Two.")
        mirror.sync()
        mirror.write(a="Changed.", c="New.")
        (mirror.folder / "b.txt").unlink()
        status, printed = mirror.sync("--dry-run")
        assert status == 0
        assert {"add c.txt", "change a.txt", "delete b.txt"} <= set(printed.splitlines())
        assert mirror.documents() == {"a.txt": 1, "b.txt": 1}

    def test_dry_run_makes_no_collection(self, mirror: Mirror) -> None:
        mirror.write(a="One.")
        assert "1 to add" in mirror.sync("--dry-run")[1]
        with mirror.server.client() as client:
            assert client.get(f"/v1/collections/{mirror.collection}").status_code == 404

    def test_prefix_keeps_two_folders_apart(self, mirror: Mirror, server: Server, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        other = Mirror(server, tmp_path / "other" / "papers", mirror.collection)
        mirror.write(a="One.", b="Two.")
        other.write(a="Other.")
        mirror.sync("--prefix", "first/")
        other.sync("--prefix", "second/")
        (mirror.folder / "b.txt").unlink()
        mirror.sync("--prefix", "first/")
        assert mirror.documents() == {"first/a.txt": 1, "second/a.txt": 1}

    def test_what_failed_is_told_and_tried_again(self, mirror: Mirror) -> None:
        mirror.write(a="One.")
        (mirror.folder / "broken.pdf").write_bytes(b"%PDF-1.7 and nothing else")
        for _ in range(2):
            status, printed = mirror.sync()
            assert status == 1
            assert "1 failed" in printed
            assert "broken.pdf: " in printed
        assert "1 unchanged" in printed


class TestRemoving:
    def test_only_what_sync_made(self, mirror: Mirror) -> None:
        mirror.write(a="One.")
        mirror.sync()
        with mirror.server.client() as client:
            path = f"/v1/collections/{mirror.collection}/documents"
            assert client.post(path, json={"name": "mine.txt", "text": "By hand."}).status_code == 202
        mirror.write(mine="By sync.")
        mirror.sync()
        assert mirror.documents() == {"a.txt": 1, "mine.txt": 1, "name:mine.txt": 1}
        (mirror.folder / "mine.txt").unlink()
        (mirror.folder / "a.txt").rename(mirror.folder / "z.txt")
        mirror.sync()
        assert mirror.documents() == {"z.txt": 1, "name:mine.txt": 1}

    def test_too_many_stop_it_before_it_changes_anything(self, mirror: Mirror) -> None:
        mirror.write(**{f"file{n}": f"Number {n}." for n in range(12)})
        mirror.sync()
        before = mirror.documents()
        for n in range(11):
            (mirror.folder / f"file{n}.txt").unlink()
        mirror.write(new="New.")
        status, printed = mirror.sync()
        assert status == 1
        assert "too_many_deletes: 11 of 12 documents" in printed
        assert mirror.sync("--max-delete", "90%")[0] == 1
        assert mirror.documents() == before
        assert mirror.sync("--max-delete", "11")[0] == 0
        assert mirror.documents() == {"file11.txt": 1, "new.txt": 1}

    def test_an_empty_folder_deletes_nothing_unless_told(self, mirror: Mirror) -> None:
        mirror.write(a="One.")
        mirror.sync()
        (mirror.folder / "a.txt").unlink()
        assert "too_many_deletes: " in mirror.sync()[1]
        assert mirror.documents() == {"a.txt": 1}
        assert mirror.sync("--max-delete", "100%")[0] == 0
        assert mirror.documents() == {}

    def test_limit_that_is_none(self, mirror: Mirror) -> None:
        mirror.write(a="One.")
        assert "bad_max_delete: " in mirror.sync("--max-delete", "a few")[1]


class TestSkipping:
    def test_hidden_unsupported_and_what_leads_out(self, mirror: Mirror, tmp_path: Path) -> None:
        (tmp_path / "secret.txt").write_text("Outside.")
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "more.txt").write_text("Outside, too.")
        mirror.write(a="One.")
        (mirror.folder / ".hidden.txt").write_text("Hidden.")
        (mirror.folder / ".git").mkdir()
        (mirror.folder / ".git" / "x.txt").write_text("Hidden, too.")
        (mirror.folder / "film.xyz").write_text("What is this?")
        (mirror.folder / "out.txt").symlink_to(tmp_path / "secret.txt")
        (mirror.folder / "within.txt").symlink_to("a.txt")
        (mirror.folder / "loop.txt").symlink_to("loop.txt")
        (mirror.folder / "all").symlink_to(tmp_path / "outside")
        status, printed = mirror.sync()
        assert (status, mirror.documents()) == (0, {"a.txt": 1, "within.txt": 1}), printed
        for told in (
            "film.xyz: its type",
            "out.txt: it is a link",
            "loop.txt: it is no",
            "all: it is a link",
        ):
            assert f"skipped {told}" in printed
        assert "hidden" not in printed

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
    def test_a_folder_that_cannot_be_listed_stops_it(self, mirror: Mirror) -> None:
        mirror.write(deep__a="One.")
        mirror.sync()
        (mirror.folder / "deep").chmod(0)
        try:
            assert "folder_unreadable: " in mirror.sync()[1]
        finally:
            (mirror.folder / "deep").chmod(0o700)
        assert mirror.documents() == {"deep/a.txt": 1}
