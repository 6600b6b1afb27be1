"""The command line as people use it: a process of its own, against a real server, or without one."""

import json
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pdfs import Sheet, Words, damaged, make_pdf
from tests.running import ADMIN_KEY, Server, command, serving
from tests.services import postgres_database
from tests.site import Page, serving_pages
from tests.unit.test_archives import zipped

pytestmark = pytest.mark.slow

BORROWING = "A member may borrow twelve books at a time. A book may be kept for four weeks."
OPENING = "The reading room opens at nine in the morning. It closes at six in the evening."
QUESTION = "How many books may a member borrow at a time?"
# What is asked here does not depend on what the vectors mean; this encoder needs no seconds to load.
QUICK = {"IBID_EMBEDDER": "hashing", "IBID_SAMPLE": "false"}


class Shell:
    """Commands that are told where the server is."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def __call__(self, *arguments: str, key: str = ADMIN_KEY) -> subprocess.CompletedProcess[str]:
        return command(*arguments, IBID_URL=self.server.url, IBID_API_KEY=key)

    def fine(self, *arguments: str, key: str = ADMIN_KEY) -> str:
        done = self(*arguments, key=key)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def half_a_pdf() -> bytes:
    """A PDF whose second page cannot be read."""
    sheets = [Sheet([Words(72, 700, text)]) for text in (BORROWING, OPENING)]
    return damaged(make_pdf(sheets), 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of one name in subfolders, and one at the top."""
    top = tmp_path_factory.mktemp("documents") / "handbook"
    for name, text in {
        "a/README.md": BORROWING,
        "b/README.md": OPENING,
        "top.txt": "A lost card costs two coins.",
    }.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return top


@pytest.fixture(scope="module")
def ibid(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Shell]:
    """A server that has read the folder."""
    with serving(tmp_path_factory.mktemp("server"), **QUICK) as server:
        shell = Shell(server)
        shell.fine("ingest", str(folder), "--collection", "handbook")
        yield shell


class TestFit:
    def test_few_questions_are_reported_and_change_nothing(self, ibid: Shell, tmp_path: Path) -> None:
        with ibid.server.client() as client:
            documents = client.get("/v1/collections/handbook/documents").json()["data"]
        asked = [{"query": QUESTION, "document_id": each["id"]} for each in documents]
        questions = tmp_path / "questions.jsonl"
        questions.write_text("\n".join(map(json.dumps, asked)))
        printed = " ".join(ibid.fine("fit", "handbook", "--questions", str(questions)).split())
        assert "There is 1 question" in printed
        assert "dense_weight 0.5, nearby_weight 0.3: not_adopted" in printed
        report = json.loads(ibid.fine("fit", "handbook", "--json"))["report"]
        assert (report["source"], report["adopted"]) == ("generated", False)

    def test_what_cannot_be_is_said(self, ibid: Shell, tmp_path: Path) -> None:
        refused = ibid("fit", "handbook", "--rollback")
        assert refused.returncode == 1
        assert "nothing to roll back" in refused.stdout + refused.stderr
        questions = tmp_path / "questions.jsonl"
        questions.write_text('{"query": "a"}\n[]\n')
        refused = ibid("fit", "handbook", "--questions", str(questions))
        assert "line 2 is not an object" in " ".join((refused.stdout + refused.stderr).split())
        refused = ibid("fit", "handbook", "--rollback", "--questions", str(questions))
        assert refused.returncode == 2
        assert "takes no questions" in refused.stderr


class TestIngest:
    def test_same_names_in_subfolders_are_two_documents(self, ibid: Shell) -> None:
        with ibid.server.client() as client:
            documents = client.get("/v1/collections/handbook/documents").json()["data"]
        assert {(d["name"], d["external_id"], d["version"]) for d in documents} == {
            ("README.md", "a/README.md", 1),
            ("README.md", "b/README.md", 1),
            ("top.txt", None, 1),
        }

    def test_again_changes_nothing(self, ibid: Shell, folder: Path) -> None:
        assert "3 unchanged" in ibid.fine("ingest", str(folder), "--collection", "handbook")

    def test_refused_file_is_named_by_its_path(self, ibid: Shell, tmp_path: Path) -> None:
        (tmp_path / "deep").mkdir()
        (tmp_path / "deep" / "empty.txt").touch()
        done = ibid("ingest", str(tmp_path), "--collection", "refused")
        assert done.returncode == 1
        assert "1 rejected" in done.stdout
        assert "deep/empty.txt: " in done.stdout
        assert "[empty_file]" in done.stdout

    def test_what_is_missing_of_a_damaged_pdf_is_told(self, ibid: Shell, tmp_path: Path) -> None:
        (tmp_path / "rules.pdf").write_bytes(half_a_pdf())
        done = ibid("ingest", str(tmp_path), "--collection", "damaged")
        assert done.returncode == 0
        assert "1 partially_succeeded" in done.stdout
        assert "rules.pdf: Page 2 could not be read" in done.stdout
        assert "1 was read only in part" in done.stdout

    def test_nothing_supported(self, ibid: Shell, tmp_path: Path) -> None:
        done = ibid("ingest", str(tmp_path))
        assert done.returncode == 1
        assert done.stderr.startswith("nothing_to_ingest: ")


class TestUnpack:
    def test_files_become_documents_that_are_waited_for(self, ibid: Shell, tmp_path: Path) -> None:
        files = [("a/README.md", BORROWING.encode()), ("b/README.md", OPENING.encode())]
        (tmp_path / "handbook.zip").write_bytes(zipped(*files))
        done = ibid.fine("ingest", str(tmp_path), "--unpack", "--collection", "unpacked")
        assert "2 unpacked" in done
        assert "3 succeeded" in done  # the archive and both files
        assert OPENING in ibid.fine("search", "reading room opens", "-c", "unpacked")

    def test_refused_files_are_named(self, ibid: Shell, tmp_path: Path) -> None:
        archive = tmp_path / "mixed.zip"
        archive.write_bytes(zipped(("ok.txt", BORROWING.encode()), ("f/movie.mp4", b"x")))
        done = ibid("ingest", str(archive), "--unpack", "--collection", "mixed")
        assert done.returncode == 1
        assert "mixed.zip: f/movie.mp4: " in done.stdout
        assert "[unsupported_type]" in done.stdout

    def test_only_if_asked(self, ibid: Shell, tmp_path: Path) -> None:
        archive = tmp_path / "a.zip"
        archive.write_bytes(zipped(("ok.txt", b"x")))
        done = ibid("ingest", str(archive), "--collection", "unasked")
        assert done.returncode == 1
        assert "--unpack" in done.stdout


class TestAsk:
    def test_json_is_the_stored_answer(self, ibid: Shell) -> None:
        printed = json.loads(ibid.fine("ask", QUESTION, "-c", "handbook", "--json"))
        with ibid.server.client() as client:
            assert client.get(f"/v1/answers/{printed['id']}").json() == printed
        assert printed["status"] == "completed"

    def test_quote_stands_below(self, ibid: Shell) -> None:
        printed = ibid.fine("ask", QUESTION, "-c", "handbook")
        assert "[1] README.md (version 1): “A member may borrow twelve books at a time.”" in printed

    def test_unknown_collection(self, ibid: Shell) -> None:
        done = ibid("ask", QUESTION, "-c", "nowhere")
        assert done.returncode == 1
        assert done.stderr.startswith("refused: ")
        assert "not_found]" in done.stderr


class TestSearch:
    def test_passages(self, ibid: Shell) -> None:
        assert OPENING in ibid.fine("search", "reading room opens", "-c", "handbook")

    def test_json_keeps_the_limit(self, ibid: Shell) -> None:
        found = json.loads(ibid.fine("search", "book", "-c", "handbook", "--limit", "1", "--json"))
        assert len(found["hits"]) == 1


class TestJobs:
    def test_list(self, ibid: Shell) -> None:
        jobs = json.loads(ibid.fine("jobs", "--state", "succeeded", "--json"))
        assert len(jobs) >= 3
        assert {job["state"] for job in jobs} == {"succeeded"}
        assert jobs[0]["id"] in ibid.fine("jobs")


@pytest.fixture(scope="module")
def rules(ibid: Shell, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The collection of a document with two versions, and of another document."""
    path = tmp_path_factory.mktemp("rules") / "rules.txt"
    for text in (BORROWING, BORROWING.replace("twelve", "fifteen")):
        path.write_text(f"{text}\n\n{OPENING}")
        ibid.fine("ingest", str(path), "-c", "rules")
    return "rules"


class TestVersions:
    def test_list(self, ibid: Shell, rules: str) -> None:
        listed = json.loads(ibid.fine("versions", "rules.txt", "-c", rules, "--json"))
        assert [version["number"] for version in listed] == [2, 1]
        printed = ibid.fine("versions", "rules.txt", "-c", rules)
        (live,) = (line for line in printed.splitlines() if "answers come from it" in line)
        assert "2" in live

    def test_diff_is_with_the_version_before(self, ibid: Shell, rules: str) -> None:
        printed = ibid.fine("diff", "rules.txt", "-c", rules).splitlines()
        assert printed == [f"- {BORROWING}", f"+ {BORROWING.replace('twelve', 'fifteen')}"]

    def test_diff_of_the_first_needs_another(self, ibid: Shell, rules: str) -> None:
        done = ibid("diff", "rules.txt", "1", "-c", rules)
        assert done.returncode == 1
        assert done.stderr.startswith("one_version: ")

    def test_restore(self, ibid: Shell, rules: str) -> None:
        printed = ibid.fine("restore", "rules.txt", "1", "-c", rules)
        assert "The content of version 1 is version 3 of rules.txt." in printed
        assert "are the same" in ibid.fine("diff", "rules.txt", "3", "1", "-c", rules)
        assert "already" in ibid.fine("restore", "rules.txt", "1", "-c", rules)
        assert "twelve books" in ibid.fine("search", "borrow books", "-c", rules)

    def test_restore_of_what_was_read_only_in_part(self, ibid: Shell, tmp_path: Path) -> None:
        document = tmp_path / "rules.pdf"
        for content in (half_a_pdf(), make_pdf([Sheet([Words(72, 700, OPENING)])])):
            document.write_bytes(content)
            ibid.fine("ingest", str(document), "--collection", "halves")
        printed = ibid.fine("restore", "rules.pdf", "1", "-c", "halves")
        assert "1 was read only in part" in printed

    def test_document_by_its_id_needs_no_collection(self, ibid: Shell, rules: str) -> None:
        with ibid.server.client() as client:
            (document,) = client.get(f"/v1/collections/{rules}/documents").json()["data"]
        assert "answers come from it" in ibid.fine("versions", document["id"])

    def test_external_id_tells_documents_of_one_name_apart(self, ibid: Shell) -> None:
        ibid.fine("versions", "a/README.md", "-c", "handbook")
        done = ibid("versions", "README.md", "-c", "handbook")
        assert done.returncode == 1
        assert done.stderr.startswith("which_document: ")

    def test_unknown_document(self, ibid: Shell, rules: str) -> None:
        done = ibid("restore", "nothing.txt", "1", "-c", rules)
        assert done.returncode == 1
        assert done.stderr.startswith("document_unknown: ")


class TestAdd:
    def test_only_where_it_is_allowed(self, ibid: Shell) -> None:
        done = ibid("add", "https://example.com/rules.txt", "-c", "addresses")
        assert done.returncode == 1
        assert "IBID_URL_INGESTION" in done.stderr

    def test_fetches_and_waits(self, tmp_path: Path) -> None:
        allowed = {"IBID_URL_INGESTION": "true", "IBID_URL_ALLOW_PRIVATE": "true"}
        with serving_pages() as site, serving(tmp_path, **QUICK, **allowed) as server:
            site.pages["/rules.txt"] = Page(OPENING.encode(), headers={"Content-Type": "text/plain"})
            ibid = Shell(server)
            assert "1 created" in ibid.fine("add", site.url("/rules.txt"), "-c", "fetched")
            assert OPENING in ibid.fine("search", "reading room opens", "-c", "fetched")
            assert "1 unchanged" in ibid.fine("add", site.url("/rules.txt"), "-c", "fetched")
            gone = ibid("add", site.url("/gone.txt"), "-c", "fetched")
            assert gone.returncode == 1
            assert "status 404" in gone.stdout
            site.pages["/rules.pdf"] = Page(half_a_pdf())
            part = ibid("add", "https://me:secret@example.com/", site.url("/rules.pdf"), "-c", "fetched")
            assert part.returncode == 1
            assert "1 rejected" in part.stdout
            assert "1 partially_succeeded" in part.stdout
            assert "https://me:secret@example.com/: " in part.stdout
            site.pages["/half.pdf"] = Page(half_a_pdf())
            half = ibid.fine("add", site.url("/half.pdf"), "-c", "fetched")
            assert "1 was read only in part" in half


class TestVerify:
    def test_agrees(self, ibid: Shell) -> None:
        (generation,) = json.loads(ibid.fine("verify", "-c", "handbook", "--json"))["generations"]
        assert generation["chunks"] == generation["points"] > 0
        assert (generation["orphans"], generation["gaps"], generation["stale"]) == (0, 0, 0)

    def test_everything(self, ibid: Shell) -> None:
        left_over = json.loads(ibid.fine("verify", "--json"))["left_over"]
        assert left_over.pop("repaired") is False
        assert set(left_over.values()) == {0}


class TestKeys:
    def test_create_list_revoke(self, ibid: Shell) -> None:
        key_id, _, text, *_ = ibid.fine("keys", "create", "reading room", "-c", "handbook").split()
        assert "A member may borrow" in ibid.fine("search", "borrow", "-c", "handbook", key=text)
        assert key_id in ibid.fine("keys", "list")
        ibid.fine("keys", "revoke", key_id)
        (listed,) = (k for k in json.loads(ibid.fine("keys", "list", "--json")) if k["id"] == key_id)
        assert listed["revoked_at"] is not None
        assert text not in json.dumps(listed)
        assert ibid("search", "borrow", "-c", "handbook", key=text).returncode == 1

    def test_list_goes_past_the_first_page(self, ibid: Shell) -> None:
        with ibid.server.client() as client:
            made = {
                client.post("/v1/api-keys", json={"name": f"key {n}", "role": "reader"}).json()["id"]
                for n in range(60)
            }
        assert made <= {key["id"] for key in json.loads(ibid.fine("keys", "list", "--json"))}


class TestSettings:
    @pytest.mark.parametrize("name", ["jobs", "serve", "worker", "doctor"])
    def test_invalid_is_a_sentence_for_each(self, name: str) -> None:
        done = command(name, IBID_PORT="abc", IBID_LEASE_SECONDS="soon")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        port, lease = done.stderr.splitlines()
        assert port.startswith("IBID_PORT: ")
        assert lease.startswith("IBID_LEASE_SECONDS: ")
        assert "abc" not in done.stderr

    @pytest.mark.parametrize("name", ["serve", "worker"])
    def test_layout_that_is_not_installed_is_told_at_the_start(self, tmp_path: Path, name: str) -> None:
        done = command(name, IBID_PDF_LAYOUT="hi_res", IBID_DATA_DIR=str(tmp_path / "data"))
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith("layout_missing: ")
        assert "ibid[hi-res]" in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "data").exists()

    def test_address_without_a_key(self) -> None:
        done = command("jobs", IBID_URL="http://127.0.0.1:9")
        assert done.returncode == 1
        assert done.stderr.startswith("server_unavailable: ")


class TestWorker:
    @pytest.mark.service
    def test_outdated_schema_is_a_sentence(self, tmp_path: Path) -> None:
        with postgres_database() as url:
            done = command("worker", IBID_DATABASE_URL=url, IBID_DATA_DIR=str(tmp_path))
        assert done.returncode == 1
        assert done.stderr.startswith("schema_outdated: ")
        assert "Traceback" not in done.stderr

    def test_unreachable_database_is_a_sentence(self, tmp_path: Path) -> None:
        url = "postgresql+psycopg://nobody@127.0.0.1:9/none"
        done = command("worker", IBID_DATABASE_URL=url, IBID_DATA_DIR=str(tmp_path))
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith("database_unavailable: ")
        assert "Traceback" not in done.stderr


class TestWithoutServer:
    def test_starts_a_private_one_for_itself(self, tmp_path: Path, folder: Path) -> None:
        data = tmp_path / "own"
        done = command("ingest", str(folder), IBID_DATA_DIR=str(data), **QUICK)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "3 succeeded" in done.stdout
        assert "Admin key" in (data / "command-server.log").read_text()
        assert mode(data) == 0o700
        assert mode(data / "command-server.log") == 0o600
        assert not (data / "cli-key").exists(), "its server was stopped in order, and put its key away"
        assert {path.name for path in data.rglob("*") if mode(path) & 0o077} == set()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)
