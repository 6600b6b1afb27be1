"""Who else still holds the bytes of a deleted document: other documents, those it was inside of, archives it came in."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select, union
from sqlalchemy.orm import Session

from ibid import access, families
from ibid.db.tables import Arrival, AttachmentRow, Audit, Blob, Collection, Document, Job, Version
from ibid.types import Scope

MOST: Final = 100
"""So many are listed in a certificate; the others are counted."""

SAME: Final = "it has the same bytes"
INSIDE: Final = "the file is inside it, in one of its versions"
ARCHIVE: Final = "the file is in this archive, which is still being unpacked or is kept for another try"
ADDRESS: Final = "it fetches from the address by which the document was known, or is kept for another try"
ELSEWHERE: Final = {
    "document_id": None,
    "job_id": None,
    "name": "elsewhere",
    "why": "it is held, or will be fetched, where you may not look, or was when this was written",
    "what_to_do": "Ask somebody who sees more. It may be gone by now.",
}


@dataclass(frozen=True, slots=True)
class Holder:
    """A living document, or the job of an archive, that holds the bytes, or one that would fetch them; `why` says how."""

    why: str
    document_id: str | None = None
    job_id: str | None = None


def of(
    session: Session, document_ids: Sequence[str], contents: Iterable[str], came_by: Iterable[str]
) -> tuple[list[Holder], int]:
    """Those that hold what deleted documents were, whose bytes had these SHA-256: some, and how many more there are.

    `came_by` are jobs that brought them, or may bring them again (`arrivals`, `addresses`).

    Millions may hold the same bytes, so the database looks for them and counts them, and their ids stay there.
    """
    blobs = select(Blob.id).where(Blob.sha256.in_(contents))
    parses = select(AttachmentRow.parse_key).where(AttachmentRow.blob_id.in_(blobs))
    same = select(Version.document_id).where(Version.blob_id.in_(blobs))
    read = select(Version.document_id).where(Version.parse_key.in_(parses))
    living = select(Document.id).where(Document.deleted_at.is_(None))
    # Unions, since with "or" the database would look at every row.
    deleted = select(Document.id).where(Document.id.in_(document_ids))
    level = union(deleted, living.where(Document.id.in_(same)), living.where(Document.id.in_(read))).cte()
    family = [select(level.c.id)]
    for _ in range(families.DEEPEST):
        parents = select(Document.parent_id.label("id")).where(Document.parent_id.is_not(None))
        level = parents.where(Document.id.in_(family[-1])).cte()
        family.append(select(level.c.id))
    inside = union(read, *family[1:])
    told = select(Audit.detail["brought_by"].as_string()).where(Audit.action == "document.upload")
    came = union(
        select(Document.batch_id).where(Document.id.in_(union(*family))),
        told.where(Audit.resource.in_(union(*family))),
        select(Arrival.job_id).where(Arrival.blob_id.in_(blobs)),
    )
    addresses = select(Arrival.job_id).where(Arrival.url.is_not(None), Arrival.job_id.in_(came_by))
    found, more = list[Holder](), 0
    for why, ids in (
        (SAME, living.where(Document.id.in_(same))),
        (INSIDE, living.where(Document.id.in_(inside), Document.id.not_in(same))),
        (ARCHIVE, select(Arrival.job_id).where(Arrival.blob_id.is_not(None), Arrival.job_id.in_(came))),
        (ADDRESS, addresses),
    ):
        listed = session.scalars(ids.order_by(ids.selected_columns[0]).limit(MOST)).all()
        found += [
            Holder(why, job_id=id_) if why in {ARCHIVE, ADDRESS} else Holder(why, document_id=id_)
            for id_ in listed
        ]
        if len(listed) == MOST:
            more += (session.scalar(select(func.count()).select_from(ids.subquery())) or 0) - MOST
    return found, more


def around(session: Session, document_ids: Iterable[str]) -> set[str]:
    """Ids of the documents, living or not, that they are inside of."""
    found, level = set[str](), set(document_ids)
    while level:
        parents = select(Document.parent_id).where(Document.id.in_(level), Document.parent_id.is_not(None))
        level = {id_ for id_ in session.scalars(parents) if id_} - found
        found |= level
    return found


def arrivals(session: Session, document_ids: Iterable[str]) -> set[str]:
    """Ids of the jobs that ever brought the documents in."""
    ids = list(document_ids)
    last = session.scalars(select(Document.batch_id).where(Document.id.in_(ids)))
    told = session.scalars(
        select(Audit.detail).where(Audit.resource.in_(ids), Audit.action == "document.upload")
    )
    return {id_ for id_ in (*last, *(detail.get("brought_by") for detail in told)) if id_}


def addresses(session: Session, document_id: str) -> set[str]:
    """Ids of the jobs that are to fetch the document anew, or may be tried again: known by its external id."""
    known = func.coalesce(Arrival.external_id, Arrival.url) == Document.external_id
    here = select(Arrival.job_id).join(Document, known & (Document.collection_id == Arrival.collection_id))
    return set(session.scalars(here.where(Document.id == document_id, Arrival.url.is_not(None))))


def noted(found: Sequence[Holder], more: int) -> dict[str, Any]:
    """Holders as a certificate keeps them, and how many more there are: by id, without a name that would outlive them."""
    listed = [
        {"document_id": each.document_id, "job_id": each.job_id, "why": each.why} for each in found[:MOST]
    ]
    return {"held_by": listed, "held_by_more": more + len(found) - len(listed)}


def shown(session: Session, scope: Scope, statistics: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Statistics of jobs with the holders that the asker may see; all others are one, which tells no number.

    Else whoever may upload could find out how often a guessed text lies where they may not look.
    """
    held = [each for certificate in statistics for each in certificate.get("held_by", ())]
    if not held:
        return list(statistics)
    documents = _names(session, scope, {each["document_id"] for each in held})
    jobs = _brought(session, scope, {each["job_id"] for each in held})
    everything = scope.collections is None and scope.principals is None
    told = []
    for certificate in statistics:
        listed = certificate.get("held_by", ())
        seen = [one for each in listed if (one := _shown(each, documents, jobs))]
        more = certificate.get("held_by_more", 0)
        if len(seen) < len(listed) or (more and not everything):
            seen.append(ELSEWHERE)
        hidden = {} if not listed or everything else {"held_by_more": 0}
        told.append(certificate | {"held_by": seen} | hidden if listed else certificate)
    return told


def _shown(
    held: dict[str, Any], documents: dict[str, str], jobs: dict[str, str]
) -> dict[str, str | None] | None:
    document_id, job_id = held["document_id"], held["job_id"]
    told = {"document_id": None, "job_id": None, "why": held["why"]}
    if document_id in documents:
        do = f"DELETE /v1/documents/{document_id} deletes it, with all versions and all that is inside."
        return told | {"document_id": document_id, "name": documents[document_id], "what_to_do": do}
    if job_id not in jobs:
        return None
    do = "It goes when its job has ended well, or some hours after it failed or was cancelled."
    if held["why"] == ADDRESS:
        do = (
            f"POST /v1/jobs/{job_id}/cancel stops it, if it has not ended. The address goes some hours later."
        )
    return told | {"job_id": job_id, "name": jobs[job_id], "what_to_do": do}


def _names(session: Session, scope: Scope, ids: set[str | None]) -> dict[str, str]:
    seen = (
        select(Document.id, Document.name)
        .join(Collection, Collection.id == Document.collection_id)
        .where(Document.id.in_(ids - {None}), access.sees_document(scope))
    )
    return {row.id: row.name for row in session.execute(seen)}


def _brought(session: Session, scope: Scope, ids: set[str | None]) -> dict[str, str]:
    seen = (
        select(Job.id)
        .join(Collection, Collection.id == Job.collection_id)
        .where(Job.id.in_(ids - {None}), access.sees_collection(scope), access.sees_arrival(scope))
    )
    kept = select(Arrival.job_id, Arrival.name, Arrival.url).where(
        Arrival.blob_id.is_not(None) | Arrival.url.is_not(None)
    )
    return {
        row.job_id: row.name or row.url
        for row in session.execute(kept.where(Arrival.job_id.in_(session.scalars(seen).all())))
    }
