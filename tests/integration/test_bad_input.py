"""Bad input: each gets its status and code, leaves nothing behind, and the next request works."""

import re
from collections.abc import AsyncIterator, Iterator
from itertools import count
from math import inf
from typing import Any

import anyio
import pytest
from httpx import ASGITransport, AsyncClient, Response
from sqlalchemy import func, select

from ibid.db.tables import Blob, Document, Job, SavedReply, Version
from tests.door import QUESTION, Door, made

LIMIT = 64 * 1024
NUMBERS = count()
JSON = {"Content-Type": "application/json"}
# An encryption dictionary that no password opens.
ENCRYPTED_PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj\n"
    b"4 0 obj<</Filter/Standard/V 1/R 2/P -4/O<" + b"41" * 32 + b">/U<" + b"42" * 32 + b">>>endobj\n"
    b"trailer<</Root 1 0 R/Encrypt 4 0 R/ID[<00><00>]>>\n"
)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with made(tmp_path_factory.mktemp("bad"), max_upload_bytes=LIMIT) as running:
        yield running


class Case:
    """A collection with one document, what is stored, and a normal request."""

    def __init__(self, door: Door, collection: str) -> None:
        self.door, self.collection = door, collection
        self.before = self.stored()

    @property
    def documents(self) -> str:
        return f"/v1/collections/{self.collection}/documents"

    def stored(self) -> tuple[int, ...]:
        with self.door.parts.db.read() as session:
            tables = (Document, Version, Job, Blob, SavedReply)
            return tuple(session.scalar(select(func.count()).select_from(table)) or 0 for table in tables)

    def upload(self, name: str, content: bytes) -> Response:
        return self.door.post(self.documents, files=[("files", (name, content))])

    def refused(self, response: Response, status: int, code: str) -> None:
        """The refusal is as it should be, nothing of it is stored, and the service works on."""
        assert self.door.code(response) == (status, code), response.text
        body = response.json()
        assert body["detail"].endswith((".", "`.", "?")), body["detail"]
        assert "Traceback" not in response.text
        assert self.stored() == self.before
        self.works()

    def works(self) -> None:
        asked = self.door.post("/v1/search", json={"collection": self.collection, "query": QUESTION})
        assert asked.status_code == 200
        assert asked.json()["hits"]
        taken = self.upload(f"after {next(NUMBERS)}.txt", b"The next upload works.")
        assert taken.status_code == 202
        assert taken.json()["documents"][0]["outcome"] == "created"


@pytest.fixture(scope="module")
def collection(door: Door) -> str:
    made = door.collection()
    door.text(made)
    door.work()
    return made


@pytest.fixture
def case(door: Door, collection: str) -> Case:
    return Case(door, collection)


def raw_form(filename: bytes, content: bytes = b"text") -> dict[str, Any]:
    """A multipart body as no HTTP library would write it."""
    body = (
        b'--b\r\nContent-Disposition: form-data; name="files"; filename="'
        + filename
        + b'"\r\n\r\n'
        + content
        + b"\r\n--b--\r\n"
    )
    return {"content": body, "headers": {"Content-Type": "multipart/form-data; boundary=b"}}


class TestFiles:
    def test_unknown_type(self, case: Case) -> None:
        case.refused(case.upload("tool.exe", b"MZ"), 415, "unsupported_type")

    def test_content_that_is_not_what_the_name_says(self, case: Case) -> None:
        case.refused(case.upload("report.pdf", b"not a PDF"), 415, "unsupported_type")

    def test_empty_file(self, case: Case) -> None:
        case.refused(case.upload("empty.txt", b""), 422, "empty_file")

    def test_empty_text(self, case: Case) -> None:
        response = case.door.post(case.documents, json={"name": "a.txt", "text": ""})
        case.refused(response, 422, "empty_file")

    def test_over_the_limit(self, case: Case) -> None:
        case.refused(case.upload("large.txt", b"x" * (LIMIT + 1)), 413, "too_large")

    def test_exactly_the_limit_is_taken(self, case: Case) -> None:
        assert case.upload("large.txt", b"x" * LIMIT).status_code == 202

    def test_json_over_the_limit(self, case: Case) -> None:
        response = case.door.post(case.documents, json={"name": "a.txt", "text": "x" * (LIMIT + 1)})
        case.refused(response, 413, "too_large")

    @pytest.mark.parametrize("name", ["../secret.txt", "a/b.txt", "a\\b.txt", "..", "x" * 300 + ".txt"])
    def test_name_with_path_parts(self, case: Case, name: str) -> None:
        case.refused(case.upload(name, b"text"), 422, "bad_name")

    @pytest.mark.parametrize("name", [b"a\x07.txt", b"a\x1b[31m.txt", "a\u202etxt.exe.txt".encode()])
    def test_name_with_control_characters(self, case: Case, name: bytes) -> None:
        case.refused(case.door.post(case.documents, **raw_form(name)), 422, "bad_name")

    def test_name_in_json(self, case: Case) -> None:
        response = case.door.post(case.documents, json={"name": "../a.txt", "text": "text"})
        case.refused(response, 422, "bad_name")

    def test_text_that_claims_to_be_a_pdf(self, case: Case) -> None:
        response = case.door.post(case.documents, json={"name": "a.pdf", "text": "text"})
        case.refused(response, 415, "unsupported_type")

    def test_several_all_refused(self, case: Case) -> None:
        files = [
            ("files", ("a.exe", b"MZ")),
            ("files", ("b.txt", b"")),
            ("files", ("c.txt", b"x" * (LIMIT + 1))),
        ]
        response = case.door.post(case.documents, files=files)
        codes = [entry["problem"]["code"] for entry in response.json()["documents"]]
        assert codes == ["unsupported_type", "empty_file", "too_large"]
        assert {entry["outcome"] for entry in response.json()["documents"]} == {"rejected"}
        case.refused(response, 422, "all_refused")

    def test_one_of_several_refused(self, case: Case) -> None:
        files = [("files", ("c.txt", b"x" * (LIMIT + 1))), ("files", ("good.txt", b"Good."))]
        response = case.door.post(case.documents, files=files)
        assert response.status_code == 202
        bad, good = response.json()["documents"]
        assert (bad["outcome"], bad["id"], bad["problem"]["status"]) == ("rejected", None, 413)
        assert (good["outcome"], "problem" in good) == ("created", False)
        case.works()

    @pytest.mark.parametrize(
        ("content", "code"),
        [
            pytest.param(b"%PDF-1.7\ncorrupt", "unreadable", id="corrupt"),
            pytest.param(ENCRYPTED_PDF, "encrypted", id="encrypted"),
        ],
    )
    def test_unreadable_pdf_ends_as_a_failed_job(self, case: Case, content: bytes, code: str) -> None:
        taken = case.upload("broken.pdf", content)
        assert taken.status_code == 202
        case.door.work()
        job = case.door.get(f"/v1/jobs/{taken.json()['documents'][0]['job_id']}").json()
        assert job["state"] == "failed"
        assert job["error"]["code"] == code
        assert job["error"]["message"].endswith(".")
        case.works()


class TestForms:
    def test_without_files(self, case: Case) -> None:
        form = b'--b\r\nContent-Disposition: form-data; name="metadata"\r\n\r\n{}\r\n--b--\r\n'
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        case.refused(case.door.post(case.documents, content=form, headers=headers), 422, "no_files")

    def test_cut_off(self, case: Case) -> None:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        response = case.door.post(case.documents, content=b"--b\r\nContent-Dis", headers=headers)
        assert response.status_code in {400, 422}
        case.refused(response, response.status_code, response.json()["code"])

    def test_without_a_boundary(self, case: Case) -> None:
        headers = {"Content-Type": "multipart/form-data"}
        response = case.door.post(case.documents, content=b"--b\r\n", headers=headers)
        case.refused(response, 400, "invalid_form")

    @pytest.mark.parametrize("metadata", ["{", "[1]", '{"a": NaN}', '{"a": "' + "x" * 70_000 + '"}'])
    def test_metadata_that_is_no_small_json_object(self, case: Case, metadata: str) -> None:
        response = case.door.post(
            case.documents, files=[("files", ("a.txt", b"text"))], data={"metadata": metadata}
        )
        assert response.json()["param"].startswith("body.metadata")
        case.refused(response, 422, "invalid_request")

    def test_access_that_names_nobody(self, case: Case) -> None:
        files = [("files", ("a.txt", b"text"))]
        response = case.door.post(case.documents, files=files, data={"access": '["everyone"]'})
        case.refused(response, 422, "bad_principal")

    def test_one_external_id_for_two_files(self, case: Case) -> None:
        files = [("files", ("a.txt", b"text")), ("files", ("b.txt", b"text"))]
        response = case.door.post(case.documents, files=files, data={"external_id": "x"})
        case.refused(response, 422, "invalid_upload")

    def test_unknown_field(self, case: Case) -> None:
        files = [("files", ("a.txt", b"text"))]
        response = case.door.post(case.documents, files=files, data={"colour": "red"})
        case.refused(response, 422, "invalid_upload")

    def test_another_kind_of_body(self, case: Case) -> None:
        headers = {"Content-Type": "text/plain"}
        response = case.door.post(case.documents, content=b"text", headers=headers)
        case.refused(response, 415, "unsupported_media_type")


class TestJson:
    @pytest.mark.parametrize("path", ["/v1/search", "DOCUMENTS"])
    @pytest.mark.parametrize(
        "body",
        [
            pytest.param(b'{"query": "\xff\xfe"}', id="invalid UTF-8"),
            pytest.param(b'{"query": ', id="cut off"),
            pytest.param(b"[" * 100_000, id="nested"),
        ],
    )
    def test_that_cannot_be_read(self, case: Case, path: str, body: bytes) -> None:
        address = case.documents if path == "DOCUMENTS" else path
        response = case.door.post(address, content=body, headers=JSON)
        case.refused(response, 400, "invalid_json")

    def test_unknown_member(self, case: Case) -> None:
        response = case.door.post("/v1/search", json={"collection": "x", "query": "y", "colour": "red"})
        assert response.json()["param"] == "body.colour"
        case.refused(response, 422, "invalid_request")

    def test_sent_as_something_else(self, case: Case) -> None:
        headers = {"Content-Type": "text/plain"}
        response = case.door.post("/v1/search", content=b'{"query": "y"}', headers=headers)
        case.refused(response, 415, "unsupported_media_type")

    def test_larger_than_a_megabyte(self, case: Case) -> None:
        response = case.door.post("/v1/search", json={"collection": "x", "query": "y" * 2_000_000})
        case.refused(response, 413, "too_large")

    def test_refusal_does_not_quote_a_secret(self, case: Case) -> None:
        response = case.door.post("/v1/session", json={"api_key": ["hunter2-secret"]}, key=None)
        assert "hunter2" not in response.text
        case.refused(response, 422, "invalid_request")

    def test_null_character(self, case: Case) -> None:
        response = case.door.post("/v1/collections", json={"name": "a", "description": "b\x00c"})
        case.refused(response, 422, "invalid_request")


class TestQuestions:
    @pytest.mark.parametrize(
        ("question", "code"),
        [("", "question_empty"), (" \n", "question_empty"), ("x" * 100_000, "question_too_long")],
    )
    def test_of_no_or_too_many_characters(self, case: Case, question: str, code: str) -> None:
        asked = case.door.post("/v1/answers", json={"collection": case.collection, "question": question})
        searched = case.door.post("/v1/search", json={"collection": case.collection, "query": question})
        assert case.door.code(asked) == (422, code)
        case.refused(searched, 422, code)

    @pytest.mark.parametrize("limit", [0, 51, -1])
    def test_limit_out_of_range(self, case: Case, limit: int) -> None:
        body = {"collection": case.collection, "query": QUESTION, "limit": limit}
        case.refused(case.door.post("/v1/search", json=body), 422, "limit_out_of_range")

    def test_unknown_model(self, case: Case) -> None:
        body = {"collection": case.collection, "question": QUESTION, "model": "oracle"}
        case.refused(case.door.post("/v1/answers", json=body), 422, "model_unknown")


class TestAddresses:
    @pytest.mark.parametrize(
        ("method", "path", "code"),
        [
            ("GET", "/v1/collections/none", "collection_not_found"),
            ("DELETE", "/v1/collections/none", "collection_not_found"),
            ("POST", "/v1/collections/none/documents", "collection_not_found"),
            ("GET", "/v1/documents/none", "document_not_found"),
            ("DELETE", "/v1/documents/none", "document_not_found"),
            ("GET", "/v1/documents/none/versions/1/text", "document_not_found"),
            ("GET", "/v1/jobs/none", "job_not_found"),
            ("GET", "/v1/jobs/none/events", "job_not_found"),
            ("POST", "/v1/jobs/none/cancel", "job_not_found"),
            ("GET", "/v1/answers/none", "answer_not_found"),
            ("GET", "/v1/answers/none/events", "answer_not_found"),
            ("POST", "/v1/reindexes/none/rollback", "reindex_not_found"),
            ("DELETE", "/v1/api-keys/none", "key_not_found"),
            ("GET", "/v1/nothing/here", "no_such_route"),
        ],
    )
    def test_unknown_id(self, case: Case, method: str, path: str, code: str) -> None:
        case.refused(case.door.call(method, path), 404, code)

    def test_unknown_version(self, case: Case) -> None:
        document = case.door.get(case.documents).json()["data"][0]["id"]
        case.refused(case.door.get(f"/v1/documents/{document}/versions/7/text"), 404, "version_not_found")
        response = case.door.get(f"/v1/documents/{document}/versions/{10**30}/text")
        assert case.door.code(response) == (422, "invalid_request")

    def test_null_character(self, case: Case) -> None:
        case.refused(case.door.get("/v1/collections/a%00b"), 400, "malformed")
        assert case.door.code(case.door.get("/v1/jobs?after=a%00b")) == (400, "malformed")

    def test_wrong_method(self, case: Case) -> None:
        case.refused(case.door.call("PUT", "/v1/collections"), 405, "method_not_allowed")

    @pytest.mark.parametrize("query", ["limit=0", "limit=1000", "limit=x", "state=odd"])
    def test_bad_query(self, case: Case, query: str) -> None:
        case.refused(case.door.get(f"/v1/jobs?{query}"), 422, "invalid_request")

    def test_bad_last_event_id(self, case: Case) -> None:
        job = case.door.get("/v1/jobs").json()["data"][0]["id"]
        response = case.door.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": "latest"})
        case.refused(response, 422, "bad_event_id")


class TestKeys:
    @pytest.mark.parametrize("key", ["wrong", "ibid_x_y", "ibid_" + "0" * 32 + "_" + "A" * 43, "x" * 5000])
    def test_wrong(self, case: Case, key: str) -> None:
        case.refused(case.door.get("/v1/collections", key=key), 401, "key_unknown")

    def test_of_another_scheme(self, case: Case) -> None:
        response = case.door.get("/v1/collections", key=None, headers={"Authorization": "Basic YTpi"})
        case.refused(response, 401, "key_missing")


class TestBodiesWithoutALength:
    """Sent in pieces by a client that does not say how many, and would go on for ever."""

    def post(self, case: Case, path: str, pieces: AsyncIterator[bytes], content_type: str) -> Response:
        headers = {"Authorization": f"Bearer {case.door.admin}", "Content-Type": content_type}

        async def send() -> Response:
            transport = ASGITransport(case.door.client.app)
            async with AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
                return await client.post(path, content=pieces, headers=headers)

        return anyio.run(send)

    async def pieces(self, total: float = inf) -> AsyncIterator[bytes]:
        self.sent = 0
        while self.sent < total:
            self.sent += 16_384
            yield b"x" * 16_384

    async def form(self, total: float = inf) -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\n'
        async for piece in self.pieces(total):
            yield piece
        yield b"\r\n--b--\r\n"

    def test_are_cut_off_while_they_are_read(self, case: Case) -> None:
        response = self.post(case, "/v1/search", self.pieces(), "application/json")
        assert self.sent < 32 * 1024 * 1024
        case.refused(response, 413, "too_large")

    def test_of_a_file_are_not_kept_beyond_its_limit(self, case: Case) -> None:
        response = self.post(case, case.documents, self.form(4 * LIMIT), "multipart/form-data; boundary=b")
        case.refused(response, 413, "too_large")

    def test_of_a_form_end_at_its_bound(self, case: Case) -> None:
        response = self.post(case, case.documents, self.form(), "multipart/form-data; boundary=b")
        assert self.sent < 32 * 1024 * 1024
        case.refused(response, 413, "too_large")

    def test_with_a_length_that_is_no_number(self, case: Case) -> None:
        response = case.door.post("/v1/search", content=b"{}", headers={"Content-Length": "-1"})
        case.refused(response, 400, "malformed")


def test_unexpected_error_tells_its_id_and_nothing_else(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr(case.door.client.app.state.wiring.readiness, "check", broken)
    response = case.door.get("/readyz")
    assert case.door.code(response) == (500, "internal")
    assert "secret" not in response.text
    assert re.search(response.headers["x-request-id"], response.json()["detail"])
    monkeypatch.undo()
    case.works()
