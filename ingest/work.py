"""Work on claimed jobs: each is a loop of short transactions, and whatever is killed, the next attempt goes on."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from ibid import claims, generations, logs, metrics
from ibid.access import CollectionNotFound, DocumentNotFound
from ibid.blobs.port import BlobMissing
from ibid.claims import Claim, LeaseLost
from ibid.db.tables import Document, Generation
from ibid.embedding.port import EmbedderUnavailable
from ibid.embedding.registry import encoder_for
from ibid.errors import Forbidden, IbidError, Invalid, TooLarge
from ibid.types import JobKind
from ibid.vectors.errors import Fenced
from ingest import (
    ending,
    fetching,
    indexing,
    publishing,
    purging,
    reading,
    recognising,
    reindexing,
    storing,
    together,
    unpacking,
)
from ingest.downloads import FetchFailed
from ingest.ending import Outcome
from ingest.indexing import Counts, Target, Text
from ingest.parsing.errors import ParserDied, ParsersKilled
from ingest.standing import VersionGone
from ingest.storing import Stored
from ingest.tools import Stopping, Tools

LONGEST_WAIT = timedelta(seconds=30)
MOST_KILLS = 10
"""So many kills of its parser are no chance: even where each try of a document had one chance in two to meet one, only one
document in a thousand would meet ten in a row. Code in a document that kills its parser is stopped by it."""

log = logging.getLogger(__name__)

Room = Callable[[Tools, Claim], object]
"""What does a job of one kind, which is alone in its batch."""


def work(tools: Tools, claims: Sequence[Claim], rooms: Mapping[JobKind, Room] | None = None) -> None:
    """Work on a batch as it was claimed: ingests together, anything else alone.

    `rooms` do the kinds of jobs that are not ingestion's; what goes wrong in them is met as everywhere.
    """
    kind = claims[0].kind
    if kind is JobKind.INGEST:
        ingest(tools, claims)
    else:
        own: dict[JobKind, Room] = {
            JobKind.REINDEX: reindexing.reindex,
            JobKind.UNPACK: unpacking.unpack,
            JobKind.FETCH: fetching.fetch,
            JobKind.PURGE: purging.purge,
        }
        _attempt(tools, claims[0], own[kind] if kind in own else (rooms or {})[kind])


def ingest(tools: Tools, claims: Sequence[Claim]) -> None:
    """Take documents from bytes to what readers see; their texts share the encoder's batches."""
    held = _read_all(tools, claims)
    clock = Stopwatch()
    while held:
        with tools.db.read() as session:
            lacking = [
                (claim, generation) for claim in held for generation in publishing.lacking(session, claim)
            ]
        targets = [
            Target(claim, claim.version_id or "", generation)
            for claim, generation in lacking
            if not _forgone(tools, claim, generation)
        ]
        texts = {target: cut for target in targets if (cut := _cut(tools, target)) is not None}
        clock.lap("chunk")
        counts = _embed(tools, texts)
        clock.lap("embed")
        stored = _store(tools, counts)
        clock.lap("index")
        failed = {target.held for target in targets} - {each.target.held for each in stored}
        done = {claim: [each for each in stored if each.target.held == claim] for claim in held}
        held = [c for c in held if c not in failed and not _publish(tools, c, done[c], clock)]


def _read_all(tools: Tools, claims: Sequence[Claim]) -> list[Claim]:
    """Those whose text is there, read now or before."""
    ahead = together.read(tools, claims) if len(claims) > 1 else {}
    restricted = select(Document.id).where(
        Document.id.in_([claim.document_id for claim in claims]),
        Document.current_version_id.is_not(None),
        Document.restricted,
    )
    with tools.db.read() as session:
        seen = set(session.scalars(restricted))
    return [
        claim
        for claim in claims
        if (claim.document_id not in seen or _attempt(tools, claim, publishing.describe_points))
        and _attempt(tools, claim, partial(reading.read, ahead=ahead.pop(claim.version_id or "", None)))
    ]


def _forgone(tools: Tools, held: Claim, generation: Generation) -> bool:
    """Whether a generation kept for a rollback was given up, because its encoder is gone: no search could use it.

    On a first attempt it may be this machine alone that lacks the encoder, and the job waits.
    """
    if generation.state != "standby" or held.attempt == 1:
        return False
    try:
        encoder_for(tools.encoders, generations.recipe_of(generation))
    except EmbedderUnavailable as error:
        log.warning("generation %s can no longer be rolled back to: %s", generation.id, error.code)
        with tools.db.begin() as session:
            generations.forgo(session, generation.id)
        return True
    return False


class Stopwatch:
    """Seconds per stage of a batch."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Book the time since the last lap to a stage."""
        now = time.perf_counter()
        self.seconds[stage] += now - self._last
        metrics.STAGE_SECONDS.labels(stage).observe(now - self._last)
        self._last = now


def _cut(tools: Tools, target: Target) -> list[Text] | None:
    made: list[list[Text]] = []
    done = _attempt(tools, target.held, lambda t, _: made.append(indexing.cut(t, target)))
    return made[0] if done else None


def _store(tools: Tools, counts: dict[Target, Counts]) -> list[Stored]:
    """Write the points of all targets; those are given back that are durable."""
    by_generation: dict[str, list[Target]] = defaultdict(list)
    for target in counts:
        by_generation[target.generation.id].append(target)
    return [each for targets in by_generation.values() for each in _store_together(tools, targets, counts)]


def _store_together(
    tools: Tools, targets: Sequence[Target], counts: dict[Target, Counts]
) -> Iterator[Stored]:
    """Those of one generation, for which the disk is waited for once."""
    generation, versions = targets[0].generation, [target.version_id for target in targets]
    unready = _met(lambda: storing.prepare(tools, generation, versions))
    written: list[Stored] = []
    for target in targets:
        _attempt(tools, target.held, partial(_write, unready, target, counts[target], written))
    unsynced = _met(lambda: tools.store.sync(generation.id)) if written else None
    for each in written:
        if _attempt(tools, each.target.held, partial(_raise, unsynced)):
            yield each


def _met(step: Callable[[], object]) -> IbidError | None:
    """What a step met that was done once for several documents, for each of them to meet."""
    try:
        step()
    except IbidError as error:
        return error
    return None


def _raise(error: IbidError | None, _tools: Tools, _held: Claim) -> None:
    if error is not None:
        raise error


def _write(
    unready: IbidError | None, target: Target, counts: Counts, to: list[Stored], tools: Tools, held: Claim
) -> None:
    _raise(unready, tools, held)
    to.append(storing.write(tools, target, counts))


def _embed(tools: Tools, texts: dict[Target, list[Text]]) -> dict[Target, Counts]:
    """Embed all texts, one generation after the other."""
    by_generation: dict[str, list[Target]] = defaultdict(list)
    for target in texts:
        by_generation[target.generation.id].append(target)
    counts: dict[Target, Counts] = {}
    for targets in by_generation.values():
        held = [target.held for target in targets]
        wanted = [text for target in targets for text in texts[target]]
        unknown = indexing.embed(tools, targets[0].generation, wanted, held)
        counts |= {target: indexing.count(texts[target], unknown) for target in targets}
    return counts


def _publish(tools: Tools, held: Claim, stored: Sequence[Stored], clock: Stopwatch) -> bool:
    """Whether the claim is done with: live, or dropped. False: a generation appeared that lacks the version."""
    outcome: list[Outcome] = []
    if not _attempt(tools, held, lambda t, c: outcome.append(ending.publish(t, c, stored, clock.seconds))):
        return True
    if outcome[0] is Outcome.LIVE:
        _attempt(tools, held, lambda t, c: ending.finish(t, c, clock.seconds))
    return outcome[0] is not Outcome.LACKING


def _attempt(tools: Tools, held: Claim, step: Callable[[Tools, Claim], object]) -> bool:
    """Whether the step was done. What went wrong decides what becomes of the job; bugs go up to the door."""
    with logs.on_jobs([held]):
        return _tried(tools, held, step)


def _tried(tools: Tools, held: Claim, step: Callable[[Tools, Claim], object]) -> bool:
    try:
        tools.go_on()
        step(tools, held)
    except Stopping:
        _put_down(tools, held)
    except recognising.Postponed as error:
        _postpone(tools, held, error)
    except VersionGone as error:
        _stop(tools, held, error, deleted=True)
    except (LeaseLost, Fenced) as error:
        _stop(tools, held, error)
    except (ParserDied, FetchFailed) as error:
        _count(tools, held, error)
    except ParsersKilled as error:
        _suspect(tools, held, error)
    except (Invalid, TooLarge, Forbidden, BlobMissing, CollectionNotFound, DocumentNotFound) as error:
        _refuse(tools, held, error)
    except IbidError as error:
        _wait(tools, held, error)
    else:
        return True
    return False


def _stop(tools: Tools, held: Claim, error: IbidError, *, deleted: bool = False) -> None:
    """The attempt is over. A job whose document was deleted ends, also one that was queued beside the deletion."""
    with tools.db.begin() as session:
        ended = claims.cancelled(session, held, asked=not deleted)
    log.info("the attempt stops: %s", "cancelled" if ended else error.code)


def _count(tools: Tools, held: Claim, error: IbidError) -> None:
    """The document's own parse died, or its server does not answer: try again later, or give up after the last attempt."""
    with _unless_over(tools, held) as session:
        failures = claims.check(session, held).failures + 1
        reason = (error.code, error.message)
        log.warning("failure %d of %d: %s", failures, tools.settings.max_attempts, error.code)
        if failures >= tools.settings.max_attempts:
            claims.fail(session, held, *reason, retryable=True)
        else:
            claims.put_back(session, held, wait=claims.backoff(failures), reason=reason, counts=True)


def _suspect(tools: Tools, held: Claim, error: IbidError) -> None:
    """Somebody killed the parser: wait, and blame the document only after more times than chance would meet it."""
    with _unless_over(tools, held) as session:
        kills = claims.count_kill(session, held)
        if kills >= MOST_KILLS:
            died = ParserDied(
                f"The parser was killed {kills} times while it read this document. If it is not the machine that does "
                "it, the document is harmful: remove it."
            )
            claims.fail(session, held, died.code, died.message, retryable=True)
            log.warning("the job ended: failed, %s", died.code)
            return
    _wait(tools, held, error)


def _refuse(tools: Tools, held: Claim, error: IbidError) -> None:
    """The document is at fault: asking again changes nothing."""
    with _unless_over(tools, held) as session:
        claims.fail(session, held, error.code, error.message, retryable=False)
        log.info("the job ended: failed, %s", error.code)


def _wait(tools: Tools, held: Claim, error: IbidError) -> None:
    """Something that Ibid needs is away: try again in a while, and count nothing."""
    wait = min(claims.backoff(held.attempt), LONGEST_WAIT)
    log.warning("the job waits %.1f s: %s", wait.total_seconds(), error.code)
    with _unless_over(tools, held) as session:
        claims.put_back(session, held, wait=wait, reason=(error.code, error.message))


def _put_down(tools: Tools, held: Claim) -> None:
    with _unless_over(tools, held) as session:
        claims.put_back(session, held, wait=timedelta())
    log.info("job %s is put down: this worker was told to stop", held.id)


def _postpone(tools: Tools, held: Claim, error: IbidError) -> None:
    """Behind those that wait, and alone: what is done is kept."""
    with _unless_over(tools, held) as session:
        claims.put_back(session, held, wait=timedelta(), alone=True)
    log.info("the job goes on later: %s", error.code)


@contextmanager
def _unless_over(tools: Tools, held: Claim) -> Iterator[Session]:
    """A transaction about the job's end; one whose attempt is over changes nothing."""
    try:
        with tools.db.begin() as session:
            yield session
    except LeaseLost as error:
        _stop(tools, held, error)
