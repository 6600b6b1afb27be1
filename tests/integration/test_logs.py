"""What a real server and its worker write: one line an event, under request and job, and nothing of any document."""

import json
import logging
from pathlib import Path

import httpx
import pytest

from ibid import logs
from ibid.claims import Claim
from ibid.errors import Unavailable
from ibid.types import JobKind
from tests.running import await_jobs, eventually, new_collection, serving, upload

QUICK = {"IBID_EMBEDDER": "hashing", "IBID_LOG_FORMAT": "json", "IBID_LOG_LEVEL": "DEBUG"}
MARKER = "zyzzogeton"
TEXT = f"The {MARKER} sleeps in winter.\n\nNobody has seen a {MARKER} awake.\n".encode()


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """The log of a server at DEBUG: uploads that end well and badly, questions, refusals, and a deletion."""
    folder = tmp_path_factory.mktemp("logs")
    with serving(folder, **QUICK) as server, server.client() as client:
        client.headers["X-Request-Id"] = "setting-up"
        collection = new_collection(client, f"{MARKER} collection")
        client.headers["X-Request-Id"] = "the-upload"
        good, *bad = upload(
            client,
            f"{MARKER} collection",
            (f"{MARKER}.txt", TEXT),
            (f"{MARKER}.docx", b"PK\x03\x04" + TEXT),
            (f"{MARKER}.pdf", b"%PDF-1.7\n" + TEXT),
            (f"{MARKER}.json", b'{"' + TEXT),
        )
        ended = await_jobs(client, [each["job_id"] for each in (good, *bad)])
        assert ended[good["job_id"]]["state"] == "succeeded"
        assert "failed" in {ended[each["job_id"]]["state"] for each in bad}
        assert {job["request_id"] for job in ended.values()} == {"the-upload"}
        _ask(client, collection)
        client.headers["X-Request-Id"] = "the-end"
        gone = client.delete(f"/v1/documents/{good['id']}")
        await_jobs(client, [gone.json()["job_id"] if "job_id" in gone.json() else gone.json()["id"]])
        eventually(lambda: "the-end" in server.log.read_text(), what="the last line")
        server.stop()
        return _parsed(server.log)


def _ask(client: httpx.Client, collection: str) -> None:
    client.headers["X-Request-Id"] = "the-questions"
    question = {"collection": collection, "question": f"Where does the {MARKER} sleep?"}
    assert client.post("/v1/answers", json=question).is_success
    assert client.post("/v1/search", json={"collection": collection, "query": MARKER}).is_success
    assert client.get(f"/v1/collections/no-{MARKER}").status_code == 404
    assert client.get(f"/{MARKER}%0A").status_code == 404
    bad_name = {"name": f"../{MARKER}", "text": MARKER}
    assert client.post(f"/v1/collections/{collection}/documents", json=bad_name).status_code == 422


def _parsed(path: Path) -> list[dict[str, object]]:
    """Every line is an object, but the few that greet whoever started the server, or that Celery says at its end."""
    found = path.read_text().splitlines()
    objects = [line for line in found if line.startswith("{")]
    assert all(line.startswith(("Open ", "worker: ")) for line in found if line and line not in objects), (
        found
    )
    return [json.loads(line) for line in objects]


def of(lines: list[dict[str, object]], **members: object) -> list[dict[str, object]]:
    return [line for line in lines if members.items() <= line.items()]


class TestServer:
    def test_no_line_has_a_name_or_a_text(self, lines: list[dict[str, object]]) -> None:
        assert len(lines) > 30
        assert [line for line in lines if MARKER in json.dumps(line)] == []

    def test_each_line_has_its_members(self, lines: list[dict[str, object]]) -> None:
        assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)

    def test_a_request_is_told_by_its_route(self, lines: list[dict[str, object]]) -> None:
        (line,) = of(lines, logger="ibid.requests", request_id="the-upload", method="POST")
        assert (line["route"], line["status"]) == ("/v1/collections/{collection}/documents", 202)
        assert isinstance(line["ms"], int)
        missing = of(lines, logger="ibid.requests", request_id="the-questions", status=404)
        assert {line["route"] for line in missing} == {"/v1/collections/{collection}", "(no route)"}

    def test_the_request_is_found_in_the_worker(self, lines: list[dict[str, object]]) -> None:
        ended = [
            line
            for line in of(lines, request_id="the-upload")
            if str(line["message"]).startswith("the job ended")
        ]
        assert len({line["job_id"] for line in ended}) == len(ended) == 4
        assert {line["attempt"] for line in ended} == {"1"}


class TestException:
    def formatted(self, formatter: logging.Formatter, error: Exception) -> str:
        raised = Unavailable(f"{MARKER} is away")
        with pytest.raises(Unavailable) as caught:
            raise raised from error
        told = (caught.type, caught.value, caught.tb)
        return formatter.format(logging.LogRecord("x", logging.ERROR, "", 1, "failed", (), told))

    @pytest.mark.parametrize("formatter", [logs.TextLines(), logs.JsonLines()], ids=["text", "json"])
    @pytest.mark.parametrize("error", [ValueError(MARKER), OSError(28, MARKER, MARKER), KeyError(MARKER)])
    def test_is_told_by_type_code_and_place(self, formatter: logging.Formatter, error: Exception) -> None:
        line = self.formatted(formatter, error)
        assert MARKER not in line
        assert type(error).__name__ in line
        assert "ibid.errors.Unavailable: unavailable" in line
        assert "test_logs.py" in line
        assert ("ENOSPC" in line) == isinstance(error, OSError)


class TestContext:
    def test_of_a_batch_names_all_jobs_and_no_single_request(self) -> None:
        held = [Claim(f"job_{n}", JobKind.INGEST, n, "col", None, None, None, f"req-{n}") for n in (1, 2)]
        record = logging.LogRecord("x", logging.INFO, "", 1, "both", (), None)
        with logs.on_jobs(held):
            assert logs.current_request() is None
            logs._add_context(record)
            with logs.on_jobs(held[:1]):
                assert logs.current_request() == "req-1"
        assert (record.job_id, record.attempt, record.request_id) == ("job_1,job_2", "1,2", "req-1,req-2")
        assert (
            logs.TextLines()
            .format(record)
            .endswith("[request_id=req-1,req-2 job_id=job_1,job_2 attempt=1,2]")
        )
