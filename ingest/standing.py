"""Whether what is being stored still stands: a document may be deleted and a generation given up at any moment."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from ibid import generations
from ibid.db.tables import Document, Generation, Version
from ibid.errors import Conflict


class VersionGone(Conflict):
    """The version's document was deleted in the meantime; what was stored of it is removed again."""

    code = "version_gone"


class GenerationGone(Conflict):
    """The generation was given up in the meantime; the next attempt leaves it out."""

    code = "generation_gone"

    def __init__(self, generation_id: str) -> None:
        super().__init__(f"Generation {generation_id} was given up; nothing is stored in it any more.")
        self.generation_id = generation_id


def living(session: Session, version_id: str) -> tuple[Version, Document]:
    """The version and its document, locked against a delete until the transaction ends; else `VersionGone`."""
    return found(session, version_id, lock=True)


def found(session: Session, version_id: str, *, lock: bool = False) -> tuple[Version, Document]:
    """The version and its document; raises `VersionGone` if that was deleted."""
    both = find(session, version_id, lock=lock)
    if both is None:
        raise VersionGone("The document was deleted while it was being stored.")
    return both


def find(session: Session, version_id: str, *, lock: bool = False) -> tuple[Version, Document] | None:
    """The version and its document; None if that was deleted."""
    both = (
        select(Version, Document)
        .join(Document, Document.id == Version.document_id)
        .where(Version.id == version_id, Document.deleted_at.is_(None))
    )
    if lock:
        both = both.with_for_update(of=Document, read=True)
    row = session.execute(both).one_or_none()
    return (row[0], row[1]) if row is not None else None


def check_written(session: Session, generation_id: str) -> None:
    """Hold the generation against being given up until the transaction ends; raises `GenerationGone` if it was.

    Everybody locks collection, then documents, then generation and jobs. These two in either order: who switches or gives
    up a generation holds its collection first, as who publishes does, and all others only share it.
    """
    state = select(Generation.state).where(Generation.id == generation_id).with_for_update(read=True)
    if session.scalar(state) not in generations.WRITTEN:
        raise GenerationGone(generation_id)
