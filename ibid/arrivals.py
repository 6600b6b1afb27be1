"""What a job brings in: an archive that it unpacks, or a document that it fetches from an address.

It is accepted together with the job, which goes on as whoever sent it. The archive or the address is kept until the
job has ended well, and that of one that failed or was cancelled for a while longer, so that it can be tried again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from ibid import access, audit, documents, jobs, links, uploads
from ibid.audit import Who
from ibid.claims import Claim
from ibid.clock import now
from ibid.db.tables import Arrival, Blob, Job
from ibid.documents import Accepted, Upload
from ibid.errors import IbidError, Invalid
from ibid.principals import checked
from ibid.types import JobKind, Json, Scope
from ibid.uploads import BlobDied, Kept

AT_ONCE = 500
LONGEST_EXTERNAL_ID = 512


class UrlTooLong(Invalid):
    """The address is too long to be an external id, and no other one was given."""

    code = "url_too_long"


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive whose files are to become documents; `external_id` is put before the path of each.

    `metadata` and `grants` are given to every one of them.
    """

    name: str
    kept: Kept
    external_id: str | None = None
    metadata: Mapping[str, Json] | None = None
    grants: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """An address of a document, by which it is known if no `external_id` is given; `name` None leaves it to the server."""

    url: str
    name: str | None = None
    external_id: str | None = None
    metadata: Mapping[str, Json] | None = None
    grants: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """What was accepted, and the job whose end tells what became of it."""

    name: str
    job_id: str
    outcome: Literal["unpacking", "fetching"]


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is to bring in, and as whom. `blob_key` is where the archive's bytes are."""

    scope: Scope
    who: Who
    collection_id: str
    name: str
    blob_key: str | None
    url: str | None
    external_id: str | None
    metadata: Mapping[str, Json] | None
    grants: Sequence[str] | None
    taken: int


def unpack(session: Session, scope: Scope, ref: str, archive: Archive) -> Expected:
    """Take an archive whose bytes are durable, with the job that unpacks it."""
    collection = access.collection(session, scope, ref, keep=True)
    uploads.refer(session, archive.kept)
    job = jobs.enqueue(session, JobKind.UNPACK, collection.id)
    arrival = _arrival(scope, job, archive.name, archive.metadata, archive.grants)
    arrival.blob_id, arrival.external_id = archive.kept.blob_id, archive.external_id
    session.add(arrival)
    session.flush()
    return Expected(archive.name, job.id, "unpacking")


def fetch(session: Session, scope: Scope, ref: str, link: Link) -> Expected:
    """Take the address of a document, with the job that fetches it."""
    collection = access.collection(session, scope, ref, keep=True)
    host = links.parsed(link.url).host
    if len(link.external_id or link.url) > LONGEST_EXTERNAL_ID:
        raise UrlTooLong(
            f"The address is longer than the {LONGEST_EXTERNAL_ID} characters an external id may have. Give one.",
            param="external_id",
        )
    name = "" if link.name is None else documents.checked_name(link.name)
    job = jobs.enqueue(session, JobKind.FETCH, collection.id)
    arrival = _arrival(scope, job, name, link.metadata, link.grants)
    arrival.url, arrival.external_id = link.url, link.external_id
    session.add(arrival)
    session.flush()
    return Expected(name or host, job.id, "fetching")


def accept_alone(session: Session, scope: Scope, ref: str, upload: Upload) -> Accepted | IbidError:
    """Take an upload, or give the error that refuses it alone: nothing of it stays in the transaction."""
    try:
        with session.begin_nested():
            return documents.accept(session, scope, ref, upload)
    except BlobDied:
        raise
    except IbidError as error:
        return error


def order(session: Session, held: Claim) -> Order:
    """What the claim's job is to bring in."""
    found = session.get_one(Arrival, held.id)
    blob = session.get(Blob, found.blob_id) if found.blob_id else None
    scope = Scope(
        key_id=found.key_id,
        role=found.role,  # type: ignore[arg-type] # what was written was a role
        principals=None if found.principals is None else frozenset(found.principals),
        collections=None if found.collections is None else frozenset(found.collections),
        actor=found.actor,
    )
    return Order(
        scope=scope,
        who=Who(found.key_id, found.actor, held.request_id or ""),
        collection_id=found.collection_id,
        name=found.name,
        blob_key=blob.key if blob else None,
        url=found.url,
        external_id=found.external_id,
        metadata=found.meta,
        grants=found.grants,
        taken=found.taken,
    )


def took(session: Session, held: Claim, taken: int) -> None:
    """Note how many entries of the archive are done with, in the transaction of the last of them."""
    session.get_one(Arrival, held.id).taken = taken


def record(session: Session, order: Order, held: Claim, accepted: Accepted) -> None:
    """Write into the audit trail what the job accepted, as done by whoever sent it."""
    detail = {
        "collection_id": order.collection_id,
        "version": accepted.version,
        "outcome": accepted.outcome,
        "brought_by": held.id,
    }
    audit.record(session, order.who, "document.upload", accepted.document_id, detail)


def let_go(session: Session, job_id: str) -> set[str]:
    """Forget what the job was to bring in; gives the ids of bytes that may be erased after the commit."""
    return _let_go([session.get_one(Arrival, job_id)])


def forget(session: Session, collection_id: str) -> set[str]:
    """Forget what was to be brought into a collection that is deleted; gives the ids of bytes that may be erased."""
    return _let_go(session.scalars(select(Arrival).where(Arrival.collection_id == collection_id)).all())


def expire(session: Session, *, kept: timedelta) -> set[str]:
    """Forget what jobs that failed or were cancelled long enough ago could still have brought in."""
    kept_still = Arrival.blob_id.is_not(None) | Arrival.url.is_not(None)
    over = select(Job.id).where(Job.id == Arrival.job_id, Job.finished_at < now() - kept)
    return _let_go(session.scalars(select(Arrival).where(kept_still, over.exists()).limit(AT_ONCE)).all())


def _let_go(found: Sequence[Arrival]) -> set[str]:
    blobs = {arrival.blob_id for arrival in found if arrival.blob_id}
    for arrival in found:
        arrival.blob_id = arrival.url = arrival.external_id = arrival.meta = None
        arrival.name = ""
    return blobs


def _arrival(
    scope: Scope, job: Job, name: str, metadata: Mapping[str, Json] | None, grants: Sequence[str] | None
) -> Arrival:
    return Arrival(
        job_id=job.id,
        collection_id=job.collection_id,
        key_id=scope.key_id,
        actor=scope.actor,
        role=scope.role,
        principals=None if scope.principals is None else sorted(scope.principals),
        collections=None if scope.collections is None else sorted(scope.collections),
        name=name,
        meta=None if metadata is None else dict(metadata),
        restricted=grants is not None,
        grants=None if grants is None else list(checked(grants)),
        taken=0,
    )
