"""Uploads to a server, watched to their end."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from benchmarks.server import Server

REQUEST_FILES = 50


class NotIngested(RuntimeError):
    """A document did not end as succeeded, so the numbers would mean nothing."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """Documents that ended as succeeded; from just before the first byte was sent to the end of the last job."""

    collection: str
    begin: datetime
    end: datetime
    receipts: tuple[dict[str, Any], ...]

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.end - self.begin).total_seconds()

    @property
    def chunks(self) -> int:
        """Chunks made of all documents."""
        return sum(receipt["chunks"]["made"] for receipt in self.receipts)


def ingest(server: Server, collection: str, files: Sequence[tuple[str, bytes]]) -> Ingested:
    """Upload the files to a new collection and wait until each is ingested."""
    with server.client() as client:
        client.post("/v1/collections", json={"name": collection}).raise_for_status()
        begin = datetime.now(UTC)
        accepted = []
        for first in range(0, len(files), REQUEST_FILES):
            accepted += _upload(client, collection, files[first : first + REQUEST_FILES])
        server.await_idle()  # asking for each job would take the processor from what is measured
        ends = [_end(client, document["job_id"]) for document in accepted]
        receipts = [client.get(f"/v1/documents/{document['id']}/receipt").json() for document in accepted]
    return Ingested(collection, begin, max(ends), tuple(receipts))


def _upload(
    client: httpx.Client, collection: str, files: Sequence[tuple[str, bytes]]
) -> list[dict[str, Any]]:
    reply = client.post(f"/v1/collections/{collection}/documents", files=[("files", file) for file in files])
    return list(reply.raise_for_status().json()["documents"])


def _end(client: httpx.Client, job_id: str) -> datetime:
    """When the job ended, by the server's own clock."""
    job = client.get(f"/v1/jobs/{job_id}").raise_for_status().json()
    if job["state"] != "succeeded":
        raise NotIngested(f"Job {job_id} ended as {job['state']}: {job['error']}")
    return datetime.fromisoformat(job["finished_at"])
