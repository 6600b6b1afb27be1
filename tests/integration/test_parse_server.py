import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ibid.errors import IbidError
from ibid.settings import Settings
from ibid.types import Parsed
from ingest.parsing.client import ParseServer
from ingest.parsing.errors import (
    Encrypted,
    NoText,
    OutOfMemory,
    ParserDied,
    ParsersKilled,
    TimedOut,
    Unreadable,
)
from ingest.parsing.languages import with_languages
from ingest.parsing.pdf import PdfParser
from tests.pdfs import LOCKED, Sheet, Words, make_pdf
from tests.running import eventually

PDF = "application/pdf"
PAGE = Sheet(
    [Words(72, 700 - 14 * row, f"Words of row {row} of a page that has some of them.") for row in range(40)]
)


@pytest.fixture(scope="module")
def server() -> Iterator[ParseServer]:
    made = ParseServer(Settings())
    yield made
    made.close()


@pytest.fixture
def limited() -> Iterator[type[ParseServer]]:
    """Servers with limits of their own, closed at the end."""
    made: list[ParseServer] = []

    def start(**limits: float) -> ParseServer:
        made.append(ParseServer(Settings(**limits)))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    path = tmp_path / "small.pdf"
    path.write_bytes(make_pdf([PAGE]))
    return path


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that takes seconds."""
    path = tmp_path_factory.mktemp("endless") / "large.pdf"
    path.write_bytes(make_pdf([PAGE] * 3_000))
    return path


def outcome(server: ParseServer, path: Path, box: list[Parsed | IbidError]) -> None:
    try:
        box.append(server.parse(path, path.name, PDF))
    except IbidError as error:
        box.append(error)


def child_of(server: ParseServer) -> psutil.Process:
    return eventually(
        lambda: (
            server.pid is not None and psutil.pid_exists(server.pid) and psutil.Process(server.pid).children()
        ),
        what="a parse child",
    )[0]


class TestParse:
    def test_gives_what_the_parser_gives(self, server: ParseServer, pdf: Path):
        alone = PdfParser().parse(pdf, "small.pdf", PDF)
        assert server.parse(pdf, "small.pdf", PDF) == with_languages(alone)
        assert with_languages(alone).report.languages == ("en",)

    def test_looks_at_pages_where_text_may_be_hidden(self, server: ParseServer, tmp_path: Path):
        """The picture of a page is made in the confined child."""
        path = tmp_path / "white.pdf"
        path.write_bytes(make_pdf([Sheet(PAGE.words, over="1 g BT /F1 11 Tf 72 50 Td (Unseen) Tj ET")]))
        parsed = server.parse(path, path.name, PDF)
        assert parsed.report.hidden_characters == len("Unseen")
        assert parsed == with_languages(PdfParser().parse(path, path.name, PDF))

    def test_a_server_serves_many(self, server: ParseServer, pdf: Path):
        server.parse(pdf, "small.pdf", PDF)
        pid = server.pid
        server.parse(pdf, "small.pdf", PDF)
        assert server.pid == pid

    @pytest.mark.parametrize(
        ("data", "error"),
        [(b"%PDF-1.7", Unreadable), (make_pdf([PAGE], LOCKED), Encrypted), (make_pdf([Sheet()]), NoText)],
        ids=["broken", "locked", "blank"],
    )
    def test_errors_keep_their_class(
        self, server: ParseServer, tmp_path: Path, data: bytes, error: type[IbidError]
    ):
        path = tmp_path / "a.pdf"
        path.write_bytes(data)
        with pytest.raises(error, match=r"\. .+\.$"):
            server.parse(path, "a.pdf", PDF)

    def test_threads_share_it(self, server: ParseServer, pdf: Path):
        found: list[Parsed | IbidError] = []
        threads = [threading.Thread(target=outcome, args=(server, pdf, found)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len({one.text for one in found}) == 1

    def test_too_slow(self, limited, endless: Path, pdf: Path):
        server = limited(parse_seconds=0.5)
        with pytest.raises(TimedOut, match=r"0\.5 seconds"):
            server.parse(endless, "large.pdf", PDF)
        assert eventually(lambda: not psutil.Process(server.pid).children(), what="the end of the child")
        server.parse(pdf, "small.pdf", PDF)

    def test_too_large_for_its_memory(self, limited, tmp_path: Path, pdf: Path):
        server = limited(parse_memory_bytes=24 * 2**20)
        path = tmp_path / "large.txt"
        path.write_bytes(b"word " * 4_000_000)
        with pytest.raises(OutOfMemory, match="24 MB"):
            server.parse(path, "large.txt", "text/plain")
        assert server.parse(pdf, "small.pdf", PDF).text

    def test_a_child_that_is_killed(self, limited, endless: Path, pdf: Path):
        server = limited()
        found: list[Parsed | IbidError] = []
        thread = threading.Thread(target=outcome, args=(server, endless, found))
        thread.start()
        child_of(server).kill()
        thread.join()
        assert isinstance(found[0], ParserDied)
        assert "SIGKILL" in found[0].message
        assert server.parse(pdf, "small.pdf", PDF).text

    def test_a_server_that_is_killed_starts_again(self, limited, endless: Path, pdf: Path):
        server = limited()
        found: list[Parsed | IbidError] = []
        thread = threading.Thread(target=outcome, args=(server, endless, found))
        thread.start()
        child = child_of(server)
        os.kill(server.pid, signal.SIGKILL)
        thread.join()
        assert isinstance(found[0], ParsersKilled)
        assert server.parse(pdf, "small.pdf", PDF).text
        assert eventually(lambda: not child.is_running(), what="the end of the child")

    def test_leaves_no_files(self, limited, pdf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
        (tmp_path / "tmp").mkdir()
        server = limited()
        server.parse(pdf, "small.pdf", PDF)
        assert [list(path.iterdir()) for path in (tmp_path / "tmp").iterdir()] == [[]]
        server.close()
        assert list((tmp_path / "tmp").iterdir()) == []


class TestProcess:
    def test_knows_none_of_our_settings(self, limited, pdf: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("IBID_ADMIN_KEY", "secret")
        server = limited()
        server.parse(pdf, "small.pdf", PDF)
        environment = psutil.Process(server.pid).environ()
        assert not [name for name in environment if name.startswith("IBID")]
        assert "secret" not in environment.values()

    def test_keeps_torch_out_and_threads_down(self, server: ParseServer, tmp_path: Path):
        path = tmp_path / "a.html"
        path.write_text("<p>Some words.</p>")
        assert server.parse(path, "a.html", "text/html").text == "Some words."
        process = psutil.Process(server.pid)
        assert not [one.path for one in process.memory_maps() if "torch" in one.path]
        assert process.num_threads() == 1

    def test_has_no_network(self, server: ParseServer, pdf: Path):
        server.parse(pdf, "small.pdf", PDF)
        if not server.network_cut:
            pytest.skip("this system does not allow a process to cut itself off the network")
        assert Path(f"/proc/{server.pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()

    def test_ends_when_closed(self, pdf: Path):
        server = ParseServer(Settings())
        server.parse(pdf, "small.pdf", PDF)
        pid = server.pid
        server.close()
        assert server.pid is None
        assert not psutil.pid_exists(pid)

    def test_ends_when_its_client_is_killed(self, endless: Path):
        """Though a fork of the client still holds the socket open, and in the middle of a document."""
        ran = subprocess.Popen(
            [sys.executable, "-c", CLIENT, str(endless)], stdout=subprocess.PIPE, text=True
        )
        with ran:
            pid, sibling = map(int, ran.stdout.readline().split())
            server = psutil.Process(pid)
            child = eventually(server.children, what="a parse child")[0]
            ran.kill()
        try:
            assert eventually(lambda: not server.is_running(), what="the end of the server")
            assert eventually(lambda: not child.is_running(), what="the end of the child")
        finally:
            os.kill(sibling, signal.SIGKILL)


CLIENT = """
import os, signal, sys
from pathlib import Path
from ibid.settings import Settings
from ingest.parsing.client import ParseServer
path = Path(sys.argv[1])
small = path.with_name("few.html")
small.write_text("<p>Some words.</p>")
server = ParseServer(Settings())
server.parse(small, "few.html", "text/html")
sibling = os.fork()
if sibling == 0:
    os.close(1)
    signal.pause()
print(server.pid, sibling, flush=True)
server.parse(path, "large.pdf", "application/pdf")
"""
