"""Named leases: one process at a time holds one, such as the right to sweep."""

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ibid.db.session import moment
from ibid.db.tables import Lease


def take(session: Session, name: str, owner: str, length: timedelta) -> bool:
    """Whether `owner` now holds the lease: it was free, expired or already theirs."""
    at = moment(session)
    lease = session.scalar(select(Lease).where(Lease.name == name).with_for_update())
    if lease is None:
        try:
            with session.begin_nested():
                session.add(Lease(name=name, owner=owner, until=at + length))
        except IntegrityError:
            return False  # another process was first
        return True
    if lease.owner != owner and lease.until > at:
        return False
    lease.owner, lease.until = owner, at + length
    return True
