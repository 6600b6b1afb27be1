"""Points written beside a document's own job, by a reindex or a repair: a deletion waits until such a write is over.

The writer holds a lease from before it looks whether the document lives until what it wrote is there. A deletion looks
for leases after its commit. So one of the two sees the other, and no point comes after the deletion's scan.
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
    """Hold a lease on writing points of a document, or of any document of a collection, while the block looks and writes."""
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
    ours = or_(*(Lease.name.startswith(f"{_NAMES}{of} ") for of in (document_id, collection_id)))
    at = moment(session)
    session.execute(delete(Lease).where(ours, Lease.until <= at))  # of writers that were killed
    if session.scalar(select(Lease.name).where(ours).limit(1)) is not None:
        raise StillWritten(
            "A reindex or a repair may be writing passages of the deleted document. It is forgotten after that."
        )


def expire(session: Session) -> None:
    """Remove the leases that ran out: of writers that were killed, or heard nothing more from the store."""
    session.execute(delete(Lease).where(Lease.name.startswith(_NAMES), Lease.until <= moment(session)))


def _free(db: Database, name: str) -> None:
    with db.begin(durable=False) as session:
        session.execute(delete(Lease).where(Lease.name == name))
