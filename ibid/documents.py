"""Documents and their versions: accepted with their job in one commit, deleted for readers in one commit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import delete as sql_delete
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ibid import access, families, jobs, receipts, removal, uploads
from ibid.clock import new_id, now
from ibid.db.tables import Collection, Document, DocumentGrant, Job, Version
from ibid.errors import Invalid
from ibid.filters import facts
from ibid.principals import checked
from ibid.receipts import Receipt
from ibid.types import JobKind, JobState, Json, ReadBy, Scope
from ibid.uploads import Kept

LONGEST_NAME = 255
Outcome = Literal["created", "updated", "unchanged"]


class BadName(Invalid):
    """The name of a document has path parts or control characters, or is too long."""

    code = "bad_name"


@dataclass(frozen=True, slots=True)
class Upload:
    """A document as it arrives. `grants` None leaves access as it is (a new document: open).

    `batch_id` is the job that unpacked the archive it was in.
    """

    name: str
    media_type: str
    kept: Kept
    external_id: str | None = None
    metadata: Mapping[str, Json] | None = None
    grants: Sequence[str] | None = None
    batch_id: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of an upload. `version` is the number this content has; `job_id` is None when nothing is to do."""

    document_id: str
    name: str
    version: int
    job_id: str | None
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Described:
    """Whether what an upload says beside the bytes is new, and changes what the document's points say of it."""

    points: bool
    anything: bool


@dataclass(frozen=True, slots=True)
class DocumentView:
    """A document as people see it: `version` is the newest, whose bytes `sha256` is of; readers have `live_version`."""

    id: str
    name: str
    external_id: str | None
    collection_id: str
    parent_id: str | None
    batch_id: str | None
    version: int
    live_version: int | None
    state: JobState
    media_type: str
    size: int
    sha256: str
    metadata: dict[str, Any]
    access: list[str] | None
    created_at: datetime
    updated_at: datetime
    job_id: str


def checked_name(name: str) -> str:
    """The name as given, or `BadName`: it is shown to people and never becomes a path."""
    bad = not name.strip() or len(name) > LONGEST_NAME or not name.isprintable()
    if bad or any(part in name for part in ("/", "\\")) or name in {".", ".."}:
        raise BadName(
            f"{name!r} cannot be a document's name. Use 1 to {LONGEST_NAME} printable characters without / or \\.",
            param="name",
        )
    return name


def identity_of(name: str, external_id: str | None) -> str:
    """What tells the document from others of its collection; of a kind, so that no id is taken for a name."""
    return f"name:{name}" if external_id is None else f"external:{external_id}"


def accept(session: Session, scope: Scope, ref: str, upload: Upload) -> Accepted:
    """Take an upload whose bytes are durable: the same bytes change nothing, new bytes are a new version with a job.

    Once the transaction is committed the document reaches an end, whatever is killed.
    """
    collection = access.collection(session, scope, ref, keep=True)
    uploads.refer(session, upload.kept)
    document, created = _identify(session, scope, collection, upload)
    if not created:
        families.hold(session, [document.id])
    document.batch_id = upload.batch_id
    newest = newest_of(session, document.id)
    described = _describe(session, document, upload)
    if newest is not None and newest.sha256 == upload.kept.sha256:
        return again(session, document, newest, described)
    version = add_version(session, document, upload, (newest.number if newest else 0) + 1)
    return Accepted(
        document.id, document.name, version.number, version.job_id, "created" if created else "updated"
    )


def _identify(
    session: Session, scope: Scope, collection: Collection, upload: Upload
) -> tuple[Document, bool]:
    """The document this upload is about, locked, and whether it is new."""
    identity = identity_of(upload.name, upload.external_id)
    same = (
        select(Document)
        .where(
            Document.collection_id == collection.id,
            Document.identity == identity,
            Document.deleted_at.is_(None),
        )
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    found = session.scalar(same)
    if found is not None:
        return _replaceable(session, scope, found), False
    moment = now()
    document = Document(
        id=new_id("doc"),
        collection_id=collection.id,
        identity=identity,
        name=upload.name,
        external_id=upload.external_id,
        meta={},
        created_at=moment,
        updated_at=moment,
    )
    try:
        with session.begin_nested():
            session.add(document)
    except IntegrityError:  # somebody else created it a moment ago
        return _replaceable(session, scope, session.scalars(same).one()), False
    return document, True


def _replaceable(session: Session, scope: Scope, found: Document) -> Document:
    """The document; what the asker may not see, they may not replace, nor learn the id of."""
    try:
        return access.document(session, scope, found.id)
    except access.DocumentNotFound as error:
        raise access.DocumentNotFound(
            "This name or external id is taken by a document that you may not see. Choose another one."
        ) from error


def again(session: Session, document: Document, newest: Version, described: Described) -> Accepted:
    """The same bytes once more: nothing to do, unless reading them had failed, was cancelled, or they are now
    described otherwise. What the points say of it is brought to them by the version's job.
    """
    if described.points:
        _bring_to_live_points(session, document, newest)
    job = _locked_job(session, newest)
    ended = JobState(job.state).terminal
    if job.state in {JobState.FAILED, JobState.CANCELLED} or (ended and described.points):
        jobs.requeue(session, job)
    elif job.cancel_requested and not ended:
        job.cancel_requested = False
        job.revision += 1
    elif not described.anything:
        return Accepted(document.id, document.name, newest.number, None, "unchanged")
    return Accepted(document.id, document.name, newest.number, job.id, "updated")


def _bring_to_live_points(session: Session, document: Document, newest: Version) -> None:
    """The live version's own job brings what is said to its points: that of a newer one may fail."""
    if document.current_version_id not in {None, newest.id}:
        job = _locked_job(session, session.get_one(Version, document.current_version_id))
        if JobState(job.state).terminal:
            jobs.requeue(session, job)


def _locked_job(session: Session, version: Version) -> Job:
    job = select(Job).where(Job.id == version.job_id)
    return session.scalars(job.with_for_update().execution_options(populate_existing=True)).one()


def add_version(
    session: Session, document: Document, upload: Upload, number: int, read_by: ReadBy = ReadBy.TEXT
) -> Version:
    """The next version of a locked document, with the job that reads it."""
    version_id = new_id("ver")
    job = jobs.enqueue(
        session, JobKind.INGEST, document.collection_id, document_id=document.id, version_id=version_id
    )
    job.alone = read_by is ReadBy.OCR  # it takes minutes, and would keep a batch waiting
    version = Version(
        id=version_id,
        document_id=document.id,
        number=number,
        blob_id=upload.kept.blob_id,
        sha256=upload.kept.sha256,
        filename=upload.name,
        media_type=upload.media_type,
        size=upload.kept.size,
        read_by=read_by,
        job_id=job.id,
        receipt={},
        created_at=now(),
    )
    session.add(version)
    document.updated_at = version.created_at
    session.flush()
    return version


def _describe(session: Session, document: Document, upload: Upload) -> Described:
    """Take over the name, metadata and access list that came with the upload, as far as given."""
    renamed = document.name != upload.name
    document.name = upload.name
    described = redescribe(session, document, upload.metadata, upload.grants)
    return Described(described.points, described.anything or renamed)


def redescribe(
    session: Session, document: Document, metadata: Mapping[str, Json] | None, grants: Sequence[str] | None
) -> Described:
    """Give a locked document other metadata or another access list, as far as given; its children follow."""
    before = document.meta
    if metadata is not None:
        document.meta = dict(metadata)
    access_changed = grants is not None and _grant(session, document, checked(grants))
    session.flush()
    for child in families.inside(session, document.id):
        described = redescribe(session, child, metadata, grants)
        if described.points:
            again(session, child, existing(session, child.id), described)
    points_change = access_changed or facts(before) != facts(document.meta)
    return Described(points=points_change, anything=access_changed or before != document.meta)


def _grant(session: Session, document: Document, principals: Sequence[str]) -> bool:
    """Restrict the document to these principals; whether that changes anything."""
    before = grants(session, document)
    if before is not None and set(before) == set(principals):  # databases sort names each in their own way
        return False
    session.execute(sql_delete(DocumentGrant).where(DocumentGrant.document_id == document.id))
    session.add_all(DocumentGrant(document_id=document.id, principal=name) for name in principals)
    document.restricted = True
    return True


def grants(session: Session, document: Document) -> tuple[str, ...] | None:
    """The principals that may see a restricted document; None when it is open."""
    if not document.restricted:
        return None
    named = select(DocumentGrant.principal).where(DocumentGrant.document_id == document.id)
    return tuple(session.scalars(named.order_by(DocumentGrant.principal)))


def delete(session: Session, scope: Scope, document_id: str, *, grace: timedelta | None) -> Job:
    """Delete the document with all versions for every reader in this commit; the job cleans up after it.

    `grace` is how long a write that was sent before its lease ended may still arrive at the store (a Qdrant server);
    None when the store's owner itself refuses late writers.
    """
    document = locked(session, scope, document_id)
    families.keep_out(session, document)
    return removal.remove(session, [document], grace=grace)[0]


def locked(session: Session, scope: Scope, document_id: str) -> Document:
    """The visible document, nobody else's until the transaction ends, and neither are those inside it and their jobs."""
    found = access.document(session, scope, document_id)
    held = {document.id: document for document in families.hold(session, [found.id])}
    if found.id not in held:
        raise access.DocumentNotFound(f"There is no document {document_id!r}: it was deleted a moment ago.")
    return held[found.id]


def children(session: Session, scope: Scope, document_id: str) -> list[DocumentView]:
    """The visible documents that were inside this one, in the order in which they were found."""
    parent = access.document(session, scope, document_id)
    seen = (
        select(Document)
        .join(Collection, Collection.id == Document.collection_id)
        .where(Document.parent_id == parent.id, access.sees_document(scope))
    )
    return [view(session, document) for document in session.scalars(seen.order_by(Document.id))]


def listing(
    session: Session, scope: Scope, ref: str, *, after: str | None, limit: int, batch: str | None = None
) -> list[DocumentView]:
    """The visible documents of a collection, or those of a batch, newest first."""
    collection = access.collection(session, scope, ref)
    query = (
        select(Document)
        .join(Collection, Collection.id == Document.collection_id)
        .where(Document.collection_id == collection.id, access.sees_document(scope))
        .order_by(Document.id.desc())
        .limit(limit)
    )
    if after:
        query = query.where(Document.id < after)
    if batch is not None:
        query = query.where(Document.batch_id == batch)
    return [view(session, document) for document in session.scalars(query)]


def view(session: Session, document: Document) -> DocumentView:
    """The document as people see it."""
    newest = existing(session, document.id)
    live = session.get(Version, document.current_version_id) if document.current_version_id else None
    job = session.get_one(Job, newest.job_id)
    granted = grants(session, document)
    return DocumentView(
        id=document.id,
        name=document.name,
        external_id=document.external_id,
        collection_id=document.collection_id,
        parent_id=document.parent_id,
        batch_id=document.batch_id,
        version=newest.number,
        live_version=live.number if live else None,
        state=jobs.shown(job),
        media_type=newest.media_type,
        size=newest.size,
        sha256=newest.sha256,
        metadata=document.meta,
        access=None if granted is None else list(granted),
        created_at=document.created_at,
        updated_at=document.updated_at,
        job_id=newest.job_id,
    )


def receipt(session: Session, scope: Scope, document_id: str) -> Receipt:
    """What each stage saw of the newest version, as far as it is known."""
    document = access.document(session, scope, document_id)
    return receipts.of(session, existing(session, document.id))


def existing(session: Session, document_id: str) -> Version:
    """The newest version of a document that was accepted: it has one."""
    newest = newest_of(session, document_id)
    if newest is None:
        raise LookupError(f"document {document_id} has no version")
    return newest


def newest_of(session: Session, document_id: str) -> Version | None:
    """The newest version; None for a document that is being accepted."""
    return session.scalar(
        select(Version).where(Version.document_id == document_id).order_by(Version.number.desc()).limit(1)
    )
