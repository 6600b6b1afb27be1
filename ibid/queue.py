"""The queue as a whole: how much waits, for how long, and whether there is room for more."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from ibid import jobs
from ibid.db.session import moment
from ibid.db.tables import Job
from ibid.errors import Limited
from ibid.types import JobKind, JobState, Scope

RETRY_AFTER_SECONDS: Final = 10.0


class QueueFull(Limited):
    """So many jobs of the collection wait that no more are taken for the moment."""

    code = "queue_full"


@dataclass(frozen=True, slots=True)
class QueueView:
    """The jobs that the asker may see and that have not ended; the oldest has waited for so many seconds."""

    queued: int
    running: int
    stalled: int
    oldest_queued_seconds: float | None


def check_room(session: Session, collection_id: str, most: int) -> None:
    """Raise `QueueFull` if `most` jobs of the collection wait already."""
    waiting = select(Job.id).where(Job.collection_id == collection_id, Job.state == JobState.QUEUED)
    if session.scalar(waiting.order_by(Job.id).offset(most - 1).limit(1)) is not None:
        raise QueueFull(
            f"{most} jobs of this collection wait already. Send this again when some of them have ended.",
            retry_after=RETRY_AFTER_SECONDS,
        )


def view(session: Session, scope: Scope) -> QueueView:
    """How many jobs wait and run, and how long the oldest has been waiting for its turn."""
    at = moment(session)
    stalled = and_(Job.state == JobState.RUNNING, Job.lease_until < at)
    open_ = Job.state.in_([JobState.QUEUED, JobState.RUNNING])
    row = session.execute(
        select(
            func.count().filter(Job.state == JobState.QUEUED),
            func.count().filter(Job.state == JobState.RUNNING),
            func.count().filter(stalled),
            func.min(Job.not_before).filter(Job.state == JobState.QUEUED),
        ).where(open_, jobs.visible(scope))
    ).one()
    queued, running, lost = row[:3]
    oldest: datetime | None = row[3]
    waited = max(0.0, (at - oldest).total_seconds()) if oldest else None
    return QueueView(queued, running - lost, lost, waited)


def being_read(session: Session, scope: Scope, collection_id: str) -> int:
    """How many documents of the collection that the asker may see wait to be read or are being read."""
    under_way = select(func.count()).where(
        Job.collection_id == collection_id,
        Job.kind == JobKind.INGEST,
        Job.state.in_([JobState.QUEUED, JobState.RUNNING]),
        jobs.visible(scope),
    )
    return session.scalar(under_way) or 0
