"""The distributed topology, natively: PostgreSQL, a real broker, S3-shaped blobs, a server and two worker processes.

No Qdrant server can be installed here, so the store is Qdrant Edge in the API process and the two workers are its
children's children; everything else is as in `docker-compose.yml`. With `IBID_TEST_QDRANT_URL` the workers are on
their own and reach that server.
"""

import os
import subprocess
import sys
from collections.abc import Iterator

import boto3
import pytest
from amqp import PreconditionFailed
from kombu import Connection, Queue
from moto.server import ThreadedMotoServer

from ibid.errors import Unavailable
from ibid.nudge.celery import QUEUE, check_broker
from ibid.settings import Settings
from tests.main_job import MainJob
from tests.running import Server, await_jobs, command, end_family, eventually, new_collection, serving, upload
from tests.services import RABBITMQ, REDIS, missing, postgres_database

pytestmark = [pytest.mark.service, pytest.mark.slow]

QDRANT = os.environ.get("IBID_TEST_QDRANT_URL", "")


@pytest.fixture(scope="module", params=[RABBITMQ, REDIS], ids=["rabbitmq", "redis"])
def broker(request: pytest.FixtureRequest) -> str:
    try:
        check_broker(Settings(broker_url=request.param))
    except Unavailable as error:
        missing(str(request.param).partition(":")[0], error)
    return str(request.param)


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    """Settings of a bucket on an S3 server in this process."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    ).create_bucket(Bucket="ibid")
    yield {
        "IBID_BLOBS_URL": "s3://ibid/uploads",
        "IBID_S3_ENDPOINT": endpoint,
        "IBID_S3_ACCESS_KEY_ID": "key",
        "IBID_S3_SECRET_ACCESS_KEY": "secret",
    }
    server.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, broker: str, s3: dict[str, str]) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("distributed")
    with postgres_database() as url:
        environment = {
            "IBID_DATABASE_URL": url,
            "IBID_BROKER_URL": broker,
            "IBID_WORKER_PROCESSES": "2",
            "IBID_BATCH_DOCUMENTS": "4",
            **s3,
        }
        if QDRANT:
            environment["IBID_QDRANT_URL"] = QDRANT
        upgraded = command("db", "upgrade", **environment, IBID_DATA_DIR=str(folder / "data"))
        assert upgraded.returncode == 0, upgraded.stderr
        with serving(folder, **environment) as running:
            workers = [start_worker(running) for _ in range(2)] if QDRANT else []
            yield running
            for worker in workers:
                end_family(worker)


def start_worker(server: Server) -> subprocess.Popen[bytes]:
    with server.log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "ibid.cli", "worker"],
            env=server.full_environment(),
            stdout=output,
            stderr=output,
        )


class TestMainJob(MainJob):
    """The same steps as in standalone mode, where a hundred questions are asked."""

    questions = 25


class TestTopology:
    def test_many_documents_by_two_workers_with_one_killed(self, server: Server) -> None:
        with server.client() as client:
            new_collection(client, "reports")
            files = [
                (f"report-{n}.txt", f"Report {n}. The pump in hall {n} was replaced on day {n}.".encode())
                for n in range(40)
            ]
            accepted = upload(client, "reports", *files)
            job_ids = [entry["job_id"] for entry in accepted]
            eventually(lambda: started(server, job_ids), what="a worker at work")
            if not QDRANT:
                server.kill_worker()
            jobs = await_jobs(client, job_ids)
            assert {job["state"] for job in jobs.values()} == {"succeeded"}
            assert len({job["worker"] for job in jobs.values()}) >= 2
            original = client.get(f"/v1/documents/{accepted[0]['id']}/versions/1/original")
            assert original.content == files[0][1]
            assert not (server.folder / "data" / "blobs").exists()
            body = {"collection": "reports", "question": "Which pump was replaced on day 17?"}
            answer = client.post("/v1/answers", json=body).json()
            assert answer["status"] == "completed"
            assert any("hall 17" in citation["quote"] for citation in answer["citations"])
            report = client.post("/v1/collections/reports/verify", json={"repair": False}).json()[
                "generations"
            ]
            assert [(g["points"], g["orphans"], g["gaps"]) for g in report] == [(40, 0, 0)]

    def test_the_queue_on_rabbitmq_is_a_quorum_queue(self, server: Server, broker: str) -> None:
        if not broker.startswith("amqp"):
            pytest.skip("Redis has no kinds of queues")
        eventually(server.worker_pid, what="a worker")
        with Connection(broker) as connection:
            classic = Queue(QUEUE, durable=True, queue_arguments={"x-queue-type": "classic"})
            with pytest.raises(PreconditionFailed, match="x-queue-type"):
                classic(connection.default_channel).queue_declare()


def started(server: Server, job_ids: list[str]) -> bool:
    """Whether at least one of the jobs was claimed."""
    with server.client() as client:
        return any(client.get(f"/v1/jobs/{job_id}").json()["worker"] for job_id in job_ids)
