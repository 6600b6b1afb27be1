"""Documents by address: a real site on loopback, real connections, and what must not be reached."""

import io
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from ibid import outbound
from ibid.db.tables import Arrival, Job
from ibid.links import BadUrl, parsed
from ibid.outbound import AddressRefused
from ingest.downloads import FetchFailed, FetchRefused, FetchTooLarge, Limits, download
from tests.door import LEAVE, Door, made
from tests.receiver import dripping
from tests.running import await_jobs, new_collection, serving
from tests.site import Page, Site, serving_pages

HTML = b"<html><body><p>Pump 7 runs at 9 bar.</p></body></html>"
SECRET = "zyzzogeton"


@pytest.fixture
def site() -> Iterator[Site]:
    with serving_pages() as one:
        yield one


@pytest.fixture(scope="module")
def fetching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """The API where addresses are fetched, those of this machine, too."""
    folder = tmp_path_factory.mktemp("fetching")
    with made(folder, url_ingestion=True, url_allow_private=True, max_upload_bytes=100_000) as door:
        door.collection("shared")
        yield door


@pytest.fixture(scope="module")
def public_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """The API where only public addresses are fetched."""
    with made(tmp_path_factory.mktemp("public"), url_ingestion=True) as door:
        yield door


def get(
    url: str, *, most: int = 100_000, seconds: float = 20.0, allow_private: bool = True
) -> tuple[bytes, str]:
    into = io.BytesIO()
    name = download(url, into, Limits(most, seconds, allow_private), lambda: None)
    return into.getvalue(), name


class TestName:
    @pytest.mark.parametrize(
        ("path", "headers", "name"),
        [
            ("/a/report.txt", {}, "report.txt"),
            ("/a/report%20one.txt?x=y.pdf", {}, "report one.txt"),
            ("/about", {"Content-Type": "text/html; charset=utf-8"}, "about.html"),
            ("/", {"Content-Type": "text/html"}, "127.0.0.1.html"),
            ("/index.php", {"Content-Type": "text/html"}, "index.php.html"),
            ("/notes", {"Content-Type": "text/plain"}, "notes.txt"),
            ("/notes.md", {"Content-Type": "text/plain"}, "notes.md"),
            ("/feed", {"Content-Type": "text/xml"}, "feed.xml"),
            ("/report.pdf", {"Content-Type": "application/octet-stream"}, "report.pdf"),
            ("/x", {"Content-Disposition": 'attachment; filename="r.csv"'}, "r.csv"),
            ("/x", {"Content-Disposition": "attachment; filename*=UTF-8''%C3%BC.csv"}, "ü.csv"),
            ("/x", {"Content-Disposition": 'attachment; filename="../../etc/r.csv"'}, "r.csv"),
            ("/r.csv", {"Content-Disposition": "attachment; filename*=idna''x"}, "r.csv"),
            ("/%2e%2e%2f%2e%2e%2fr.csv", {}, "r.csv"),
        ],
    )
    def test_is_the_servers_or_the_paths(
        self, site: Site, path: str, headers: dict[str, str], name: str
    ) -> None:
        site.pages[path] = Page(b"x", headers=headers)
        assert get(site.url(path)) == (b"x", name)


class TestAnswers:
    def test_nothing_of_us_is_told(self, site: Site) -> None:
        site.pages["/a"] = Page(b"x")
        get(site.url("/a#part"))
        ((path, headers),) = site.asked
        assert path == "/a"
        assert set(headers) <= {"host", "accept", "accept-encoding", "connection", "user-agent"}
        assert headers["accept-encoding"] == "identity"

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 204, 206, 300, 304])
    def test_that_hold_nothing_are_refused(self, site: Site, status: int) -> None:
        site.pages["/a"] = Page(status=status)
        with pytest.raises(FetchRefused, match=str(status)):
            get(site.url("/a"))

    @pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
    def test_that_may_be_others_later_are_retried(self, site: Site, status: int) -> None:
        site.pages["/a"] = Page(status=status)
        with pytest.raises(FetchFailed) as failed:
            get(site.url("/a"))
        assert failed.value.retryable

    def test_packed_though_not_asked_for(self, site: Site) -> None:
        site.pages["/a"] = Page(b"x", headers={"Content-Encoding": "gzip"})
        with pytest.raises(FetchRefused, match="packed"):
            get(site.url("/a"))

    def test_said_to_be_too_large_is_not_read(self, site: Site) -> None:
        site.pages["/a"] = Page(headers={"Content-Length": "2000"}, write=lambda send: None)
        with pytest.raises(FetchTooLarge):
            get(site.url("/a"), most=1999)
        site.pages["/a"] = Page(bytes(2000))
        assert len(get(site.url("/a"), most=2000)[0]) == 2000

    def test_without_end_is_cut_off(self, site: Site) -> None:
        def write(send):
            while True:
                send(bytes(50_000))

        site.pages["/a"] = Page(write=write)
        with pytest.raises(FetchTooLarge):
            get(site.url("/a"))

    def test_broken_off(self, site: Site) -> None:
        site.pages["/a"] = Page(headers={"Content-Length": "100"}, write=lambda send: send(b"x"))
        with pytest.raises(FetchFailed):
            get(site.url("/a"))

    def test_nobody_listens(self) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            with pytest.raises(FetchFailed):
                get(f"http://127.0.0.1:{unused.getsockname()[1]}/")

    @pytest.mark.parametrize("where", ["handshake", "headers", "body"])
    def test_that_drip_end_with_their_time(self, where: str) -> None:
        """Each byte comes in good time, and all of them would take for ever."""
        begin = b"HTTP/1.1 200 OK\r\n" + (b"\r\n" if where == "body" else b"A: ")
        if where == "handshake":
            begin = b"\x16\x03\x03\x3f\x00"  # the head of a TLS record of 16,128 bytes
        scheme = "https" if where == "handshake" else "http"
        with dripping(begin) as port, pytest.raises(FetchFailed, match="within"):
            get(f"{scheme}://127.0.0.1:{port}/", seconds=0.5)


class TestRedirects:
    def test_are_followed(self, site: Site) -> None:
        site.pages["/a"] = Page(status=302, headers={"Location": "b/c"})
        site.pages["/b/c"] = Page(status=301, headers={"Location": site.url("/d.txt")})
        site.pages["/d.txt"] = Page(b"x")
        assert get(site.url("/a")) == (b"x", "d.txt")

    def test_in_a_circle_end(self, site: Site) -> None:
        site.pages["/a"] = Page(status=302, headers={"Location": "/a"})
        with pytest.raises(FetchRefused, match="more than 5"):
            get(site.url("/a"))
        assert len(site.asked) == 6

    @pytest.mark.parametrize(
        "to", ["file:///etc/passwd", "ftp://127.0.0.1/", "http://u:p@127.0.0.1/", "http://["]
    )
    def test_to_what_is_no_address(self, site: Site, to: str) -> None:
        site.pages["/a"] = Page(status=302, headers={"Location": to})
        with pytest.raises(FetchRefused, match="no address"):
            get(site.url("/a"))


class TestPrivate:
    """127.0.0.1 passes for public where a test says so; the other addresses of loopback never do."""

    def resolve(self, monkeypatch: pytest.MonkeyPatch, **names: list[str]) -> None:
        known = {name.replace("_", "."): answers for name, answers in names.items()}

        def look_up(host: bytes | str, port: int, *more: object, **options: object) -> list[object]:
            name = host.decode() if isinstance(host, bytes) else host
            answers = known.get(name, [name])
            address = answers.pop(0) if len(answers) > 1 else answers[0]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)

    @pytest.mark.parametrize(
        "host", ["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]", "2130706433"]
    )
    def test_is_not_reached(self, site: Site, host: str) -> None:
        with pytest.raises(AddressRefused):
            get(f"http://{host}:{site.port}/", allow_private=False)
        assert site.asked == []

    def test_is_not_reached_by_a_redirect(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        self.resolve(monkeypatch, outer_example=["127.0.0.1"], inner_example=["127.0.0.3"])
        monkeypatch.setattr(outbound, "is_public", lambda address: str(address) == "127.0.0.1")
        site.pages["/"] = Page(status=302, headers={"Location": f"http://inner.example:{site.port}/secret"})
        with pytest.raises(AddressRefused, match="inner"):
            get(f"http://outer.example:{site.port}/", allow_private=False)
        assert site.paths == ["/"]

    def test_is_not_reached_by_rebinding(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """The name is public when it is checked; asked again it would be 127.0.0.1, where the site is."""
        self.resolve(monkeypatch, rebound_example=["127.0.0.2", "127.0.0.1"])
        monkeypatch.setattr(outbound, "is_public", lambda address: str(address) == "127.0.0.2")
        with pytest.raises(FetchFailed):  # nothing listens at 127.0.0.2
            get(f"http://rebound.example:{site.port}/", allow_private=False)
        assert site.asked == []

    def test_is_not_reached_by_rebinding_at_a_redirect(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.resolve(monkeypatch, rebound_example=["127.0.0.1", "127.0.0.3"])
        monkeypatch.setattr(outbound, "is_public", lambda address: str(address) == "127.0.0.1")
        site.pages["/"] = Page(status=302, headers={"Location": "/secret"})
        with pytest.raises(AddressRefused):
            get(f"http://rebound.example:{site.port}/", allow_private=False)
        assert site.paths == ["/"]


@pytest.mark.parametrize(
    "url", ["", "report.txt", "ftp://a.example/", "http://", "http:///x", "http://a b/", "http://[x"]
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(BadUrl):
        parsed(url)


def ask(door: Door, collection: str, url: str, **more: object):
    return door.post(f"/v1/collections/{collection}/documents", json={"url": url, **more})


def job_of(door: Door, reply) -> dict[str, object]:
    return dict(door.get(f"/v1/jobs/{reply.json()['documents'][0]['job_id']}").json())


class TestDoor:
    def test_document_is_known_by_its_address(self, fetching: Door, site: Site) -> None:
        collection = fetching.collection("known")
        site.pages["/leave.txt"] = Page(LEAVE.encode())
        url = site.url("/leave.txt")
        for outcome, version, body in (
            ("created", 1, LEAVE),
            ("unchanged", 1, LEAVE),
            ("updated", 2, "New."),
        ):
            site.pages["/leave.txt"].body = body.encode()
            accepted = ask(fetching, collection, url, metadata={"a": 1})
            assert accepted.status_code == 202
            (entry,) = accepted.json()["documents"]
            assert (entry["id"], entry["outcome"], entry["name"]) == (None, "fetching", "127.0.0.1")
            fetching.work()
            job = job_of(fetching, accepted)
            assert (job["kind"], job["state"]) == ("fetch", "succeeded")
            assert (job["statistics"]["outcome"], job["statistics"]["version"]) == (outcome, version)
        (document,) = fetching.get(f"/v1/collections/{collection}/documents").json()["data"]
        assert (document["external_id"], document["name"], document["live_version"]) == (url, "leave.txt", 2)
        assert (document["id"], document["metadata"]) == (job["statistics"]["document_id"], {"a": 1})
        with fetching.parts.db.read() as session:
            assert set(session.scalars(select(Arrival.url))) == {None}

    def test_name_and_external_id_may_be_given(self, fetching: Door, site: Site) -> None:
        collection = fetching.collection("given")
        site.pages["/x"] = Page(b"Text.")
        ask(fetching, collection, site.url("/x"), name="note.md", external_id="n-1", access=["user:ann"])
        fetching.work()
        (document,) = fetching.get(f"/v1/collections/{collection}/documents").json()["data"]
        assert (document["external_id"], document["name"], document["access"]) == (
            "n-1",
            "note.md",
            ["user:ann"],
        )

    @pytest.mark.parametrize(
        ("page", "code"),
        [
            (Page(status=404), "fetch_refused"),
            (Page(b""), "empty_file"),
            (Page(bytes(100_001)), "too_large"),
            (Page(b"no pdf", headers={"Content-Type": "application/pdf"}), "unsupported_type"),
            (Page(b"x", headers={"Content-Type": "image/png"}), "unsupported_type"),
        ],
    )
    def test_refusals_have_a_code(self, fetching: Door, site: Site, page: Page, code: str) -> None:
        site.pages[f"/{SECRET}"] = page
        accepted = ask(fetching, "shared", site.url(f"/{SECRET}"))
        fetching.work()
        job = job_of(fetching, accepted)
        assert (job["state"], job["error"]["code"], job["error"]["retryable"]) == ("failed", code, False)
        assert SECRET not in job["error"]["message"]

    def test_failures_are_tried_again_and_then_given_up(self, fetching: Door, site: Site) -> None:
        site.pages["/busy.txt"] = Page(status=503)
        accepted = ask(fetching, "shared", site.url("/busy.txt"))
        for attempt in range(1, fetching.parts.settings.max_attempts + 1):
            fetching.work()
            job = job_of(fetching, accepted)
            assert (job["attempt"], job["error"]["code"]) == (attempt, "fetch_failed")
            with fetching.parts.db.begin() as session:
                session.execute(update(Job).values(not_before=Job.created_at))
        assert (job["state"], job["error"]["retryable"]) == ("failed", True)
        site.pages["/busy.txt"] = Page(b"Quiet now.")
        assert fetching.post(f"/v1/jobs/{job['id']}/retry").status_code == 200
        fetching.work()
        assert job_of(fetching, accepted)["state"] == "succeeded"

    def test_private_addresses_are_refused(self, public_only: Door, site: Site) -> None:
        accepted = ask(public_only, public_only.collection("private"), site.url("/"))
        public_only.work()
        assert job_of(public_only, accepted)["error"]["code"] == "address_refused"
        assert site.asked == []

    def test_is_off_unless_set(self, door: Door) -> None:
        collection = door.collection("off")
        refused = ask(door, collection, "https://a.example/x")
        assert door.code(refused) == (403, "url_ingestion_off")
        assert "IBID_URL_INGESTION" in refused.json()["detail"]
        assert door.get("/v1/jobs", params={"collection": collection}).json()["data"] == []

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({"url": "ftp://a.example/x"}, "bad_url"),
            ({"url": f"https://u:{SECRET}@a.example/x"}, "url_with_credentials"),
            ({"url": f"https://{SECRET}@a.example/x"}, "url_with_credentials"),
            ({"url": "https://a.example/" + "x" * 600}, "url_too_long"),
            ({"url": "https://a.example/x", "text": "x"}, "invalid_request"),
            ({"url": "https://a.example/x", "name": "a/b"}, "bad_name"),
        ],
    )
    def test_requests_that_are_refused(self, fetching: Door, body: dict[str, str], code: str) -> None:
        refused = fetching.post("/v1/collections/shared/documents", json=body)
        assert fetching.code(refused) == (422, code)
        assert SECRET not in refused.text

    def test_same_key_is_one_job(self, fetching: Door, site: Site) -> None:
        path = "/v1/collections/shared/documents"
        request = {"json": {"url": site.url("/x")}, "headers": {"Idempotency-Key": "fetch"}}
        first, second = fetching.post(path, **request), fetching.post(path, **request)
        assert (second.json(), second.headers["idempotent-replayed"]) == (first.json(), "true")
        fetching.work()

    def test_is_written_down_without_the_address(self, fetching: Door, site: Site) -> None:
        accepted = ask(fetching, "shared", site.url(f"/{SECRET}.txt"))
        rows = fetching.get("/v1/audit", params={"action": "document.fetch"})
        assert accepted.json()["documents"][0]["job_id"] in [row["resource"] for row in rows.json()["data"]]
        assert SECRET not in rows.text
        fetching.work()


@pytest.mark.slow
def test_real_worker_fetches_and_logs_no_address(tmp_path: Path, site: Site) -> None:
    site.pages[f"/{SECRET}.html?token={SECRET}"] = Page(HTML, headers={"Content-Type": "text/html"})
    settings = {"IBID_URL_INGESTION": "true", "IBID_URL_ALLOW_PRIVATE": "true", "IBID_LOG_LEVEL": "DEBUG"}
    with serving(tmp_path, IBID_EMBEDDER="hashing", **settings) as server, server.client() as client:
        new_collection(client, "pages")
        body = {"url": site.url(f"/{SECRET}.html?token={SECRET}")}
        accepted = client.post("/v1/collections/pages/documents", json=body).json()["documents"][0]
        (job,) = await_jobs(client, [accepted["job_id"]]).values()
        assert job["state"] == "succeeded", job
        (read,) = await_jobs(client, [job["statistics"]["job_id"]]).values()
        assert read["state"] == "succeeded"
        asked = {"collection": "pages", "query": "pressure of pump 7"}
        assert "9 bar" in client.post("/v1/search", json=asked).json()["hits"][0]["text"]
        assert SECRET not in server.log.read_text()
