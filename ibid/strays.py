"""What belongs to nothing any more: texts that no version is, and vectors of no passage."""

from sqlalchemy import ColumnElement, delete, exists, func, select
from sqlalchemy.orm import Session

from ibid.db.session import Database
from ibid.db.tables import AttachmentRow, ChunkRow, Embedding, Parse, Version


def unread() -> ColumnElement[bool]:
    """Predicate on `Parse`: it is the text of no version."""
    return ~exists().where(Version.parse_key == Parse.key)


def unused() -> ColumnElement[bool]:
    """Predicate on `Embedding`: no passage has this vector."""
    return ~exists().where(ChunkRow.embedding_key == Embedding.key)


def count(session: Session) -> dict[str, int]:
    """How many there are."""
    texts = select(func.count()).select_from(Parse).where(unread())
    vectors = select(func.count()).select_from(Embedding).where(unused())
    return {"texts": session.scalar(texts) or 0, "embeddings": session.scalar(vectors) or 0}


def remove(db: Database) -> dict[str, int]:
    """Remove them; gives how many."""
    with db.begin() as session:
        keys = session.scalars(select(Parse.key).where(unread()).order_by(Parse.key)).all()
        texts = sum(forget_text(session, key) for key in keys)
    with db.begin() as session:
        gone = session.scalars(delete(Embedding).where(unused()).returning(Embedding.key)).all()
    return {"texts": texts, "embeddings": len(gone)}


def forget_text(session: Session, key: str) -> bool:
    """Remove a text unless a version refers to it; it is locked first, so a version that begins to refer waits."""
    row = session.scalar(select(Parse).where(Parse.key == key).with_for_update())
    if row is None or session.scalar(select(Version.id).where(Version.parse_key == key).limit(1)):
        return False
    session.execute(delete(AttachmentRow).where(AttachmentRow.parse_key == key))
    session.delete(row)
    session.flush()
    return True
