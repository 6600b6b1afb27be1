"""The parse stage: bytes to canonical text and layout, kept under the hash of both the bytes and the parser."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ibid import children, claims, fingerprints, media, metrics, uploads, versions
from ibid.claims import Claim
from ibid.clock import now
from ibid.db.tables import AttachmentRow, Blob, Indexing, Parse, RecognisedRow, Version
from ibid.errors import Unavailable
from ibid.layout import encode_layout
from ibid.settings import Settings
from ibid.types import Attachment, ElementKind, Parsed, ReadBy
from ibid.uploads import Kept
from ingest import recognising, scratch
from ingest.parsing.registry import ocr_fingerprint, parser_fingerprint
from ingest.tools import Tools


class StillCleared(Unavailable):
    """The version was given up and is tried again, while a worker removes its passages."""

    code = "still_cleared"


@dataclass(frozen=True, slots=True)
class Ahead:
    """A document that was read together with others, its share of the seconds; nothing lies inside it."""

    parsed: Parsed
    seconds: float


def read(tools: Tools, held: Claim, ahead: Ahead | None = None) -> None:
    """Make sure that the claim's version has its canonical text; parses only what was never parsed like this.

    What a file holds as text is read at once. Pictures are recognised if there is nothing else, or if the version is
    the one that was made for them; raises `Postponed` for a job that is not alone with that.
    """
    with tools.db.begin(durable=False) as session:
        claims.progress(session, held, "parsing")
        if versions.is_being_cleared(session, held.version_id):
            raise StillCleared("What an earlier try left of this version is being removed.")
        version = session.get_one(Version, held.version_id)
        if version.parse_key is not None and _is_known(session, version):
            return  # its chunks and citations are slices of that text, whatever a newer parser would read
        key = parse_key(version, tools.settings)
        if _take_kept(session, version, key):
            return
        if ahead is not None:
            _add(session, key, ahead.parsed, ahead.seconds, ())
            version.parse_key = key
            return
        blob_key = session.get_one(Blob, version.blob_id).key
    started = time.perf_counter()
    with local_copy(tools, blob_key, version.filename) as path:
        parsed = tools.reader.parse(path, version.filename, version.media_type)
        if parsed.report.pages_waiting and (version.read_by == ReadBy.OCR or not _has_text(parsed)):
            recognising.require(tools.settings)
            with tools.db.begin() as session:
                claims.check(session, held)
                version = session.get_one(Version, held.version_id)
                version.read_by, key = ReadBy.OCR, ocr_key(version, tools.settings)
                if _take_kept(session, version, key):
                    return
            if not held.alone:
                raise recognising.Postponed("Its pictures are recognised later, when the batch is done.")
            waiting = parsed.report.pages_waiting
            pages = recognising.pages(tools, held, key, path, version.media_type, waiting)
            parsed = tools.reader.parse(path, version.filename, version.media_type, pages)
    _keep(tools, held, key, parsed, time.perf_counter() - started)


def _keep(tools: Tools, held: Claim, key: str, parsed: Parsed, seconds: float) -> None:
    found = [_kept(tools, ordinal, item) for ordinal, item in enumerate(parsed.attachments)]
    with tools.db.begin(durable=False) as session:
        for _, bytes_ in sorted(found, key=lambda pair: pair[1].blob_id if pair[1] else ""):
            if bytes_ is not None:
                uploads.refer(session, bytes_)
        claims.check(session, held)
        _add(session, key, parsed, seconds, [row for row, _ in found])
        session.get_one(Version, held.version_id).parse_key = key
        session.execute(delete(RecognisedRow).where(RecognisedRow.version_id == held.version_id))


def _take_kept(session: Session, version: Version, key: str) -> bool:
    """Whether there is the text already; it is held against a purge until the commit.

    Then nobody needs any more what was recognised of it so far.
    """
    known = session.get(Parse, key, with_for_update={"read": True}) is not None
    if known:
        version.parse_key = key
        session.execute(delete(RecognisedRow).where(RecognisedRow.version_id == version.id))
    return known


def _has_text(parsed: Parsed) -> bool:
    return any(element.kind is not ElementKind.HIDDEN for element in parsed.elements)


def _kept(tools: Tools, ordinal: int, item: Attachment) -> tuple[dict[str, Any], Kept | None]:
    """The row of a file inside, and its durable bytes unless nothing here reads such a file."""
    row = {"ordinal": ordinal, "name": item.name, "media_type": "", "blob_id": None, "refusal": None}
    try:
        if not item.data:
            return row | {"refusal": "It is empty."}, None
        kind = media.check_upload(children.safe_name(item.name), item.data[: media.HEAD])
    except media.UnsupportedType as error:
        return row | {"refusal": error.message}, None
    bytes_ = uploads.keep(tools.db, tools.blobs, BytesIO(item.data))
    return row | {"media_type": kind.name, "blob_id": bytes_.blob_id}, bytes_


def _is_known(session: Session, version: Version) -> bool:
    """Whether some generation holds the version, or readers have seen this text of the document, which is restored."""
    held = select(Indexing.version_id).where(Indexing.version_id == version.id).limit(1)
    seen = select(Version.id).where(
        Version.document_id == version.document_id,
        Version.parse_key == version.parse_key,
        Version.live_from.is_not(None),
    )
    return session.scalar(held) is not None or session.scalar(seen.limit(1)) is not None


def parse_key(version: Version, settings: Settings) -> str:
    """Hash of the bytes and of everything that decides how they are read."""
    if version.read_by == ReadBy.OCR:
        return ocr_key(version, settings)
    return fingerprints.of(*_read_from(version, settings))


def ocr_key(version: Version, settings: Settings) -> str:
    """The same where pictures are recognised."""
    return fingerprints.of(*_read_from(version, settings), ocr_fingerprint(), str(settings.ocr_pages))


def _read_from(version: Version, settings: Settings) -> tuple[str, ...]:
    suffix = PurePosixPath(version.filename).suffix.lower()
    reader = parser_fingerprint(version.media_type, settings.pdf_layout)
    return version.sha256, version.media_type, suffix, reader


def _add(
    session: Session, key: str, parsed: Parsed, seconds: float, attached: Sequence[dict[str, Any]]
) -> None:
    metrics.STAGE_SECONDS.labels("parse").observe(seconds)
    layout = encode_layout(parsed.elements, parsed.boxes, parsed.report)
    while True:
        try:
            with session.begin_nested():
                session.add(
                    Parse(key=key, text=parsed.text, layout=layout, seconds=seconds, created_at=now())
                )
                session.flush()
                session.add_all(AttachmentRow(parse_key=key, **row) for row in attached)
        except (
            IntegrityError
        ):  # another worker read the same bytes a moment ago, and a purge may be after them
            if session.get(Parse, key, with_for_update={"read": True}) is not None:
                return
        else:
            return


@contextmanager
def local_copy(tools: Tools, blob_key: str, filename: str) -> Iterator[Path]:
    """The blob as a file that ends like the upload did; its name is otherwise ours."""
    with scratch.folder() as folder:
        yield copied(tools, blob_key, filename, folder / "document")


def copied(tools: Tools, blob_key: str, filename: str, to: Path) -> Path:
    """The blob as a file of that path and the ending of its name."""
    suffix = PurePosixPath(filename).suffix.lower()
    path = to.with_suffix(suffix if suffix.isascii() else "")
    with path.open("wb") as file:
        for piece in tools.blobs.open(blob_key):
            file.write(piece)
    return path
