"""Answering: one run from a question to its end, detached from whoever asked.

No session is open while the engine, an encoder or a model works. Each step is a short transaction that is dropped when
the answer has ended in the meantime; a run that dies leaves a lease that expires.
"""

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from time import perf_counter
from typing import Final

import anyio
from anyio.to_thread import run_sync
from sqlalchemy import select
from sqlalchemy.orm import Session

from ibid import generations, metrics, queue, routing, spending
from ibid.catalogue import EXTRACTIVE, Entry
from ibid.chat.port import DraftSentence, Prompt
from ibid.db.session import Database, moment
from ibid.db.tables import Answer, Parse, Version
from ibid.errors import IbidError, Unavailable
from ibid.filters import Filter, parse
from ibid.routing import Choice
from ibid.spending import Spender
from ibid.types import Hit, Scope, Support
from retrieval import gate, prompts, records
from retrieval.drafting import Attempt, Journey, drafts, tokens
from retrieval.kit import Kit
from retrieval.records import AnswerOver
from retrieval.search import SearchResult, search
from retrieval.verification import Judged, Source, judge

BEAT_SECONDS: Final = 1.0
INSUFFICIENT: Final = "insufficient_evidence"
REFUSAL: Final = (
    "The documents of this collection do not seem to hold an answer to this question. The nearest passages are shown; "
    "ask in other words, or add a document that says it."
)
UNREAD: Final = " Documents that are still being read, and may hold it: {}."


class Stopped(Exception):
    """Somebody asked the answer to stop, or nobody watches it; the message is the reason."""


@dataclass(slots=True)
class _Run:
    """One answer on its way: what it is about, and what it has spent (milliseconds)."""

    kit: Kit
    scope: Scope
    id: str
    question: str
    collection_id: str
    model: str | None
    strict: bool
    filters: Filter | None
    began: float = field(default_factory=perf_counter)
    timings: dict[str, float] = field(default_factory=dict)
    waiting: list[Judged] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    generation_id: str = ""
    writer: str = ""
    shown: frozenset[str] = frozenset()
    supported: bool = False

    def spent(self, step: str, since: float) -> None:
        self.timings[step] = self.timings.get(step, 0.0) + (perf_counter() - since) * 1000

    def keep(self, session: Session, attempt: Attempt) -> None:
        records.tried(session, self.id, attempt)


async def run(kit: Kit, scope: Scope, answer_id: str) -> None:
    """Bring a running answer to its end. Errors of Ibid end it as failed; others are left to the door."""
    reasons: list[str] = []
    async with anyio.create_task_group() as group:

        async def keep() -> None:
            reasons.append(await _until_stopped(kit, answer_id))
            group.cancel_scope.cancel()

        group.start_soon(keep)
        reasons.append(await _attempt(kit, scope, answer_id))
        group.cancel_scope.cancel()
    reason = next(filter(None, reasons), "")
    if reason:
        await run_sync(_write_unless_over, kit.db, records.cancel, answer_id, reason)


def fail(db: Database, answer_id: str, code: str, message: str) -> None:
    """End the answer as failed, unless it has ended; for the door, when a run raised what nobody expected."""
    _write_unless_over(db, records.fail, answer_id, code, message)


async def _attempt(kit: Kit, scope: Scope, answer_id: str) -> str:
    """Run to the end; gives the reason if the answer is to be cancelled instead, else an empty string."""
    try:
        await _answer(await run_sync(_load, kit, scope, answer_id))
    except Stopped as stopped:
        return str(stopped)
    except AnswerOver:
        pass  # ended by somebody else: stopped for its lease, or failed by the door
    except IbidError as error:
        await run_sync(fail, kit.db, answer_id, error.code, error.message)
    return ""


async def _answer(this: _Run) -> None:
    result, decision = await run_sync(_retrieve, this)
    if not decision.sufficient:
        await run_sync(_refuse, this, result.hits)
        return
    sources = await run_sync(_sources, this, result)
    await _draft(this, result, sources)
    await run_sync(_finish, this, result.hits)


def _load(kit: Kit, scope: Scope, answer_id: str) -> _Run:
    with kit.db.read() as session:
        answer = session.get_one(Answer, answer_id)
        return _Run(
            kit,
            scope,
            answer.id,
            answer.question,
            answer.collection_id,
            answer.settings["model"],
            strict=answer.settings["policy"] == "strict",
            filters=parse(kept) if (kept := answer.settings.get("filters")) else None,
        )


def _retrieve(this: _Run) -> tuple[SearchResult, gate.Decision]:
    begin = perf_counter()
    result = search(
        this.kit,
        this.scope,
        this.collection_id,
        this.question,
        records.PASSAGES,
        filters=this.filters,
    )
    decision = gate.decide(this.question, result.hits, result.encoder)
    this.spent("search", begin)
    this.shown = frozenset(hit.document_id for hit in result.hits)
    this.generation_id = result.generation_id
    seen = {"sufficient": decision.sufficient, "score": round(decision.score, 4)} | asdict(decision.features)
    with this.kit.db.begin() as session:
        records.retrieved(session, this.id, result, seen)
    return result, decision


def _sources(this: _Run, result: SearchResult) -> dict[int, Source]:
    """The passages by their number in the prompt, with the canonical text of their versions."""
    begin = perf_counter()
    versions = {hit.version_id for hit in result.hits}
    with this.kit.db.read() as session:
        rows = session.execute(
            select(Version.id, Parse.text, Parse.layout)
            .join(Parse, Parse.key == Version.parse_key)
            .where(Version.id.in_(versions))
        ).all()
    texts = {id_: (text, layout) for id_, text, layout in rows}
    sources = {
        n: Source(
            hit.document_id,
            hit.document,
            hit.version_id,
            hit.version,
            *texts[hit.version_id],
            hit.start,
            hit.end,
            hit.page,
            hit.heading,
        )
        for n, hit in enumerate(result.hits, start=1)
        if hit.version_id in texts  # else purged since the search; the release would refuse it
    }
    this.spent("sources", begin)
    return sources


async def _draft(this: _Run, result: SearchResult, sources: Mapping[int, Source]) -> None:
    """Let the models of the route write, and check what comes."""

    def prompt(entry: Entry) -> Prompt:
        quotes = "json_schema" in entry.capabilities
        return prompts.build(this.question, result.hits, said=this.said, quotes=quotes)

    spender = Spender(this.id, this.scope.key_id, this.collection_id)
    journey = Journey(this.kit.db, this.kit.models, spender, prompt, this.keep)
    choices = await run_sync(_choices, this, spender, prompt(EXTRACTIVE))
    begin = perf_counter()
    async with aclosing(drafts(journey, choices)) as drafted:
        async for written in drafted:
            this.spent("model", begin)
            this.writer = written.model
            await run_sync(_take, this, written.sentence, sources)
            begin = perf_counter()


def _choices(this: _Run, spender: Spender, prompt: Prompt) -> tuple[Choice, ...]:
    with this.kit.db.read() as session:
        asked = routing.Asked(
            collection_id=this.collection_id,
            languages=generations.languages(session, this.generation_id),
            length=len(this.question),
            tokens=tokens(prompt),
            left=spending.left(session, spender),
        )
        return routing.choices(session, asked, this.model)


def _take(this: _Run, draft: DraftSentence, sources: Mapping[int, Source]) -> None:
    """Check a sentence and let it out. Unsupported ones wait for the first supported one: alone they are no answer."""
    begin = perf_counter()
    judged = judge(draft, sources)
    this.spent("verification", begin)
    if judged.support is not Support.UNSUPPORTED or this.supported:
        _release(this, judged)
    else:
        this.waiting.append(judged)


def _release(this: _Run, judged: Judged) -> None:
    """Write the sentence, and those that waited for it, unless a document that they may rest on is gone by now."""
    let_out = [
        one for one in (*this.waiting, judged) if not (this.strict and one.support is Support.UNSUPPORTED)
    ]
    with this.kit.db.begin() as session:
        _check_stop(records.running(session, this.id), this.kit, moment(session))
        allowed = [
            one
            for one in let_out
            if records.citable(session, this.scope, one, shown=this.shown, question=this.question)
        ]
        if judged not in allowed:
            return
        for one in allowed:
            records.release(session, this.id, one, this.writer)
    this.said += [one.text for one in allowed]
    this.waiting.clear()
    this.supported = True
    this.timings.setdefault("first_sentence", (perf_counter() - this.began) * 1000)


def _finish(this: _Run, hits: tuple[Hit, ...]) -> None:
    if not this.supported:
        _refuse(this, hits)
        return
    this.spent("total", this.began)
    metrics.ANSWER_SECONDS.observe(this.timings["total"] / 1000)
    with this.kit.db.begin() as session:
        records.timed(session, this.id, this.timings)
        records.complete(session, this.id)


def _refuse(this: _Run, hits: tuple[Hit, ...]) -> None:
    this.spent("total", this.began)
    metrics.ANSWER_SECONDS.observe(this.timings["total"] / 1000)
    with this.kit.db.begin() as session:
        records.timed(session, this.id, this.timings)
        unread = queue.being_read(session, this.scope, this.collection_id)
        message = REFUSAL + (UNREAD.format(unread) if unread else "")
        records.refuse(session, this.scope, this.id, INSUFFICIENT, message, hits)


async def _until_stopped(kit: Kit, answer_id: str) -> str:
    """Renew the lease until the answer is to stop; gives the reason, empty when it has ended."""
    while True:
        await anyio.sleep(min(BEAT_SECONDS, kit.settings.lease_seconds / 4))
        try:
            await run_sync(_beat, kit, answer_id)
        except Stopped as stopped:
            return str(stopped)
        except AnswerOver:
            return ""
        except Unavailable:
            continue  # the lease outlasts a database that is away for a moment


def _beat(kit: Kit, answer_id: str) -> None:
    """Look whether to stop; renew the lease once a third of it is spent."""
    length = timedelta(seconds=kit.settings.lease_seconds)
    with kit.db.read() as session:
        answer = session.get_one(Answer, answer_id)
        if answer.status != "running":
            raise AnswerOver(f"Answer {answer_id} has ended.")
        at = moment(session)
        _check_stop(answer, kit, at)
        fresh = answer.lease_until is not None and answer.lease_until - at > length * 2 / 3
    if not fresh:
        with kit.db.begin() as session:
            records.running(session, answer_id).lease_until = moment(session) + length


def _check_stop(answer: Answer, kit: Kit, at: datetime) -> None:
    if answer.stop_requested:
        raise Stopped("stopped")
    if at - answer.watched_at > timedelta(seconds=kit.settings.answer_unwatched_seconds):
        raise Stopped("unwatched")


def _write_unless_over(db: Database, change: object, *arguments: str) -> None:
    try:
        with db.begin() as session:
            change(session, *arguments)  # type: ignore[operator]
    except AnswerOver:
        return
