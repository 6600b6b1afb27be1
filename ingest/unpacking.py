"""Unpacking an archive into documents: one entry after the other, each in a transaction that also says how far it is.

So an attempt goes on where the former one was killed, and what is counted is counted once. The archive is listed
before anything is taken: one that is damaged or passes a bound is refused as a whole. A long one gives others their
turn now and then, as jobs of one document do.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from sqlalchemy.orm import Session

from ibid import arrivals, claims, media, queue, uploads
from ibid.access import CollectionNotFound
from ibid.arrivals import Order
from ibid.claims import Claim
from ibid.documents import Accepted, Upload
from ibid.errors import IbidError, Invalid
from ibid.media import UnsupportedType
from ibid.types import JobState
from ibid.uploads import Kept
from ingest import reading, scratch
from ingest.archives import entries
from ingest.archives.bounds import Bounds
from ingest.archives.entries import DAMAGED, LONGEST_PATH, TOO_LONG, Entry, Refusal
from ingest.archives.opening import opened
from ingest.parsing.errors import Unreadable
from ingest.tools import Tools

log = logging.getLogger(__name__)

MOST_REFUSALS: Final = 50
"""So many refused entries are listed; the others are counted."""
SAVED_EVERY: Final = 100
"""After so many entries, refused or not, it is said how far the job is, and whether there is room for more jobs."""
LOOK_SECONDS: Final = 1.0
"""After so long in one archive it is looked whether the job was cancelled."""
SHARE_SECONDS: Final = 10.0
"""After so long the job goes back into the queue if others wait."""


class ArchiveGone(Invalid):
    """The archive was let go of before it was unpacked."""

    code = "archive_gone"


class NothingInside(Invalid):
    """The archive has no file."""

    code = "empty_archive"


@dataclass(slots=True)
class Tally:
    """What became of the entries so far. `refusals` lists the first of the refused, `more_refusals` counts the others.

    `left_out` are folders and what macOS and Windows put there for themselves.
    """

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    left_out: int = 0
    refused: int = 0
    refusals: list[dict[str, str]] = field(default_factory=list)
    more_refusals: int = 0

    def refuse(self, path: str, refusal: Refusal) -> None:
        """Count an entry that became no document, and say why."""
        self.refused += 1
        if len(self.refusals) < MOST_REFUSALS:
            self.refusals.append({"path": path, "code": refusal.code, "message": refusal.message})
        else:
            self.more_refusals += 1

    def accept(self, accepted: Accepted) -> None:
        """Count an entry that is a document."""
        setattr(self, accepted.outcome, getattr(self, accepted.outcome) + 1)

    @property
    def taken(self) -> int:
        """How many entries are documents."""
        return self.created + self.updated + self.unchanged


@dataclass(slots=True)
class _Unpacking:
    """An archive that is being unpacked: what was ordered, what it lists, and what became of that so far."""

    tools: Tools
    held: Claim
    order: Order
    listed: list[Entry]
    tally: Tally
    until: float
    """When others may have their turn, by the monotonic clock."""


def unpack(tools: Tools, held: Claim) -> None:
    """Make a document of each file of the claim's archive, and end the job."""
    began = time.monotonic()
    with tools.db.begin() as session:
        order = arrivals.order(session, held)
        job = claims.progress(session, held, "listing", order.taken)
        tally = Tally(**job.statistics) if order.taken else Tally()
        job.statistics = asdict(tally)  # said also of a job that is cancelled before it takes anything
    if order.blob_key is None:
        raise ArchiveGone("The archive was no longer kept when its turn came. Send it again.")
    with reading.local_copy(tools, order.blob_key, "") as path:
        bounds = _bounds(tools, path)
        with opened(path, order.name, bounds, _watch(tools, held)) as archive:
            listed = entries.survey(archive, bounds)
            until = _turn_ends(began)
            this = _Unpacking(tools, held, order, listed, tally, until)
            wanted = frozenset(entry.place for entry in listed[order.taken :] if entry.wanted)
            whole = _take_all(this, archive.contents(wanted))
    if whole:
        _end(this)


def _watch(tools: Tools, held: Claim) -> Callable[[], None]:
    """Called as often as one likes: now and then it looks whether the job goes on, and raises if not."""
    looked = time.monotonic()

    def look() -> None:
        nonlocal looked
        if time.monotonic() - looked < LOOK_SECONDS:
            return
        tools.go_on()
        with tools.db.read() as session:
            if not claims.may_write(session, held.id, held.attempt):
                raise claims.LeaseLost(f"Attempt {held.attempt} of job {held.id} is over.")
        looked = time.monotonic()

    return look


def _turn_ends(began: float) -> float:
    """When others may have their turn: what an attempt must do again should be a small part of it."""
    at = time.monotonic()
    return at + max(SHARE_SECONDS, 5 * (at - began))


def _bounds(tools: Tools, path: Path) -> Bounds:
    settings = tools.settings
    return Bounds(
        packed=path.stat().st_size,
        unpacked=settings.max_unpacked_bytes,
        file=settings.max_upload_bytes,
        files=settings.max_archive_files,
    )


def _take_all(this: _Unpacking, contents: Iterator[tuple[int, Iterator[bytes]]]) -> bool:
    """Whether all entries were seen to, and not others given their turn."""
    for entry in this.listed[this.order.taken :]:
        this.tools.go_on()
        if entry.place % SAVED_EVERY == 0:
            _save(this, entry.place)
        if entry.left_out:
            this.tally.left_out += 1
        elif entry.refusal is not None:
            this.tally.refuse(entry.path, entry.refusal)
        else:
            place, pieces = next(contents)
            if place != entry.place:
                raise LookupError(f"entry {place} came where {entry.place} was asked for")
            _take(this, entry, pieces)
        if time.monotonic() > this.until and _gave_way(this, entry.place + 1):
            return False
    return True


def _gave_way(this: _Unpacking, taken: int) -> bool:
    """Whether others wait, and so the job went back behind them; an attempt later goes on from here."""
    with this.tools.db.begin() as session:
        if not claims.waiting(session):
            return False
        _note(this, session, taken, this.tally)
        claims.put_back(session, this.held, wait=timedelta())
        session.info["work"] = True
    log.info("the job gives others their turn")
    return True


def _save(this: _Unpacking, taken: int) -> None:
    """Say how far the job is, and wait for a while if too many jobs of the collection do."""
    with this.tools.db.begin() as session:
        _note(this, session, taken, this.tally)
    with this.tools.db.read() as session:
        queue.check_room(session, this.order.collection_id, this.tools.settings.max_queued)


def _take(this: _Unpacking, entry: Entry, pieces: Iterable[bytes]) -> None:
    """Make the entry a document, or note why not."""
    if len(_external_id(this.order, entry)) > LONGEST_PATH:
        this.tally.refuse(entry.path, TOO_LONG)
        return
    with scratch.spooled() as file:
        try:
            for piece in pieces:
                file.write(piece)
            file.seek(0)
            kind = media.check_upload(entry.name, file.read(media.HEAD))
        except Unreadable:
            this.tally.refuse(entry.path, DAMAGED)
        except UnsupportedType as error:
            this.tally.refuse(entry.path, Refusal(error.code, error.message))
        else:
            uploads.keeping(
                this.tools.db,
                this.tools.blobs,
                file,
                lambda kept: _accept(this, entry, _upload(this, entry, kind.name, kept)),
            )


def _external_id(order: Order, entry: Entry) -> str:
    return entry.path if order.external_id is None else f"{order.external_id.rstrip('/')}/{entry.path}"


def _upload(this: _Unpacking, entry: Entry, media_type: str, kept: Kept) -> Upload:
    order = this.order
    external_id = _external_id(order, entry)
    return Upload(
        entry.name, media_type, kept, external_id, order.metadata, order.grants, batch_id=this.held.id
    )


def _accept(this: _Unpacking, entry: Entry, upload: Upload) -> None:
    """Accept it, or note why not, and that the entry is done with, in one transaction."""
    order, held = this.order, this.held
    tally = replace(this.tally, refusals=list(this.tally.refusals))
    with this.tools.db.begin() as session:
        uploads.refer(session, upload.kept)
        outcome = arrivals.accept_alone(session, order.scope, order.collection_id, upload)
        if isinstance(outcome, CollectionNotFound):
            raise outcome
        if isinstance(outcome, IbidError):
            tally.refuse(entry.path, Refusal(outcome.code, outcome.message))
        else:
            tally.accept(outcome)
            arrivals.record(session, order, held, outcome)
        _note(this, session, entry.place + 1, tally)
    this.tally = tally


def _note(this: _Unpacking, session: Session, taken: int, tally: Tally) -> None:
    """Note how many entries are done with and what became of them: an attempt goes on from there."""
    job = claims.progress(session, this.held, "unpacking", taken, len(this.listed), "entries")
    job.statistics = asdict(tally)
    arrivals.took(session, this.held, taken)


def _end(this: _Unpacking) -> None:
    """End the job and let go of the archive, unless all of it was refused: then it can be tried again for a while."""
    tally, held = this.tally, this.held
    if not tally.taken and not tally.refused:
        raise NothingInside("This archive holds no file. Check what was packed.")
    with this.tools.db.begin() as session:
        _note(this, session, len(this.listed), tally)
        if not tally.taken:
            arrivals.took(session, held, 0)  # for another try, once what refused them has changed
            sentence = "None of the files was taken. `statistics` says why."
            claims.fail(session, held, "all_refused", sentence, retryable=False)
            return
        state = JobState.PARTIALLY_SUCCEEDED if tally.refused else JobState.SUCCEEDED
        claims.finish(session, held, state)
        unused = arrivals.let_go(session, held.id)
    uploads.erase(this.tools.db, this.tools.blobs, unused)
    log.info("the job ended: %s", state)
