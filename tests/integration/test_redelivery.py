"""A message is a nudge: whether it comes once, three times or beside others, each document is read once."""

from pathlib import Path

import pytest

from ibid.nudge.celery import CeleryNudge
from ibid.settings import Settings
from tests.running import Server, await_jobs, new_collection, serving, upload
from tests.services import RABBITMQ

pytestmark = pytest.mark.slow

DOCUMENTS = 30


@pytest.mark.parametrize(
    "broker", ["", pytest.param(RABBITMQ, marks=pytest.mark.service)], ids=["folder", "rabbitmq"]
)
def test_every_message_three_times_yields_one_result(tmp_path: Path, broker: str) -> None:
    environment = {"IBID_EMBEDDER": "hashing", "IBID_WORKER_PROCESSES": "2"}
    if broker:
        environment["IBID_BROKER_URL"] = broker
    with serving(tmp_path, **environment) as server, server.client() as client:
        new_collection(client, "notes")
        again = nudge(server, broker)
        jobs: list[str] = []
        for n in range(DOCUMENTS):
            (entry,) = upload(client, "notes", (f"note-{n}.txt", f"Note {n}. Pump {n} runs.".encode()))
            jobs.append(entry["job_id"])
            assert again.send()
            assert again.send()
        ended = await_jobs(client, jobs)
        assert {(job["state"], job["attempt"]) for job in ended.values()} == {("succeeded", 1)}
        listed = client.get("/v1/collections/notes/documents", params={"limit": 200}).json()["data"]
        assert sorted(entry["name"] for entry in listed) == sorted(f"note-{n}.txt" for n in range(DOCUMENTS))
        assert {entry["version"] for entry in listed} == {1}
        (found,) = client.post("/v1/collections/notes/verify", json={"repair": False}).json()["generations"]
        assert (found["points"], found["chunks"]) == (DOCUMENTS, DOCUMENTS)
        assert (found["orphans"], found["gaps"]) == (0, 0)


def nudge(server: Server, broker: str) -> CeleryNudge:
    """One that sends the same messages to the same queue."""
    return CeleryNudge(Settings(data_dir=server.folder / "data", broker_url=broker))
