"""Words in pictures: the pages that a fast read leaves waiting, recognised one by one, each kept as it is done."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from ibid import claims, versions
from ibid.claims import Claim
from ibid.db.tables import Parse, RecognisedRow, Version
from ibid.errors import Invalid, Unavailable
from ibid.layout import decode_report
from ibid.settings import Settings
from ibid.types import ParseReport, ReadBy
from ingest.parsing import recognised
from ingest.parsing.errors import OcrNotInstalled, ParserDied, Unreadable
from ingest.parsing.ocr_report import listed
from ingest.parsing.recognised import RecognisedPage
from ingest.parsing.registry import ocr_installed
from ingest.standing import VersionGone
from ingest.tools import Tools

SLICE: Final = 20.0
"""Seconds after which a job lets others go first that wait."""


class Postponed(Unavailable):
    """The job goes on later, alone: recognising takes minutes, and others wait."""

    code = "postponed"


def available(settings: Settings) -> bool:
    """Whether pictures are read here."""
    return settings.ocr_pages > 0 and ocr_installed()


def will_read(session: Session, version: Version) -> bool:
    """Whether the pictures of the version are read in a later one, which `follow_up` has added by then."""
    later = select(Version.id).where(
        Version.document_id == version.document_id,
        Version.sha256 == version.sha256,
        Version.number > version.number,
        Version.read_by == ReadBy.OCR,
    )
    return session.scalar(later.limit(1)) is not None


def require(settings: Settings) -> None:
    """Raise `OcrNotInstalled` unless pictures are read here."""
    if not settings.ocr_pages:
        raise OcrNotInstalled(
            "This file is a picture, and OCR is switched off here (IBID_OCR_PAGES is 0). Upload a version whose text "
            "can be selected."
        )
    if not ocr_installed():
        raise OcrNotInstalled(
            "This file is a picture, and OCR is not installed here. Install it with `pip install 'ibid[ocr]'`, or "
            "upload a version whose text can be selected."
        )


def pages(
    tools: Tools, held: Claim, key: str, path: Path, media_type: str, waiting: Sequence[int]
) -> list[RecognisedPage]:
    """What is on each of the waiting pages; a page that cannot be read costs the others nothing.

    A page whose parser died is tried as often as a document: raises `ParserDied` until it was, and what is done is kept.
    Raises `Postponed` when the job was at it for a while and others wait; what is done is kept. If no page can be
    read, raises what was wrong with the last one.
    """
    most = tools.settings.ocr_pages
    done, failed = _known(tools, held, key), list[Invalid]()
    deadline = time.monotonic() + SLICE
    for number in waiting[:most]:
        if number in done:
            continue
        tools.go_on()
        _let_others_go_first(tools, deadline)
        started = time.perf_counter()
        try:
            done[number] = tools.reader.recognise(path, media_type, number)
        except ParserDied as error:
            if _may_be_tried_again(tools, held):
                raise
            failed.append(error)
            done[number] = RecognisedPage(number, failure=error.message)
        except Invalid as error:
            failed.append(error)
            done[number] = RecognisedPage(number, failure=error.message)
        _keep(tools, held, key, done[number], time.perf_counter() - started, (len(done), len(waiting)))
    if all(page.failure for page in done.values()):
        raise _nothing(tools, held, failed or [Unreadable(page.failure or "") for page in done.values()])
    beyond = f"at most {most} pages of one document are recognised (IBID_OCR_PAGES)."
    return [*done.values(), *(RecognisedPage(number, failure=beyond) for number in waiting[most:])]


def _nothing(tools: Tools, held: Claim, failures: Sequence[Invalid]) -> Invalid:
    """What was wrong with the last page; another try begins with the first one."""
    with tools.db.begin() as session:
        job = claims.check(session, held)
        if isinstance(failures[-1], ParserDied):  # each page had its tries: this is the job's last
            job.failures = tools.settings.max_attempts - 1
        session.execute(delete(RecognisedRow).where(RecognisedRow.version_id == held.version_id))
    return failures[-1]


def _may_be_tried_again(tools: Tools, held: Claim) -> bool:
    """Whether the page at which the job stands has tries left; each page that is done with acquits the job."""
    with tools.db.begin() as session:
        return claims.check(session, held).failures + 1 < tools.settings.max_attempts


def follow_up(tools: Tools, held: Claim) -> None:
    """Have the pages read that wait in the version of the claim, which readers have by now: once, and if it is the newest."""
    with tools.db.begin(durable=False) as session:
        version = session.get(Version, held.version_id)
        if version is None:
            raise VersionGone("The document was deleted a moment ago.")
        report = decode_report(session.get_one(Parse, version.parse_key).layout)
        if is_due(tools.settings, version, report) and versions.recognise(session, version):
            claims.check(session, held)


def is_due(settings: Settings, version: Version, report: ParseReport) -> bool:
    """Whether pages of the version wait that are read here."""
    return version.read_by == ReadBy.TEXT and available(settings) and bool(report.pages_waiting)


def note(settings: Settings, waiting: Sequence[int], *, read_next: bool) -> tuple[str, ...]:
    """What a receipt says of pages that wait, given what `will_read` says."""
    if not waiting:
        return ()
    which = listed(waiting)
    if read_next:
        return (
            f"{which}: pictures without text. They are recognised next, which makes a version of its own.",
        )
    if available(settings):
        why = "A newer version of the document came first, so they are not recognised"
    else:
        why = "OCR is not installed here" if settings.ocr_pages else "OCR is switched off here"
    return (f"{which}: pictures without text, which cannot be searched. {why}.",)


def _known(tools: Tools, held: Claim, key: str) -> dict[int, RecognisedPage]:
    kept = select(RecognisedRow).where(
        RecognisedRow.version_id == held.version_id, RecognisedRow.parse_key == key
    )
    with tools.db.read() as session:
        rows = session.scalars(kept.order_by(RecognisedRow.page)).all()
        return {row.page: recognised.load(row.content) for row in rows}


def _let_others_go_first(tools: Tools, deadline: float) -> None:
    if time.monotonic() < deadline:
        return
    with tools.db.read() as session:
        others = claims.waiting(session)
    if others:
        raise Postponed("Other jobs go first; this one goes on after them.")


def _keep(
    tools: Tools, held: Claim, key: str, page: RecognisedPage, seconds: float, progress: tuple[int, int]
) -> None:
    row = RecognisedRow(
        version_id=held.version_id,
        page=page.number,
        parse_key=key,
        content=recognised.dump(page).decode(),
        seconds=seconds,
    )
    with tools.db.begin() as session:
        claims.progress(session, held, "recognising", *progress, "pages")
        claims.acquit(session, held)
        session.merge(row)
