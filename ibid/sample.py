"""The sample collection that a first start offers: a fictional library's documents, written for this project."""

import io
from importlib import resources

from sqlalchemy import select
from sqlalchemy.orm import Session

from ibid import collections, documents, media, queue, uploads
from ibid.bootstrap import Parts
from ibid.db.tables import Collection, Document
from ibid.documents import Upload
from ibid.types import Scope

NAME = "sample"
DESCRIPTION = "The Halden Library: opening hours, lending rules and more. Delete it whenever you like."

EVERYTHING = Scope(key_id="", role="admin", actor="first start")


def being_read(session: Session) -> bool:
    """Whether the sample was made and its documents cannot be asked about yet."""
    found = session.scalar(
        select(Collection.id).where(Collection.name == NAME, Collection.deleted_at.is_(None))
    )
    if found is None or queue.being_read(session, EVERYTHING, found) == 0:
        return False
    readable = select(Document.id).where(
        Document.collection_id == found, Document.current_version_id.is_not(None)
    )
    return session.scalar(readable.limit(1)) is None


def create_once(parts: Parts) -> bool:
    """Create the sample unless there is, or ever was, a collection; whether it did."""
    with parts.db.read() as session:
        if session.scalar(select(Collection.id).limit(1)) is not None:
            return False
    files = [
        file
        for file in resources.files("ibid.samples").iterdir()
        if media.extension(file.name) in media.BY_EXTENSION
    ]
    kept = [(file.name, uploads.keep(parts.db, parts.blobs, io.BytesIO(file.read_bytes()))) for file in files]
    recipe = parts.recipe()
    with parts.db.begin() as session:
        made = collections.create(session, name=NAME, description=DESCRIPTION, grants=None, recipe=recipe)
        for name, bytes_ in sorted(kept):
            upload = Upload(name=name, media_type=media.media_type(name).name, kept=bytes_)
            documents.accept(session, EVERYTHING, made.id, upload)
    return True
