"""Documents inside documents, such as the attachments of a mail: accepted when their parent goes live, gone with it."""

from datetime import timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from ibid import documents, fingerprints, uploads
from ibid.clock import new_id, now
from ibid.db.tables import AttachmentRow, Blob, Document, DocumentGrant, Version
from ibid.documents import LONGEST_NAME, Upload
from ibid.uploads import Kept

DEEPEST: Final = 3


def safe_name(name: str) -> str:
    """A file's name as given inside a document, as one that a document may have."""
    last = name.replace("\\", "/").rsplit("/", maxsplit=1)[-1].strip()
    shown = "".join(letter if letter.isprintable() else "_" for letter in last)
    if len(shown) > LONGEST_NAME:
        stem, dot, ending = shown.rpartition(".")
        shown = (
            f"{stem[: LONGEST_NAME - len(ending) - 1]}{dot}{ending}"
            if len(ending) < 20
            else shown[-LONGEST_NAME:]
        )
    return "attachment" if shown.strip() in {"", ".", ".."} else shown


def of_parse(session: Session, parse_key: str) -> list[AttachmentRow]:
    """The files that a parse found, in their order."""
    found = select(AttachmentRow).where(AttachmentRow.parse_key == parse_key)
    return list(session.scalars(found.order_by(AttachmentRow.ordinal)))


def hold(session: Session, parse_key: str) -> None:
    """Lock the bytes of the files that a parse found; before their parent, as an upload locks bytes before documents."""
    ids = [row.blob_id for row in of_parse(session, parse_key) if row.blob_id]
    session.execute(select(Blob.id).where(Blob.id.in_(ids)).order_by(Blob.id).with_for_update())


def warnings(session: Session, document: Document, parse_key: str) -> tuple[str, ...]:
    """Why files inside the document became no documents."""
    found = of_parse(session, parse_key)
    if found and depth(session, document) >= DEEPEST:
        return (f"{len(found)} files inside were not read: they lie {DEEPEST} documents deep.",)
    return tuple(f"{safe_name(row.name)} inside was not read: {row.refusal}" for row in found if row.refusal)


def depth(session: Session, document: Document) -> int:
    """How many documents it is inside of."""
    count, above = 0, document.parent_id
    while above is not None:
        count, above = count + 1, session.get_one(Document, above).parent_id
    return count


def accept(session: Session, parent: Document, version: Version, *, grace: timedelta | None) -> None:
    """Make the documents inside a locked one those of a version; doing it twice changes nothing."""
    rows = [] if depth(session, parent) >= DEEPEST else of_parse(session, version.parse_key or "")
    had = {child.identity: child for child in documents.inside(session, parent.id)}
    seen: dict[str, int] = {}
    for row in rows:
        name = safe_name(row.name)
        seen[name] = seen.get(name, 0) + 1
        if row.blob_id is not None:
            identity = f"child:{parent.id}:{seen[name]}:{fingerprints.of(name)}"
            child = had.pop(identity, None) or _new(session, parent, identity, name)
            _take(session, child, row, session.get_one(Blob, row.blob_id))
    for child in had.values():
        documents.remove(session, child, grace=grace)


def _new(session: Session, parent: Document, identity: str, name: str) -> Document:
    """A document inside another, with its metadata and access list."""
    moment = now()
    child = Document(
        id=new_id("doc"),
        collection_id=parent.collection_id,
        parent_id=parent.id,
        identity=identity,
        name=name,
        meta=parent.meta,
        restricted=parent.restricted,
        created_at=moment,
        updated_at=moment,
    )
    session.add(child)
    session.flush()
    for principal in documents.grants(session, parent) or ():
        session.add(DocumentGrant(document_id=child.id, principal=principal))
    session.flush()
    return child


def _take(session: Session, child: Document, row: AttachmentRow, blob: Blob) -> None:
    newest = documents.newest_of(session, child.id)
    if newest is not None and newest.sha256 == blob.sha256:
        return
    kept = Kept(blob.id, blob.sha256, blob.size)
    uploads.refer(session, kept)
    documents.add_version(
        session, child, Upload(child.name, row.media_type, kept), newest.number + 1 if newest else 1
    )
