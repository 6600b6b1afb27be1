"""Publication: the version becomes what readers see, in one commit, once every generation holds it."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from ibid import children, claims, families, generations, outbox, points
from ibid.claims import Claim
from ibid.clock import now
from ibid.db.tables import Document, Generation, Indexing, Version
from ibid.points import Said
from ibid.vectors.port import Fence
from ingest import storing
from ingest.standing import VersionGone
from ingest.storing import Stored
from ingest.tools import Tools


def lacking(session: Session, held: Claim) -> list[Generation]:
    """Generations of the claim's collection that do not wholly hold its version yet."""
    stored = set(
        session.scalars(select(Indexing.generation_id).where(Indexing.version_id == held.version_id))
    )
    return [g for g in generations.written(session, held.collection_id) if g.id not in stored]


def publish(session: Session, held: Claim, stored: Sequence[Stored], *, grace: timedelta | None) -> bool:
    """Record what is stored of the version and make it live; False if a generation appeared that lacks it.

    The files inside become documents in the same commit, and those that are no longer inside go (`grace`: see
    `documents.delete`): a version that fails takes nothing from readers of the one before. Does nothing when a newer
    version is live already, or when this one is (an attempt after a crash).
    """
    generations.lock_collection(session, held.collection_id)
    version = session.get(Version, held.version_id)
    if version is not None:
        children.hold(session, version.parse_key or "")
    families.hold(session, [held.document_id or ""])
    document = session.get_one(Document, held.document_id)
    if version is None or document.deleted_at is not None:
        raise VersionGone(f"Document {document.id} was deleted; its version is not published.")
    storing.record(session, stored)
    claims.check(session, held)
    if lacking(session, held):
        return False
    live = session.get(Version, document.current_version_id) if document.current_version_id else None
    if live is None or live.number < version.number:
        _go_live(session, held, document, version, live)
        children.accept(session, document, version, grace=grace)
    elif version.live_from is None:  # overtaken before it was ever seen: superseded at once
        version.live_from = version.live_to = now()
    return True


def _go_live(
    session: Session, held: Claim, document: Document, version: Version, former: Version | None
) -> None:
    moment = now()
    version.live_from = moment
    document.current_version_id, document.updated_at = version.id, moment
    if former is not None:
        former.live_to = moment
    outbox.announce_document(
        session, "ready", document.collection_id, document.id, version=version.number, job_id=held.id
    )


def describe_points(tools: Tools, held: Claim) -> Said:
    """Give all points of the claim's document what is said of it, which it gives back.

    Looks again after it wrote, until SQL says the same: a late attempt whose words are old by now does no harm, also
    where no store's owner refuses it.
    """
    said = _said(tools, held)
    while True:
        _describe(tools, held, said)
        written, said = said, _said(tools, held)
        if said == written:
            return said


def _said(tools: Tools, held: Claim) -> Said:
    with tools.db.read() as session:
        return points.said(session, session.get_one(Document, held.document_id))


def _describe(tools: Tools, held: Claim, said: Said) -> None:
    with tools.db.read() as session:
        targets = generations.written(session, held.collection_id)
    stored = tools.store.generations()
    for generation in targets:
        if generation.id in stored:
            fence = Fence(held.id, held.attempt)
            tools.store.describe(generation.id, held.document_id or "", said.access, said.marks, fence=fence)


def retire_points(tools: Tools, held: Claim) -> None:
    """Tell the store the end of this document's superseded versions; searches check SQL, so this only saves work.

    Not fenced: an end never changes once it is there, so a late attempt writes what everybody does.
    """
    with tools.db.read() as session:
        over = session.scalars(
            select(Version).where(Version.document_id == held.document_id, Version.live_to.is_not(None))
        ).all()
        targets = generations.written(session, held.collection_id)
    stored = tools.store.generations()
    for version in over:
        for generation in targets:
            if version.live_to is not None and generation.id in stored:
                tools.store.supersede(generation.id, version.id, version.live_to.timestamp())
