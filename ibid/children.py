"""Documents inside documents, such as the attachments of a mail: accepted when their parent goes live, gone with it."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from ibid import documents, families, removal, uploads
from ibid.clock import new_id, now
from ibid.db.tables import AttachmentRow, Blob, Document, DocumentGrant, Version
from ibid.documents import LONGEST_NAME, Upload
from ibid.uploads import Kept


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
    """Why files inside the document became no documents. A deleted one is counted, and not named."""
    found = of_parse(session, parse_key)
    if found and depth(session, document) >= families.DEEPEST:
        return (f"{len(found)} files inside were not read: they lie {families.DEEPEST} documents deep.",)
    refused = (f"{safe_name(row.name)} inside was not read: {row.refusal}" for row in found if row.refusal)
    deleted = len(_kept_out(session, document, _identified(document, found)))
    if not deleted:
        return tuple(refused)
    return (
        *refused,
        f"{deleted} inside stay deleted, as somebody wanted. Upload them by themselves to have them.",
    )


def depth(session: Session, document: Document) -> int:
    """How many documents it is inside of."""
    return len(families.around(session, document))


def accept(session: Session, parent: Document, version: Version, *, grace: timedelta | None) -> None:
    """Make the documents inside one that is held those of a version; doing it twice changes nothing.

    What a person deleted of them stays deleted: its bytes, and whatever comes in its place.
    """
    rows = [] if depth(session, parent) >= families.DEEPEST else of_parse(session, version.parse_key or "")
    had = {child.identity: child for child in families.inside(session, parent.id)}
    found = _identified(parent, rows)
    out = _kept_out(session, parent, found)
    for identity, row in found.items():
        if identity not in out:
            child = had.pop(identity, None) or _new(session, parent, identity, safe_name(row.name))
            _take(session, child, row, session.get_one(Blob, row.blob_id))
    removal.remove(session, list(had.values()), grace=grace)


def _identified(parent: Document, rows: Sequence[AttachmentRow]) -> dict[str, AttachmentRow]:
    """The files that can become documents, by the identity of each."""
    seen: Counter[str] = Counter()
    found = {}
    for row in rows:
        name = safe_name(row.name)
        seen[name] += 1
        if row.blob_id is not None:
            found[families.identity(parent, seen[name], name)] = row
    return found


def _kept_out(session: Session, parent: Document, found: Mapping[str, AttachmentRow]) -> set[str]:
    """Identities of those that stay deleted: for their bytes or their place, unless they are a living one that moved."""
    marks = families.kept_out(session, families.place(session, parent, "")[0])
    if not marks:
        return set()
    contents = {identity: session.get_one(Blob, row.blob_id).sha256 for identity, row in found.items()}
    marked = {identity for identity in found if families.place(session, parent, identity)[1] in marks}
    living = {
        child.identity: documents.existing(session, child.id).sha256
        for child in families.inside(session, parent.id)
    }
    asked = {identity: content for identity, content in contents.items() if living.get(identity) != content}
    left = {identity: content for identity, content in living.items() if contents.get(identity) != content}
    for identity in sorted(asked, key=marked.__contains__):
        deleted = asked[identity] in marks
        gone = {was: content for was, content in left.items() if not deleted or was not in found}
        if deleted and identity in marked:  # the very file, unless there were two like it
            gone = {was: content for was, content in gone.items() if _alike(was, identity)}
        if was := next((was for was, content in gone.items() if content == asked[identity]), None):
            del asked[identity], left[was]
    for identity in [*asked]:
        if asked[identity] not in marks and left.pop(identity, ""):
            del asked[identity]
    out = {identity for identity, content in asked.items() if identity in marked or content in marks}
    return out - _renumbered({i for i in out if asked[i] not in marks}, set(left).difference(found))


def _renumbered(out: Collection[str], gone: Collection[str]) -> set[str]:
    """Those that are the only ones which can be the living ones of their name whose numbers the document lacks now."""
    return {
        identity
        for identity in out
        if sum(_alike(each, identity) for each in out) <= sum(_alike(each, identity) for each in gone)
    }


def _alike(one: str, other: str) -> bool:
    return families.name_of(one) == families.name_of(other)


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
