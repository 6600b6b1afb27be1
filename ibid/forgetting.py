"""What a deletion forgets, and the scan by which it shows that nothing was left.

Every table is either in `PLACES`, which says how rows about a document are found in it, or in `HOLD_NOTHING`. Rows that
are found and have no reason to stay keep a deletion from ending.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Text, and_, cast, exists, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from ibid import fits, holders, replies
from ibid.claims import Claim
from ibid.db.tables import (
    AnswerCitation,
    AnswerNearest,
    AnswerSentence,
    AnswerSource,
    Arrival,
    AttachmentRow,
    Audit,
    Base,
    Blob,
    ChunkRow,
    Document,
    DocumentGrant,
    Erasure,
    Fit,
    Indexing,
    Job,
    KeptOut,
    Parse,
    PartialUpload,
    RecognisedRow,
    SavedReply,
    SavedReplyName,
    UploadPart,
    Version,
)
from ibid.holders import Holder
from ibid.types import JobKind

AT_ONCE: Final = 200


@dataclass(frozen=True, slots=True)
class Traces:
    """Ids by which what is left of a document is found: of its rows, its bytes (`contents` are SHA-256), its texts.

    `own` are those SHA-256 that are of itself, and not of a file inside, whose document has its own deletion.
    `arrivals` are the jobs that ever brought in the document, or one that it is inside of, or may bring it again.
    """

    document_id: str
    versions: frozenset[str] = frozenset()
    blobs: frozenset[str] = frozenset()
    contents: frozenset[str] = frozenset()
    own: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()
    uploads: frozenset[str] = frozenset()
    arrivals: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Place:
    """Rows of a table that have to do with a document; `stays` says why they may, or is empty."""

    table: type[Base]
    those: Callable[[Traces], ColumnElement[bool]]
    stays: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """Rows that the scan came upon."""

    table: str
    rows: int
    stays: str


def _read_from(text: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    return exists().where(Version.parse_key == text)


def _holds(blob: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """Whether a version, a file inside a text, or an archive to be unpacked has these bytes."""
    holders = (Version.blob_id, AttachmentRow.blob_id, Arrival.blob_id)
    return or_(*(exists().where(holder == blob) for holder in holders))


def _answers(traces: Traces) -> ColumnElement[bool]:
    """Sentences of answers that cite the document, or whose model was shown it."""
    concerned = (
        select(table.answer_id).where(table.document_id == traces.document_id)
        for table in (AnswerCitation, AnswerSource)
    )
    return or_(*map(AnswerSentence.answer_id.in_, concerned))


def _said_of(job: type[Job]) -> ColumnElement[bool]:
    return or_(cast(job.statistics, Text) != "{}", job.error_message != "The document was deleted.")


SAME_BYTES: Final = "another document, one that it is inside of, or an upload under way holds the same bytes"
SAME_TEXT: Final = "another document holds the same bytes, and so the same text"
LEDGER: Final = "ids, states and moments alone: they say what was done, and hold nothing of the document"

PLACES: Final = (
    Place(
        Document,
        lambda t: and_(
            Document.id == t.document_id, or_(Document.name != "", Document.external_id.is_not(None))
        ),
    ),
    Place(Document, lambda t: and_(Document.parent_id == t.document_id, Document.deleted_at.is_(None))),
    Place(
        Document,
        lambda t: Document.id == t.document_id,
        "a row without a name says that there was a document",
    ),
    Place(KeptOut, lambda t: KeptOut.root_id == t.document_id),
    Place(
        KeptOut,
        lambda t: and_(KeptOut.document_id == t.document_id, KeptOut.root_id != t.document_id),
        "hashes by which the document that it is inside of does not bring it back; they go with that one",
    ),
    Place(
        DocumentGrant,
        lambda t: DocumentGrant.document_id == t.document_id,
        "it says who may see the certificate",
    ),
    Place(Version, lambda t: or_(Version.document_id == t.document_id, Version.id.in_(t.versions))),
    Place(Indexing, lambda t: Indexing.version_id.in_(t.versions)),
    Place(RecognisedRow, lambda t: RecognisedRow.version_id.in_(t.versions)),
    Place(ChunkRow, lambda t: ChunkRow.version_id.in_(t.versions)),
    Place(Parse, lambda t: and_(Parse.key.in_(t.texts), ~_read_from(Parse.key))),
    Place(Parse, lambda t: and_(Parse.key.in_(t.texts), _read_from(Parse.key)), SAME_TEXT),
    Place(
        AttachmentRow,
        lambda t: and_(AttachmentRow.parse_key.in_(t.texts), ~_read_from(AttachmentRow.parse_key)),
    ),
    Place(Blob, lambda t: and_(Blob.id.in_(t.blobs), ~_holds(Blob.id))),
    Place(Blob, lambda t: Blob.sha256.in_(t.contents), SAME_BYTES),
    Place(Job, lambda t: and_(Job.document_id == t.document_id, Job.kind != JobKind.PURGE, _said_of(Job))),
    Place(Job, lambda t: Job.document_id == t.document_id, LEDGER),
    Place(
        Arrival,
        lambda t: and_(Arrival.blob_id.is_not(None), Arrival.job_id.in_(t.arrivals)),
        "an archive that it came in is still being unpacked, or kept for another try until it expires",
    ),
    Place(
        Arrival,
        lambda t: and_(Arrival.url.is_not(None), Arrival.job_id.in_(t.arrivals)),
        "an address by which it was known is still to be fetched, or kept for another try until it expires",
    ),
    Place(Fit, lambda t: fits.asks_of(t.document_id)),
    Place(AnswerSource, lambda t: AnswerSource.document_id == t.document_id, LEDGER),
    Place(
        AnswerCitation, lambda t: and_(AnswerCitation.document_id == t.document_id, AnswerCitation.end > 0)
    ),
    Place(
        AnswerCitation,
        lambda t: AnswerCitation.document_id == t.document_id,
        "a number without a span or a word, so that the answer's other citations keep theirs",
    ),
    Place(AnswerSentence, lambda t: and_(AnswerSentence.text != "", AnswerSentence.withdrawn, _answers(t))),
    Place(
        AnswerSentence,
        lambda t: and_(~AnswerSentence.withdrawn, _answers(t)),
        "looked at again: verified, and every word is in the question or in what it cites of other documents",
    ),
    Place(AnswerNearest, lambda t: AnswerNearest.document_id == t.document_id),
    Place(SavedReply, lambda t: replies.naming({t.document_id, *t.uploads})),
    Place(SavedReplyName, lambda t: SavedReplyName.named.in_({t.document_id, *t.uploads})),
    Place(PartialUpload, lambda t: PartialUpload.document_id == t.document_id),
    Place(UploadPart, lambda t: UploadPart.upload_id.in_(t.uploads)),
    Place(Audit, lambda t: Audit.resource == t.document_id, LEDGER),
)
HOLD_NOTHING: Final[Mapping[str, str]] = {
    "answer_events": "numbers of rows",
    "models": "which models there are",
    "routes": "in which order they are tried",
    "budgets": "what may be spent on them",
    "spendings": "how much was spent on them",
    "answers": "what was asked and how it went; the text is in its sentences",
    "api_keys": "names of keys",
    "collection_grants": "names of people and groups",
    "collections": "names of collections",
    "deliveries": "ids, states and moments, told to webhooks; they go after thirty days",
    "erasures": "ids; a job's notes, which go with its end",
    "generation_languages": "names of languages",
    "generations": "settings",
    "leases": "names of processes, and ids of what is written to",
    "reindexes": "ids and states",
    "web_tokens": "hashes of secrets",
    "webhooks": "addresses of receivers",
}


def note(session: Session, job_id: str, document_id: str, removed: Mapping[str, int]) -> None:
    """Write down, in the commit of a delete, what it removed; the job goes on counting."""
    session.add(
        Erasure(job_id=job_id, document_id=document_id, traces={}, removed=dict(removed), kept={}, done=False)
    )


def unfinished(session: Session, held: Claim) -> list[str]:
    """Ids of the documents that the claim's deletion has not forgotten yet, in their order."""
    noted = select(Erasure.document_id).where(Erasure.job_id == held.id)
    of_job = (
        Document.id == held.document_id
        if held.document_id is not None
        else and_(Document.collection_id == held.collection_id, Document.name != "")
    )
    for document_id in session.scalars(select(Document.id).where(of_job, Document.id.not_in(noted))).all():
        note(session, held.id, document_id, {})  # deleted before there were notes
    left = noted.where(Erasure.done.is_(False))
    return list(session.scalars(left.order_by(Erasure.document_id)))


def trace(session: Session, held: Claim, document_id: str) -> Traces:
    """Everything that still leads to something of the document, and what earlier attempts knew of; kept for later ones."""
    known = _traces(document_id, _notes(session, held, document_id).traces)
    versions = session.scalars(select(Version).where(Version.document_id == document_id)).all()
    texts = known.texts | {version.parse_key for version in versions if version.parse_key}
    inside = select(AttachmentRow.blob_id).where(AttachmentRow.parse_key.in_(texts))
    blobs = (
        known.blobs
        | {version.blob_id for version in versions}
        | {id_ for id_ in session.scalars(inside) if id_}
    )
    contents = set(session.scalars(select(Blob.sha256).where(Blob.id.in_(blobs))))
    uploads = select(PartialUpload.id).where(PartialUpload.document_id == document_id)
    found = Traces(
        document_id,
        versions=known.versions | {version.id for version in versions},
        blobs=blobs,
        contents=known.contents | contents,
        own=known.own | {version.sha256 for version in versions},
        texts=texts,
        uploads=known.uploads | set(session.scalars(uploads)),
        arrivals=known.arrivals
        | holders.addresses(session, document_id)
        | holders.arrivals(session, {document_id} | holders.around(session, [document_id])),
    )
    kept = {name: sorted(ids) for name, ids in asdict(found).items() if name != "document_id"}
    _notes(session, held, document_id).traces = kept
    return found


def count(session: Session, held: Claim, document_id: str, removed: Mapping[str, int]) -> None:
    """Add to what was removed, in the transaction that removes it."""
    notes = _notes(session, held, document_id)
    notes.removed = notes.removed | {name: notes.removed.get(name, 0) + n for name, n in removed.items()}


def scan(session: Session, traces: Traces) -> list[Found]:
    """The rows of all tables that have to do with the document."""
    return list(_scanned(session, PLACES, traces))


def blob_keys(session: Session, traces: Traces) -> set[str]:
    """Keys of the bytes with the document's contents that have a row, and so are found by `scan`."""
    return set(session.scalars(select(Blob.key).where(Blob.sha256.in_(traces.contents))))


def finish(session: Session, held: Claim, document_id: str, found: Iterable[Found]) -> None:
    """Note that nothing is left of the document but what may stay."""
    notes = _notes(session, held, document_id)
    notes.kept = {f"{each.table}: {each.stays}": each.rows for each in found if each.stays}
    notes.done = True


def held_by(session: Session, held: Claim) -> tuple[list[Holder], int]:
    """Who holds the bytes of what was deleted now that it is done: some, and how many more there are.

    Of more than `AT_ONCE` documents, one that holds bytes of several may be counted more than once.
    """
    noted = select(Erasure.document_id, Erasure.traces).where(Erasure.job_id == held.id)
    rows = session.execute(noted.order_by(Erasure.document_id)).all()
    found: dict[Holder, None] = {}
    more = 0
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        contents = {sha256 for row in some for sha256 in row.traces.get("own", ())}
        came_by = {job_id for row in some for job_id in row.traces.get("arrivals", ())}
        listed, others = holders.of(session, [row.document_id for row in some], contents, came_by)
        found |= dict.fromkeys(listed)
        more += others
    return list(found), more


def totals(session: Session, held: Claim) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """What was removed by kind, and what was kept and why, over all documents of the deletion."""
    removed: dict[str, int] = {}
    kept: dict[str, int] = {}
    rows = session.scalars(select(Erasure).where(Erasure.job_id == held.id)).all()
    for row in rows:
        for into, counts in ((removed, row.removed), (kept, row.kept)):
            for name, n in counts.items():
                into[name] = into.get(name, 0) + n
    reasons = [(*name.split(": ", maxsplit=1), n) for name, n in sorted(kept.items())]
    return removed, [{"table": table, "rows": n, "why": why} for table, why, n in reasons]


def scanned_tables() -> list[str]:
    """Names of the tables that a scan looks at; vectors are found as those that no passage has (`strays`)."""
    return sorted({"embeddings", *(place.table.__tablename__ for place in PLACES)})


def _scanned(session: Session, places: Iterable[Place], traces: Traces) -> Iterator[Found]:
    for place in places:
        rows = select(func.count()).select_from(place.table).where(place.those(traces))
        if n := session.scalar(rows):
            yield Found(place.table.__tablename__, n, place.stays)


def _notes(session: Session, held: Claim, document_id: str) -> Erasure:
    return session.get_one(Erasure, (held.id, document_id))


def _traces(document_id: str, kept: Mapping[str, list[str]]) -> Traces:
    return Traces(document_id, **{name: frozenset(ids) for name, ids in kept.items()})
