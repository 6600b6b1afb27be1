"""Uploaded bytes: kept once for each content, durable before a document refers to them, removed when none does."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import BinaryIO, TypeVar

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from ibid.blobs.port import BlobStore
from ibid.clock import new_id, now
from ibid.db.session import Database
from ibid.db.tables import Arrival, AttachmentRow, Blob, Version
from ibid.errors import Conflict

PIECE = 1024 * 1024
ORPHAN_AGE = timedelta(hours=1)
TRIES = 3
AT_ONCE = 500
T = TypeVar("T")


class BlobDied(Conflict):
    """The stored bytes were removed between keeping them and referring to them; keep them again."""

    code = "blob_died"
    retryable = True


@dataclass(frozen=True, slots=True)
class Kept:
    """Durable bytes: `size` in bytes, `sha256` in hex."""

    blob_id: str
    sha256: str
    size: int


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """The file from its start, a mebibyte at a time."""
    file.seek(0)
    while piece := file.read(PIECE):
        yield piece


def keep(db: Database, blobs: BlobStore, file: BinaryIO) -> Kept:
    """Store the file's bytes unless they are stored already; durable when it returns.

    The row comes first, as dead, and lives once the bytes are there: a crash in between leaves a dead row, by which
    the orphan scan finds what may be there of the bytes. Bytes that the store has lost are put back.
    """
    digest, size = hashlib.sha256(), 0
    for piece in pieces(file):
        digest.update(piece)
        size += len(piece)
    sha256 = digest.hexdigest()
    with db.begin() as session:
        known = session.scalar(
            select(Blob)
            .where(Blob.sha256 == sha256, Blob.dead.is_(False))
            .order_by(Blob.id)
            .limit(1)
            .with_for_update()
        )
        if known is not None:
            known.touched_at = now()
            blob_id, key = known.id, known.key
        else:
            blob_id = new_id("blob")
            key = f"{sha256[:2]}/{sha256}/{blob_id}"
            session.add(Blob(id=blob_id, sha256=sha256, size=size, key=key, dead=True, touched_at=now()))
    if known is None or not blobs.exists(key):  # the store may have lost what the row says it has
        blobs.put(key, pieces(file))
    if known is not None:
        return Kept(blob_id, sha256, size)
    with db.begin() as session:
        session.execute(update(Blob).where(Blob.id == blob_id).values(dead=False, touched_at=now()))
    return Kept(blob_id, sha256, size)


def keeping(db: Database, blobs: BlobStore, file: BinaryIO, use: Callable[[Kept], T]) -> T:
    """What `use` makes of the file's durable bytes; again if they were removed as orphans before it referred to them."""
    for left in reversed(range(TRIES)):
        try:
            return use(keep(db, blobs, file))
        except BlobDied:
            if not left:
                raise
    raise AssertionError("the last try raises")


def refer(session: Session, kept: Kept) -> None:
    """Lock the bytes against removal until this transaction, which refers to them, has ended."""
    alive = select(Blob.id).where(Blob.id == kept.blob_id, Blob.dead.is_(False)).with_for_update()
    if session.scalar(alive) is None:
        raise BlobDied("The file was removed while it was being uploaded again. Upload it once more.")


def bury(session: Session, blob_ids: set[str]) -> list[tuple[str, str]]:
    """Mark bytes that no version, no parse and no arrival refers to as dead; gives (id, key) of those to delete from the blob store."""
    dead = []
    for blob_id in sorted(blob_ids):
        blob = session.scalar(select(Blob).where(Blob.id == blob_id).with_for_update())
        if blob is None or _is_needed(session, blob_id):
            continue
        blob.dead = True
        dead.append((blob.id, blob.key))
    return dead


def _is_needed(session: Session, blob_id: str) -> bool:
    version = select(Version.id).where(Version.blob_id == blob_id)
    attached = select(AttachmentRow.parse_key).where(AttachmentRow.blob_id == blob_id)
    arriving = select(Arrival.job_id).where(Arrival.blob_id == blob_id)
    return any(session.scalar(those.limit(1)) is not None for those in (version, attached, arriving))


def orphans(session: Session, after: str = "") -> set[str]:
    """Ids of bytes, dead or alive, that nothing refers to and nobody touched for an hour: the first `AT_ONCE` after one."""
    referred = select(Version.blob_id).where(Version.blob_id == Blob.id)
    attached = select(AttachmentRow.blob_id).where(AttachmentRow.blob_id == Blob.id)
    arriving = select(Arrival.job_id).where(Arrival.blob_id == Blob.id)
    unneeded = (~those.exists() for those in (referred, attached, arriving))
    old = Blob.touched_at < now() - ORPHAN_AGE
    found = select(Blob.id).where(*unneeded, old, Blob.id > after)
    return set(session.scalars(found.order_by(Blob.id).limit(AT_ONCE)))


def erase(db: Database, blobs: BlobStore, blob_ids: set[str]) -> int:
    """Remove those of the blobs that nothing refers to, bytes first; gives how many."""
    with db.begin() as session:
        dead = bury(session, blob_ids)
    for _, key in dead:
        blobs.delete(key)
    with db.begin() as session:
        session.execute(delete(Blob).where(Blob.id.in_([blob_id for blob_id, _ in dead])))
    return len(dead)
