"""What the elected sweeper does: nothing here is urgent, all of it may be done twice."""

from datetime import datetime, timedelta

from ibid import (
    arrivals,
    claims,
    fits,
    generations,
    keys,
    outbox,
    replies,
    resumable,
    spending,
    uploads,
    versions,
    writing,
)
from ibid.bootstrap import Parts
from retrieval import records


def sweep(parts: Parts, moment: datetime) -> None:
    """Take over from lost workers and processes, and let go of what was kept long enough."""
    settings = parts.settings
    with parts.db.begin() as session:  # on its own: nothing below may keep a lost job from being found
        claims.sweep(session, max_failures=settings.max_attempts)
    with parts.db.begin() as session:
        records.end_interrupted(session)
        generations.tidy(session)
        fits.tidy(session)
        generations.expire(session, kept=timedelta(hours=settings.generation_retention_hours))
        versions.expire(session, kept=timedelta(days=settings.version_retention_days))
        versions.clear_cancelled(session)
        replies.expire(session, moment)
        keys.expire(session, moment)
        outbox.expire(session, moment)
        spending.expire(session)
        writing.expire(session)
        unreferenced = arrivals.expire(session, kept=timedelta(hours=settings.upload_expiry_hours))
        session.flush()
        unreferenced |= uploads.orphans(session)
    if unreferenced:
        uploads.erase(parts.db, parts.blobs, unreferenced)
    resumable.remove_expired(parts.db, parts.blobs, moment)
