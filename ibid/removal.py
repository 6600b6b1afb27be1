"""Removal: documents, and those inside them, are deleted for every reader in this commit; jobs clean up after it."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy.orm import Session

from ibid import families, forgetting, jobs, outbox, withdrawal
from ibid.clock import now
from ibid.db.tables import Document, Job
from ibid.types import JobKind


def remove(session: Session, held: Sequence[Document], *, grace: timedelta | None) -> list[Job]:
    """Delete documents that are held (`families.hold`) and those inside them; each has a job of its own.

    Gives the jobs of the documents themselves, in their order. `grace` is as for `documents.delete`.
    """
    if not held:
        return []
    ids = families.within(session, [document.id for document in held])
    gone = [session.get_one(Document, id_) for id_ in sorted(ids)]
    over = {}
    for document in gone:
        over[document.id] = jobs.cancel_for(
            session, collection_id=document.collection_id, document_id=document.id
        )
        document.deleted_at = now()
    withdrawn = withdrawal.withdraw(session, sorted(ids))
    inside = Counter(document.parent_id for document in gone)
    made = {}
    for document in reversed(gone):  # what is inside first: its bytes go with the document that holds them
        outbox.announce_document(session, "deleted", document.collection_id, document.id)
        not_before = (over[document.id] or now()) + grace if grace is not None else None
        job = jobs.enqueue(
            session, JobKind.PURGE, document.collection_id, document_id=document.id, not_before=not_before
        )
        forgetting.note(
            session, job.id, document.id, withdrawn[document.id] | {"documents_inside": inside[document.id]}
        )
        made[document.id] = job
    return [made[document.id] for document in held]
