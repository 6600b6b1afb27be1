"""What Ibid needs goes away and comes back: an upload is accepted or clearly refused, and no accepted one is lost."""

import base64
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer

from tests.running import Server, await_jobs, command, end_family, eventually, new_collection, serving, upload
from tests.services import RABBITMQ, postgres_database
from tests.wires import Wire, wired

pytestmark = pytest.mark.slow

QUICK = {"IBID_EMBEDDER": "hashing"}
OCTETS = "application/offset+octet-stream"


@dataclass
class Farm:
    """A distributed server, and the wires to what it needs."""

    server: Server
    database: Wire
    broker: Wire
    blobs: Wire


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    folder = tmp_path_factory.mktemp("outages")
    with ExitStack() as stack:
        moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        moto.start()
        stack.callback(moto.stop)
        host, port = moto.get_host_and_port()
        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
        boto3.client("s3", endpoint_url=f"http://{host}:{port}", **keys).create_bucket(Bucket="ibid")
        database, database_url = stack.enter_context(wired(stack.enter_context(postgres_database())))
        broker, broker_url = stack.enter_context(wired(RABBITMQ))
        blobs, blobs_url = stack.enter_context(wired(f"http://{host}:{port}"))
        environment = {
            **QUICK,
            "IBID_DATABASE_URL": database_url,
            "IBID_BROKER_URL": broker_url,
            "IBID_BLOBS_URL": "s3://ibid/uploads",
            "IBID_S3_ENDPOINT": blobs_url,
            "IBID_S3_ACCESS_KEY_ID": "key",
            "IBID_S3_SECRET_ACCESS_KEY": "secret",
            "IBID_SWEEP_SECONDS": "1",
        }
        upgraded = command("db", "upgrade", **environment, IBID_DATA_DIR=str(folder / "data"))
        assert upgraded.returncode == 0, upgraded.stderr
        server = stack.enter_context(serving(folder, **environment))
        with server.client() as client:
            new_collection(client, "notes")
        yield Farm(server, database, broker, blobs)


def send(client: httpx.Client, name: str) -> httpx.Response:
    return client.post(
        "/v1/collections/notes/documents", json={"name": name, "text": f"A note called {name}."}
    )


def succeeds(client: httpx.Client, response: httpx.Response) -> None:
    assert response.status_code == 202, response.text
    job_id = response.json()["documents"][0]["job_id"]
    (job,) = await_jobs(client, [job_id]).values()
    assert (job["state"], job["failures"]) == ("succeeded", 0)


@pytest.mark.service
class TestServices:
    def test_broker_away(self, farm: Farm) -> None:
        """Accepted all the same, and read once the broker is back."""
        with farm.server.client() as client:
            farm.broker.cut()
            accepted = send(client, "broker.txt")
            assert accepted.status_code == 202
            farm.broker.mend()
            succeeds(client, accepted)

    def test_database_away(self, farm: Farm) -> None:
        """Nobody can be asked who it is that asks: 503, and afterwards as if nothing had been."""
        with farm.server.client() as client:
            farm.database.cut()
            refused = send(client, "database.txt")
            assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
            assert int(refused.headers["retry-after"]) > 0
            assert client.get("/readyz").status_code == 503
            farm.database.mend()
            succeeds(client, send(client, "database.txt"))

    def test_blob_store_away(self, farm: Farm) -> None:
        with farm.server.client() as client:
            farm.blobs.cut()
            refused = send(client, "blobs.txt")
            assert (refused.status_code, refused.json()["code"]) == (503, "blob_store_unavailable")
            farm.blobs.mend()
            succeeds(client, send(client, "blobs.txt"))

    def test_everything_away_while_documents_are_read(self, farm: Farm) -> None:
        with farm.server.client() as client:
            files = [(f"report-{n}.txt", f"Report {n}. Pump {n} was replaced.".encode()) for n in range(30)]
            job_ids = [entry["job_id"] for entry in upload(client, "notes", *files)]
            running = {"state": "running"}
            eventually(lambda: client.get("/v1/jobs", params=running).json()["data"], what="work")
            for wire in (farm.database, farm.broker, farm.blobs):
                wire.cut()
            assert client.get("/readyz").status_code == 503
            for wire in (farm.database, farm.broker, farm.blobs):
                wire.mend()
            jobs = await_jobs(client, job_ids)
            assert {(job["state"], job["failures"]) for job in jobs.values()} == {("succeeded", 0)}
            (found,) = client.post("/v1/collections/notes/verify", json={"repair": False}).json()[
                "generations"
            ]
            assert (found["orphans"], found["gaps"]) == (0, 0)


def may_mount() -> bool:
    """Whether an unprivileged process may have file systems of its own here."""
    if shutil.which("unshare") is None:
        return False
    probe = ["unshare", "-Urm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


class SmallDisk(Server):
    """A server whose uploads go to a disk of two megabytes."""

    def command_line(self) -> list[str]:
        blobs = self.folder / "data" / "blobs"
        blobs.mkdir(parents=True)
        mount = f"mount -t tmpfs -o size=2m none {blobs} && exec {sys.executable} -m ibid.cli serve"
        return ["unshare", "-Urm", "sh", "-c", mount]


class SmallScratch(Server):
    """A server whose temporary files go to a disk of eight megabytes, of which six are taken."""

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch"

    def command_line(self) -> list[str]:
        self.scratch.mkdir()
        mount = f"mount -t tmpfs -o size=8m none {self.scratch}"
        fill = f"head -c 6m /dev/zero > {self.scratch}/filler"
        return [
            "unshare",
            "-Urm",
            "sh",
            "-c",
            f"{mount} && {fill} && exec {sys.executable} -m ibid.cli serve",
        ]

    def make_room(self) -> None:
        """Its disk is its own, so it is reached by way of its process."""
        assert self.process is not None
        Path(f"/proc/{self.process.pid}/root{self.scratch}/filler").unlink()


@pytest.mark.skipif(not may_mount(), reason="no file systems of its own for a process here")
class TestDisk:
    def test_full(self, tmp_path: Path) -> None:
        """507 for what does not fit, and what fits is read."""
        server = SmallDisk(tmp_path, dict(QUICK))
        try:
            server.start()
            with server.client() as client:
                new_collection(client, "notes")
                large = {"files": ("large.txt", b"All work and no play. " * 200_000)}
                refused = client.post("/v1/collections/notes/documents", files=large)
                assert (refused.status_code, refused.json()["code"]) == (507, "no_room")
                assert client.get("/v1/collections/notes/documents").json()["data"] == []
                succeeds(client, send(client, "small.txt"))
        finally:
            end_family(server.process)

    def test_full_while_parts_are_joined(self, tmp_path: Path) -> None:
        """507, the upload stands where it was, and is accepted once there is room."""
        server = SmallScratch(tmp_path, QUICK | {"TMPDIR": str(tmp_path / "scratch")})
        content = b"All work and no play.\n\n" + bytes(3_000_000).replace(b"\0", b" ")
        tus = {"Tus-Resumable": "1.0.0"}
        try:
            server.start()
            with server.client() as client:
                new_collection(client, "notes")
                name = {"Upload-Metadata": f"filename {base64.b64encode(b'work.txt').decode()}"}
                length = {"Upload-Length": str(len(content))}
                made = client.post("/v1/collections/notes/uploads", headers=tus | name | length)
                location = made.headers["location"]

                def send_from(offset: int) -> httpx.Response:
                    headers = tus | {"Upload-Offset": str(offset), "Content-Type": OCTETS}
                    return client.patch(location, content=content[offset:], headers=headers)

                half = client.patch(
                    location,
                    content=content[:1_500_000],
                    headers=tus | {"Upload-Offset": "0", "Content-Type": OCTETS},
                )
                assert half.status_code == 204
                refused = send_from(1_500_000)
                assert (refused.status_code, refused.json()["code"]) == (507, "no_room")
                stands = int(client.head(location, headers=tus).headers["upload-offset"])
                assert stands >= 1_500_000
                server.make_room()
                done = send_from(stands)
                assert done.status_code == 204
                (document,) = client.get("/v1/collections/notes/documents").json()["data"]
                assert document["sha256"] == hashlib.sha256(content).hexdigest()
        finally:
            end_family(server.process)
