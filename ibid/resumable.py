"""Uploads that may be interrupted: parts as blobs, the offset in SQL, and at the end the way of every other upload.

The offset that is acknowledged is that of a committed row whose bytes are durable. The last part is counted only in the
transaction that accepts the document: an upload is never complete without one, whatever is killed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import BinaryIO

from sqlalchemy import delete as sql_delete
from sqlalchemy import select
from sqlalchemy.orm import Session

from ibid import access, documents, media
from ibid.arrivals import Expected
from ibid.blobs.port import BlobStore
from ibid.clock import new_id, now
from ibid.db.session import Database
from ibid.db.tables import PartialUpload, UploadPart
from ibid.documents import Accepted
from ibid.errors import Conflict, Invalid, NotFound, TooLarge
from ibid.types import Json, Scope


class UploadNotFound(NotFound):
    """There is no such upload, it expired, or another key began it."""

    code = "upload_not_found"


class OffsetMismatch(Conflict):
    """The bytes do not begin where the upload stands."""

    code = "offset_mismatch"


class UploadTooLarge(TooLarge):
    """The upload is longer than the setting allows, or than it was said to be."""

    code = "too_large"


class NothingToUpload(Invalid):
    """The upload is said to have no bytes."""

    code = "empty_file"


@dataclass(frozen=True, slots=True)
class NewUpload:
    """An upload as it is announced. `length` is in bytes; with `unpack` it is an archive."""

    filename: str
    length: int
    external_id: str | None
    metadata: Mapping[str, Json] | None
    grants: list[str] | None
    unpack: bool = False


def create(
    session: Session, scope: Scope, ref: str, new: NewUpload, *, most: int, kept: timedelta
) -> PartialUpload:
    """Begin an upload, refused now if its end would be refused for its name, size or collection."""
    collection = access.collection(session, scope, ref)
    documents.checked_name(new.filename)
    if not (new.unpack and media.archive(new.filename)):
        media.media_type(new.filename)
    if new.length == 0:
        raise NothingToUpload(f"{new.filename} is empty. Check that it was saved.", param="Upload-Length")
    if new.length > most:
        raise UploadTooLarge(
            f"{new.filename} is larger than the {most:,} bytes that an upload in parts may have. Split it.",
            param="Upload-Length",
        )
    made = PartialUpload(
        id=new_id("up"),
        key_id=scope.key_id,
        actor=scope.actor,
        collection_id=collection.id,
        filename=new.filename,
        length=new.length,
        offset=0,
        external_id=new.external_id,
        meta=None if new.metadata is None else dict(new.metadata),
        grants=new.grants,
        unpack=new.unpack and media.archive(new.filename) is not None,
        outcome=None,
        created_at=now(),
        expires_at=now() + kept,
    )
    session.add(made)
    session.flush()
    return made


def find(session: Session, scope: Scope, upload_id: str, *, lock: bool = False) -> PartialUpload:
    """The asker's own upload, not expired; another's does not exist for them."""
    wanted = select(PartialUpload).where(
        PartialUpload.id == upload_id,
        PartialUpload.key_id == scope.key_id,
        PartialUpload.actor == scope.actor,
        PartialUpload.expires_at > now(),
    )
    if lock:
        wanted = wanted.with_for_update().execution_options(populate_existing=True)
    found = session.scalar(wanted)
    if found is None:
        raise UploadNotFound(f"There is no upload {upload_id!r}, or it expired. Begin a new one.")
    access.collection(session, scope, found.collection_id)
    return found


def at(session: Session, scope: Scope, upload_id: str, offset: int, *, lock: bool = False) -> PartialUpload:
    """The asker's upload, or `OffsetMismatch` if it does not stand at `offset`."""
    found = find(session, scope, upload_id, lock=lock)
    if found.offset != offset:
        raise OffsetMismatch(
            f"The upload stands at {found.offset} and not at {offset}. Ask with HEAD, and go on from there.",
            param="Upload-Offset",
        )
    return found


def check_length(upload: PartialUpload, end: int) -> None:
    """Raise `UploadTooLarge` if bytes up to `end` are more than were announced."""
    if end > upload.length:
        raise UploadTooLarge(f"The upload was said to have {upload.length} bytes, and more came.")


def store(db: Database, blobs: BlobStore, scope: Scope, upload_id: str, offset: int, content: bytes) -> str:
    """Make a part durable; gives its id. It counts only once `advance` has committed.

    The row comes first, so that what a crash leaves behind is removed with the upload.
    """
    with db.begin() as session:
        found = at(session, scope, upload_id, offset)
        check_length(found, offset + len(content))
        part_id = new_id("part")
        key = f"parts/{upload_id}/{part_id}"
        session.add(
            UploadPart(
                id=part_id, upload_id=upload_id, start=offset, size=len(content), key=key, counted=False
            )
        )
    blobs.put(key, [content])
    return part_id


def advance(
    session: Session, scope: Scope, upload_id: str, part_id: str, *, kept: timedelta
) -> PartialUpload:
    """Count a part that is durable, unless another came in its place."""
    part = session.get(UploadPart, part_id)
    found = find(session, scope, upload_id, lock=True)
    if part is None or part.start != found.offset:
        raise OffsetMismatch("Another request has sent these bytes. Ask with HEAD, and go on from there.")
    part.counted = True
    found.offset += part.size
    found.expires_at = now() + kept
    session.flush()
    return found


def assemble(db: Database, blobs: BlobStore, upload_id: str, last_part: str, into: BinaryIO) -> None:
    """Write the counted parts and the last one, in their order."""
    with db.read() as session:
        wanted = select(UploadPart.key).where(
            UploadPart.upload_id == upload_id, UploadPart.counted | (UploadPart.id == last_part)
        )
        keys = list(session.scalars(wanted.order_by(UploadPart.start)))
    for key in keys:
        into.writelines(blobs.open(key))


def end(found: PartialUpload, accepted: Accepted | Expected) -> None:
    """Note what became of the upload."""
    became = accepted if isinstance(accepted, Accepted) else None
    found.document_id = became.document_id if became else None
    found.outcome = {
        "id": became.document_id if became else None,
        "version": became.version if became else None,
        "job_id": accepted.job_id,
        "outcome": accepted.outcome,
    }


def cancel(session: Session, scope: Scope, upload_id: str) -> PartialUpload:
    """Let go of an upload: it is over at once, and its parts go with the next `remove_expired`."""
    found = find(session, scope, upload_id, lock=True)
    found.expires_at = found.created_at
    return found


def remove(db: Database, blobs: BlobStore, upload_ids: Iterable[str]) -> int:
    """Remove uploads with all their parts, bytes first; gives how many parts."""
    ids = sorted(upload_ids)
    if not ids:
        return 0
    with db.read() as session:
        wanted = select(UploadPart.key).where(UploadPart.upload_id.in_(ids))
        keys = {*session.scalars(wanted), *(key for id_ in ids for key in blobs.keys(f"parts/{id_}"))}
    for key in keys:
        blobs.delete(key)
    with db.begin() as session:
        session.execute(sql_delete(UploadPart).where(UploadPart.upload_id.in_(ids)))
        session.execute(sql_delete(PartialUpload).where(PartialUpload.id.in_(ids)))
    return len(keys)


def remove_expired(db: Database, blobs: BlobStore, moment: datetime) -> int:
    """Remove uploads that expired, and the parts of those that ended; bytes first. Gives how many parts."""
    over = select(PartialUpload.id).where(
        (PartialUpload.expires_at <= moment) | PartialUpload.outcome.is_not(None)
    )
    with db.read() as session:
        wanted = select(UploadPart.id, UploadPart.key).where(UploadPart.upload_id.in_(over)).limit(500)
        parts = [(part_id, key) for part_id, key in session.execute(wanted)]
    for _, key in parts:
        blobs.delete(key)
    with db.begin() as session:
        session.execute(sql_delete(UploadPart).where(UploadPart.id.in_([part_id for part_id, _ in parts])))
        left = select(UploadPart.id).where(UploadPart.upload_id == PartialUpload.id)
        session.execute(sql_delete(PartialUpload).where(PartialUpload.expires_at <= moment, ~left.exists()))
    return len(parts)
