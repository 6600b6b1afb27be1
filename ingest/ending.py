"""The end of an ingest: readers see the version, its points say so, and the job ends with a receipt."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from enum import Enum, auto

from sqlalchemy import select
from sqlalchemy.orm import Session

from ibid import children, claims, points, receipts
from ibid.claims import Claim
from ibid.db.tables import Document, Parse, Version
from ibid.layout import decode_report
from ibid.points import Said
from ibid.receipts import Receipt
from ibid.types import JobState, ParseReport
from ingest import publishing, recognising, storing
from ingest.storing import Stored
from ingest.tools import Tools

log = logging.getLogger(__name__)


class Outcome(Enum):
    """What became of a version: a generation lacks it; it is live, or overtaken; and its job has ended as well."""

    LACKING = auto()
    LIVE = auto()
    ENDED = auto()


def publish(tools: Tools, held: Claim, stored: Sequence[Stored], seconds: Mapping[str, float]) -> Outcome:
    """Publish, and in the same commit end the job if no point has to change: of a first version, open and not overtaken."""
    grace = None if tools.settings.standalone else timedelta(seconds=tools.settings.qdrant_timeout)
    report = _report(tools, held)  # before the locks: decoding a long document's takes a while
    with storing.removed_if_gone(tools, stored), tools.db.begin() as session:
        if not publishing.publish(session, held, stored, grace=grace):
            return Outcome.LACKING
        version = session.get_one(Version, held.version_id)
        owner = session.get_one(Document, held.document_id)
        said = {Said(payload.access, payload.marks) for each in stored for payload in each.said}
        first = version.number == 1 and version.live_to is None
        untouched = first and not owner.restricted and said == {points.said(session, owner)}
        if report is None or not untouched or recognising.is_due(tools.settings, version, report):
            return Outcome.LIVE
        state = _end(session, tools, held, seconds, report)
    log.info("the job ended: %s", state)
    return Outcome.ENDED


def _report(tools: Tools, held: Claim) -> ParseReport | None:
    with tools.db.read() as session:
        of_version = select(Parse.layout).join(Version, Version.parse_key == Parse.key)
        layout = session.scalar(of_version.where(Version.id == held.version_id))
    return decode_report(layout) if layout is not None else None


def finish(tools: Tools, held: Claim, seconds: Mapping[str, float]) -> None:
    """Bring the points of a live version and of those before it up to date, and end the job."""
    publishing.retire_points(tools, held)
    recognising.follow_up(tools, held)
    while not _ended(tools, held, seconds, publishing.describe_points(tools, held)):
        continue  # something else was said while the points were given this


def _ended(tools: Tools, held: Claim, seconds: Mapping[str, float], said: Said) -> bool:
    """End the job with its receipt, unless what is said of the document is no longer what its points have."""
    with tools.db.begin() as session:
        claims.check(session, held)
        owner = session.get_one(Document, held.document_id)
        if points.said(session, owner) != said:
            return False
        state = _end(session, tools, held, seconds)
    log.info("the job ended: %s", state)
    return True


def _end(
    session: Session,
    tools: Tools,
    held: Claim,
    seconds: Mapping[str, float],
    report: ParseReport | None = None,
) -> JobState:
    version = session.get_one(Version, held.version_id)
    owner = session.get_one(Document, version.document_id)
    if (spent := _spent(session, owner, version, seconds)) is not None:
        receipts.keep(version, _receipt(session, tools, owner, version, spent, report))
    receipt = receipts.of(session, version)
    waiting = receipt.pages.waiting
    whole = receipt.whole and (not waiting or recognising.will_read(session, version))
    state = JobState.SUCCEEDED if whole else JobState.PARTIALLY_SUCCEEDED
    statistics = {"chunks": asdict(receipt.chunks), "warnings": list(receipt.warnings)}
    claims.finish(session, held, state, statistics)
    return state


def _spent(
    session: Session, owner: Document, version: Version, seconds: Mapping[str, float]
) -> Mapping[str, float] | None:
    """Seconds per stage for a receipt that is to be kept: the first, or one whose pictures may be read by now.

    None for a job that only brought the points up to date.
    """
    if not version.receipt:
        return seconds
    kept = receipts.of(session, version)
    again = bool(kept.pages.waiting) and owner.current_version_id == version.id
    return kept.seconds.of_stages() if again else None


def _receipt(
    session: Session,
    tools: Tools,
    owner: Document,
    version: Version,
    seconds: Mapping[str, float],
    report: ParseReport | None,
) -> Receipt:
    """With what the later steps have to add: files inside and pages that were not read."""
    receipt = receipts.so_far(session, version, JobState.RUNNING, seconds, report)
    unread = children.warnings(session, owner, version.parse_key or "")
    waiting = receipt.pages.waiting
    read_next = bool(waiting) and recognising.will_read(session, version)
    left = recognising.note(tools.settings, waiting, read_next=read_next)
    return replace(receipt, warnings=receipt.warnings + unread + left)
