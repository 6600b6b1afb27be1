"""Every example file goes through a running service in one go, while somebody else searches."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.examples import DOCUMENTS, HOSTILE
from tests.running import Server, await_jobs, new_collection, serving

EXPECTED = DOCUMENTS | HOSTILE | {"empty.txt": "empty_file"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    limits = {"IBID_PARSE_SECONDS": "10", "IBID_PARSE_MEMORY_BYTES": str(512 * 2**20)}
    with serving(tmp_path_factory.mktemp("examples"), IBID_EMBEDDER="hashing", **limits) as running:
        yield running


def offer(client: httpx.Client, path: Path) -> dict[str, Any]:
    """The document as accepted, or the problem that refused it."""
    answer = client.post(
        "/v1/collections/examples/documents", files=[("files", (path.name, path.read_bytes()))]
    ).json()
    return dict(answer["documents"][0]) if "documents" in answer else dict(answer)


def search_until(stop: threading.Event, server: Server, statuses: list[int]) -> None:
    with server.client() as client:
        while not stop.is_set():
            asked = {"collection": "examples", "query": "Where is the head office?"}
            statuses.append(client.post("/v1/search", json=asked).status_code)


@pytest.mark.data
@pytest.mark.slow
def test_all_end_as_expected_while_another_client_searches(server: Server, data: Path) -> None:
    paths = [path for folder in ("documents", "hostile") for path in sorted((data / folder).iterdir())]
    stop, statuses = threading.Event(), list[int]()
    with server.client() as client:
        new_collection(client, "examples")
        searching = threading.Thread(target=search_until, args=(stop, server, statuses))
        searching.start()
        try:
            offers = {path.name: offer(client, path) for path in paths}
            accepted = {name: each["job_id"] for name, each in offers.items() if each.get("job_id")}
            jobs = await_jobs(client, list(accepted.values()))
        finally:
            stop.set()
            searching.join()
    ends = {name: each.get("code") for name, each in offers.items()}
    for name, job_id in accepted.items():
        job = jobs[job_id]
        ends[name] = job["state"] if job["error"] is None else job["error"]["code"]
    expected = {name: end if isinstance(end, str) else "succeeded" for name, end in EXPECTED.items()}
    assert ends == expected
    assert len(statuses) > 10
    assert set(statuses) == {200}
