"""Named leases: one process at a time holds one, such as the right to sweep."""

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ibid.clock import now
from ibid.db.tables import Lease


def take(session: Session, name: str, owner: str, length: timedelta) -> bool:
    """Whether `owner` now holds the lease: it was free, expired or already theirs."""
    moment = now()
    lease = session.scalar(select(Lease).where(Lease.name == name).with_for_update())
    if lease is None:
        try:
            with session.begin_nested():
                session.add(Lease(name=name, owner=owner, until=moment + length))
        except IntegrityError:
            return False  # another process was first
        return True
    if lease.owner != owner and lease.until > moment:
        return False
    lease.owner, lease.until = owner, moment + length
    return True
