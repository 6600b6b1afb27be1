"""Documents with all that are inside them, such as a mail with its attachments: locked together, known by their place."""

from collections.abc import Collection
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from ibid import fingerprints
from ibid.db.tables import Document, Job, KeptOut, Version

DEEPEST: Final = 3
"""So many documents may a document be inside of."""


def hold(session: Session, ids: Collection[str]) -> list[Document]:
    """Lock the documents, all living ones inside them, and their jobs; gives the living ones, by id.

    Everybody who locks several locks documents by id and then jobs by id, so that nobody waits in a ring.
    """
    wanted = within(session, ids)
    while True:
        locked = select(Document).where(Document.id.in_(wanted)).order_by(Document.id).with_for_update()
        rows = session.scalars(locked.execution_options(populate_existing=True)).all()
        found = within(session, wanted)
        if found <= wanted:
            break
        wanted |= found  # made while the lock was waited for, so theirs are the highest ids
    jobs = select(Job.id).where(Job.document_id.in_(wanted)).order_by(Job.id)
    session.execute(jobs.with_for_update()).all()
    return [row for row in rows if row.deleted_at is None]


def within(session: Session, ids: Collection[str]) -> set[str]:
    """The ids, and those of all living documents inside them."""
    found, level = set(ids), set(ids)
    while level:
        inside_ = select(Document.id).where(Document.parent_id.in_(level), Document.deleted_at.is_(None))
        level = set(session.scalars(inside_)) - found
        found |= level
    return found


def inside(session: Session, document_id: str) -> list[Document]:
    """The living documents that were found inside this one, by id."""
    living = select(Document).where(Document.parent_id == document_id, Document.deleted_at.is_(None))
    return list(session.scalars(living.order_by(Document.id)))


def around(session: Session, document: Document) -> list[Document]:
    """The documents that it is inside of, the nearest first."""
    found, above = [], document.parent_id
    while above is not None:
        found.append(session.get_one(Document, above))
        above = found[-1].parent_id
    return found


def identity(parent: Document, number: int, name: str) -> str:
    """What tells the `number`-th file of this name inside a document from the others."""
    return f"child:{parent.id}:{number}:{fingerprints.of(name)}"


def name_of(identity: str) -> str:
    """The hash of the name in the identity of a file inside a document."""
    return identity.rsplit(":", maxsplit=1)[-1]


def place(session: Session, parent: Document, child: str) -> tuple[str, str]:
    """The outermost document, and the hash of the way from there to the identity of a child."""
    *inner, root = (parent, *around(session, parent))
    way = (child, *(each.identity for each in inner))
    return root.id, fingerprints.of(*(step.split(":", 2)[-1] for step in way))


def keep_out(session: Session, document: Document) -> None:
    """Note of a document that a person deletes, if it is inside another, that it is not to be taken from there again."""
    if document.parent_id is None:
        return
    root_id, here = place(session, session.get_one(Document, document.parent_id), document.identity)
    contents = select(Version.sha256).where(Version.document_id == document.id)
    marks = {here, *session.scalars(contents)}
    session.add_all(KeptOut(root_id=root_id, mark=mark, document_id=document.id) for mark in marks)
    session.flush()


def kept_out(session: Session, root_id: str) -> frozenset[str]:
    """Places and hashes of bytes that are not taken from the inside of a document."""
    return frozenset(session.scalars(select(KeptOut.mark).where(KeptOut.root_id == root_id)))


def forget(session: Session, root_id: str) -> int:
    """Forget what was kept out of a document that is deleted; gives how many marks."""
    gone = delete(KeptOut).where(KeptOut.root_id == root_id).returning(KeptOut.mark)
    return len(session.scalars(gone).all())
