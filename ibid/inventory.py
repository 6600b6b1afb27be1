"""What is left over in the whole installation, beside the points of its collections (`integrity`), and its repair."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from ibid import families, removal, strays, uploads
from ibid.blobs.port import BlobStore
from ibid.bootstrap import Parts
from ibid.db.session import Database
from ibid.db.tables import Blob, Document, Generation, UploadPart

PAGE = 500


@dataclass(frozen=True, slots=True)
class Inventory:
    """Counts of what was found, before any repair.

    Generations that were dropped and are in the store, and those that SQL never knew; bytes that no row knows, rows that
    nothing refers to, and rows whose bytes are lost, which no repair brings back; documents inside deleted ones; texts
    of no version and vectors of no passage.
    """

    dropped_generations: int
    unknown_generations: int
    bytes_without_row: int
    rows_without_reference: int
    lost_bytes: int
    children_without_parent: int
    stray_texts: int
    stray_vectors: int
    repaired: bool


def take(parts: Parts, *, repair: bool) -> Inventory:
    """Look at everything; with `repair`, remove what is left over.

    What SQL never knew, generations and bytes, is removed in standalone mode alone: a server or a bucket may be shared.
    """
    dropped, unknown = _generations(parts)
    loose = [key for some in _loose_bytes(parts) for key in some]
    with parts.db.read() as session:
        unreferenced = list(_unreferenced(session))
        orphans = _children(session)
        stray = strays.count(session)
    lost = _lost_bytes(parts.db, parts.blobs)
    if repair:
        for generation_id in [*dropped, *(unknown if parts.settings.standalone else ())]:
            parts.store.drop(generation_id)
        for key in loose if parts.settings.standalone else ():
            parts.blobs.delete(key)
        _remove_children(parts, orphans)
        strays.remove(parts.db)
        for some in unreferenced:
            uploads.erase(parts.db, parts.blobs, some)
    return Inventory(
        dropped_generations=len(dropped),
        unknown_generations=len(unknown),
        bytes_without_row=len(loose),
        rows_without_reference=sum(map(len, unreferenced)),
        lost_bytes=lost,
        children_without_parent=len(orphans),
        stray_texts=stray["texts"],
        stray_vectors=stray["embeddings"],
        repaired=repair,
    )


def _generations(parts: Parts) -> tuple[list[str], list[str]]:
    """Those in the store that SQL says were dropped, and those it does not know; the store is asked first."""
    stored = parts.store.generations()
    with parts.db.read() as session:
        states = {row.id: row.state for row in session.execute(select(Generation.id, Generation.state))}
    dropped = sorted(id_ for id_ in stored if states.get(id_) == "dropped")
    return dropped, sorted(stored - states.keys())


def _loose_bytes(parts: Parts) -> Iterator[list[str]]:
    """Keys in the blob store that no row names; a row is written before its bytes, so they are listed first."""
    for keys in _pages(parts.blobs.keys()):
        with parts.db.read() as session:
            known = set(session.scalars(select(Blob.key).where(Blob.key.in_(keys))))
            known |= set(session.scalars(select(UploadPart.key).where(UploadPart.key.in_(keys))))
        yield [key for key in keys if key not in known]


def _unreferenced(session: Session) -> Iterator[set[str]]:
    """Ids of rows of bytes that nothing refers to, a page at a time."""
    after = ""
    while some := uploads.orphans(session, after):
        yield some
        after = max(some)


def _lost_bytes(db: Database, blobs: BlobStore) -> int:
    """How many living rows have lost their bytes."""
    lost, after = 0, ""
    while True:
        living = select(Blob.id, Blob.key).where(Blob.dead.is_(False))
        with db.read() as session:
            page = session.execute(living.where(Blob.id > after).order_by(Blob.id).limit(PAGE)).all()
        missing = [id_ for id_, key in page if not blobs.exists(key)]
        with db.read() as session:  # but for those that were removed meanwhile
            still = select(Blob.id).where(Blob.id.in_(missing), Blob.dead.is_(False))
            lost += len(session.scalars(still).all())
        if not page:
            return lost
        after = page[-1].id


def _children(session: Session) -> list[str]:
    """Living documents whose parent was deleted or is not there."""
    parent = aliased(Document)
    living = select(parent.id).where(parent.id == Document.parent_id, parent.deleted_at.is_(None))
    orphans = select(Document.id).where(
        Document.parent_id.is_not(None), Document.deleted_at.is_(None), ~living.exists()
    )
    return list(session.scalars(orphans.order_by(Document.id)))


def _remove_children(parts: Parts, ids: list[str]) -> None:
    settings = parts.settings
    grace = None if settings.standalone else timedelta(seconds=settings.qdrant_timeout)
    for document_id in ids:
        with parts.db.begin() as session:
            held = families.hold(session, [document_id])
            removal.remove(session, [child for child in held if child.id == document_id], grace=grace)


def _pages(keys: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(keys)
    while some := list(islice(iterator, PAGE)):
        yield some
