"""Points written or removed beside a document's own job: who would undo or be undone by it waits until that is over.

A reindex or a repair holds a lease from before it looks whether the document lives until what it wrote is there. A
deletion looks for leases after its commit. So one of the two sees the other, and no point comes after the deletion's
scan. In the same way a job that removes what was left of a version holds one from before it looks whether that is still
its work until the points are gone, and who tries the version again looks for leases before anything else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final
from uuid import uuid4

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from ibid.db.session import Database, moment
from ibid.db.tables import Lease
from ibid.errors import IbidError, Unavailable

LONGEST: Final = timedelta(minutes=3)
"""More than what is done under one lease may take: a look at the database, and then two calls to the store, or one that
its client makes twice. A client waits for a call at most a minute (`Settings.qdrant_timeout`, `vectors.remote.TIMEOUT`),
so what was sent before its writer died has arrived by then.
"""
_NAMES: Final = "points "


class StillWritten(Unavailable):
    """Points of the deleted document may be on their way to the vector store; it is forgotten after them."""

    code = "still_written"


@contextmanager
def points(db: Database, of: str) -> Iterator[None]:
    """Hold a lease on points while the block looks and then writes or removes them.

    `of` is a document, a collection for any of its documents, or a version.
    """
    name = f"{_NAMES}{of} {uuid4().hex[:12]}"
    with db.begin(durable=False) as session:
        session.add(Lease(name=name, owner="", until=moment(session) + LONGEST))
    try:
        yield
    except Unavailable:  # what was sent may arrive yet: the lease runs out by itself
        raise
    except IbidError:
        _free(db, name)
        raise
    _free(db, name)


def check(session: Session, collection_id: str, document_id: str) -> None:
    """Raise `StillWritten` while somebody may be writing points of the deleted document."""
    if under_way(session, document_id, collection_id):
        raise StillWritten(
            "A reindex or a repair may be writing passages of the deleted document. It is forgotten after that."
        )


def under_way(session: Session, *of: str) -> bool:
    """Whether somebody may be writing or removing points of these."""
    theirs = or_(*(Lease.name.startswith(f"{_NAMES}{each} ") for each in of))
    held = select(Lease.name).where(theirs, Lease.until > moment(session))
    return session.scalar(held.limit(1)) is not None


def expire(session: Session) -> None:
    """Remove the leases that ran out: of writers that were killed, or heard nothing more from the store."""
    session.execute(delete(Lease).where(Lease.name.startswith(_NAMES), Lease.until <= moment(session)))


def _free(db: Database, name: str) -> None:
    with db.begin(durable=False) as session:
        session.execute(delete(Lease).where(Lease.name == name))
