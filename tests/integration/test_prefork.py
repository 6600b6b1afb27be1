"""A worker that forks its processes, as with a broker: one of them is killed while it works on a document alone."""

import signal
from pathlib import Path

import psutil
import pytest

from tests.running import Server, await_jobs, eventually, new_collection, serving, upload
from tests.services import RABBITMQ

pytestmark = [pytest.mark.slow, pytest.mark.service]

LONG = "\n\n".join(
    f"Report {n}. Pump {n} in hall {n % 7} was replaced on day {n % 365}." for n in range(10_000)
)
PATIENT = {"IBID_LEASE_SECONDS": "300"}
"""So long that only somebody who knows of the death takes the job back while a test waits."""


def at_work(server: Server, job_id: str) -> psutil.Process | None:
    """The process that has the job, once it is working on it."""
    with server.client() as client:
        job = client.get(f"/v1/jobs/{job_id}").json()
    if job["state"] != "running" or not job["stage"]:
        return None
    return psutil.Process(int(job["worker"].rsplit("/")[-1]))


@pytest.mark.parametrize(("number", "failures"), [(signal.SIGKILL, 0), (signal.SIGSEGV, 1)])
def test_one_that_ends_counts_only_if_nobody_outside_did_it(
    tmp_path: Path, number: signal.Signals, failures: int
) -> None:
    environment = {
        "IBID_EMBEDDER": "hashing",
        "IBID_BROKER_URL": RABBITMQ,
        "IBID_WORKER_PROCESSES": "1",
        "IBID_BATCH_DOCUMENTS": "1",
    }
    with serving(tmp_path, **environment, **PATIENT) as server, server.client() as client:
        new_collection(client, "reports")
        job_id = upload(client, "reports", ("long.txt", LONG.encode()))[0]["job_id"]
        child = eventually(lambda: at_work(server, job_id), what="a process at work")
        assert child is not None
        assert "worker.app" in " ".join(psutil.Process(child.ppid()).cmdline())
        child.send_signal(number)
        (job,) = await_jobs(client, [job_id]).values()
        assert (job["state"], job["attempt"], job["failures"]) == ("succeeded", 2, failures)
