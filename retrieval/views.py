"""Answers as their readers see them: quotes are sliced from the canonical text at the time of reading.

What the reader may not see any more is withheld: the citation, and the text of every sentence that rests on it, or that
may have words of a document that the model was shown.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from ibid import access
from ibid.db.session import moment
from ibid.db.tables import (
    Answer,
    AnswerCitation,
    AnswerEvent,
    AnswerNearest,
    AnswerSentence,
    AnswerSource,
    Collection,
    Document,
    Parse,
    Version,
)
from ibid.errors import NotFound
from ibid.types import Box, Citation, Hit, Json, Legs, Scope
from ibid.withdrawal import SourceDeleted, stands_alone


class AnswerNotFound(NotFound):
    """No answer of this id is visible to the asker."""

    code = "answer_not_found"


@dataclass(frozen=True, slots=True)
class SentenceView:
    """A sentence with its citations' numbers; a withdrawn one has no text."""

    ordinal: int
    text: str
    support: str
    citations: tuple[int, ...]
    withdrawn: bool


@dataclass(frozen=True, slots=True)
class AnswerView:
    """An answer as its reader sees it. `timings` are milliseconds; `usage` and `grounding` are counts.

    `model` is the last of which a sentence was let out, `route` what became of each that was asked or passed over.
    """

    id: str
    status: str
    collection_id: str
    question: str
    text: str
    reason: str | None
    message: str | None
    nearest: tuple[Hit, ...]
    sentences: tuple[SentenceView, ...]
    citations: tuple[Citation, ...]
    model: str | None
    route: tuple[dict[str, Json], ...]
    prompt_version: str
    generation_id: str | None
    usage: dict[str, float]
    timings: dict[str, float]
    grounding: dict[str, int]
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class EventView:
    """An event of an answer with what it refers to filled in."""

    seq: int
    type: str
    data: Mapping[str, Json]


def get(session: Session, scope: Scope, answer_id: str) -> Answer:
    """The answer, if the asker asked it, or is an admin acting for nobody."""
    answer = session.get(Answer, answer_id)
    asked = answer is not None and (answer.key_id, answer.actor) == (scope.key_id, scope.actor)
    reaches = answer is not None and (scope.collections is None or answer.collection_id in scope.collections)
    oversees = scope.role == "admin" and scope.principals is None and reaches
    if answer is None or not (asked or oversees):
        raise AnswerNotFound(f"There is no answer {answer_id!r}.")
    return answer


def view(session: Session, scope: Scope, answer_id: str) -> AnswerView:
    """The answer with everything in it that the reader may see now."""
    answer = get(session, scope, answer_id)
    citations = _citations(session, scope, answer.id)
    sentences = _sentences(session, scope, answer, citations)
    used = {n for sentence in sentences for n in sentence.citations}
    return AnswerView(
        id=answer.id,
        status=answer.status,
        collection_id=answer.collection_id,
        question=answer.question,
        text=" ".join(sentence.text for sentence in sentences if sentence.text),
        reason=answer.reason,
        message=answer.message,
        nearest=_nearest(session, scope, answer),
        sentences=sentences,
        citations=tuple(citations[n] for n in sorted(citations) if n in used),
        model=answer.model or None,
        route=tuple(answer.route),
        prompt_version=answer.prompt_version,
        generation_id=answer.generation_id,
        usage=answer.usage,
        timings=answer.timings,
        grounding=answer.grounding,
        created_at=answer.created_at,
        finished_at=answer.finished_at,
    )


def replay(session: Session, scope: Scope, answer_id: str) -> AnswerView:
    """The answer as it was given; raises `SourceDeleted` when a document it cites, or has words of, was deleted."""
    seen = view(session, scope, answer_id)
    if any(sentence.withdrawn for sentence in seen.sentences):
        raise SourceDeleted(
            "A document that this answer was made from was deleted, or you may no longer see it. Ask again."
        )
    return seen


def events_after(session: Session, scope: Scope, answer_id: str, seq: int) -> list[EventView]:
    """The answer's events with a higher number than `seq`, in order, filled in as the reader may see them now."""
    get(session, scope, answer_id)
    rows = session.scalars(
        select(AnswerEvent)
        .where(AnswerEvent.answer_id == answer_id, AnswerEvent.seq > seq)
        .order_by(AnswerEvent.seq)
    ).all()
    if not rows:
        return []
    seen = view(session, scope, answer_id)
    return [EventView(row.seq, row.type, _filled(row, seen)) for row in rows]


def ended(session: Session, answer_id: str) -> bool:
    """Whether the answer has ended, so that no further event will come."""
    return session.scalar(select(Answer.status).where(Answer.id == answer_id)) != "running"


def stop(session: Session, scope: Scope, answer_id: str) -> None:
    """Ask the answer's run to end; nothing happens to an answer that has ended."""
    get(session, scope, answer_id).stop_requested = True


def touch_watched(session: Session, answer_id: str) -> None:
    """Note that somebody is watching the answer come."""
    session.get_one(Answer, answer_id).watched_at = moment(session)


def _filled(row: AnswerEvent, seen: AnswerView) -> dict[str, Json]:
    data: dict[str, Any] = {"answer_id": seen.id}
    if row.type == "answer.created":
        data |= {"collection_id": seen.collection_id, "question": seen.question}
    elif row.type == "citation.added":
        data |= {"n": row.data["n"]} | next(
            (asdict(c) for c in seen.citations if c.n == row.data["n"]), {"withdrawn": True}
        )
    elif row.type == "answer.delta":
        data |= asdict(seen.sentences[row.data["sentence"]]) | {"support_reason": row.data["reason"]}
    elif row.type == "answer.grounding":
        data |= seen.grounding
    elif row.type == "answer.refused":
        data |= {
            "reason": seen.reason,
            "message": seen.message,
            "nearest": [asdict(hit) for hit in seen.nearest],
        }
    elif row.type in {"answer.failed", "answer.cancelled"}:
        data |= {"reason": seen.reason, "message": seen.message}
    elif row.type == "answer.completed":
        data |= {"usage": seen.usage, "timings": seen.timings}
    else:
        data |= row.data
    return data


def _citations(session: Session, scope: Scope, answer_id: str) -> dict[int, Citation]:
    """Citations by number, those whose documents the reader may see."""
    rows = session.execute(
        select(
            AnswerCitation, Document.name, Version.number, _slice(AnswerCitation.start, AnswerCitation.end)
        )
        .join(Version, Version.id == AnswerCitation.version_id)
        .join(Parse, Parse.key == Version.parse_key)
        .join(Document, Document.id == AnswerCitation.document_id)
        .join(Collection, Collection.id == Document.collection_id)
        .where(AnswerCitation.answer_id == answer_id, access.sees_document(scope))
    )
    return {
        row.n: Citation(
            n=row.n,
            document_id=row.document_id,
            document=name,
            version_id=row.version_id,
            version=number,
            page=row.page,
            boxes=tuple(Box(**box) for box in row.boxes),
            start=row.start,
            end=row.end,
            quote=quote,
            verified=row.verified,
        )
        for row, name, number, quote in rows
    }


def _sentences(
    session: Session, scope: Scope, answer: Answer, citations: Mapping[int, Citation]
) -> tuple[SentenceView, ...]:
    """The sentences; once a document that the model was shown is out of the reader's sight, those that stand alone."""
    rows = session.scalars(
        select(AnswerSentence).where(AnswerSentence.answer_id == answer.id).order_by(AnswerSentence.ordinal)
    )
    hidden = _hidden_source(session, scope, answer.id)
    return tuple(
        _sentence(
            row,
            citations,
            withheld=hidden and not _stands_alone(row, answer.question, citations),
        )
        for row in rows
    )


def _sentence(row: AnswerSentence, citations: Mapping[int, Citation], *, withheld: bool) -> SentenceView:
    numbers = tuple(cast("list[int]", row.citations))
    if row.withdrawn or withheld or any(n not in citations for n in numbers):
        return SentenceView(row.ordinal, "", row.support, (), withdrawn=True)
    return SentenceView(row.ordinal, row.text, row.support, numbers, withdrawn=False)


def _stands_alone(row: AnswerSentence, question: str, citations: Mapping[int, Citation]) -> bool:
    quotes = [citations[n].quote if n in citations else None for n in row.citations]
    return stands_alone(row.text, row.support, question, quotes)


def _hidden_source(session: Session, scope: Scope, answer_id: str) -> bool:
    """Whether the reader may not see, or not any more, a document of which the model was shown a passage."""
    seen = (
        select(Document.id)
        .join(Collection, Collection.id == Document.collection_id)
        .where(Document.id == AnswerSource.document_id, access.sees_document(scope))
    )
    hidden = select(AnswerSource.document_id).where(AnswerSource.answer_id == answer_id, ~seen.exists())
    return session.scalar(hidden.limit(1)) is not None


def _nearest(session: Session, scope: Scope, answer: Answer) -> tuple[Hit, ...]:
    rows = session.execute(
        select(AnswerNearest, Document.name, Version.number, _slice(AnswerNearest.start, AnswerNearest.end))
        .join(Version, Version.id == AnswerNearest.version_id)
        .join(Parse, Parse.key == Version.parse_key)
        .join(Document, Document.id == AnswerNearest.document_id)
        .join(Collection, Collection.id == Document.collection_id)
        .where(AnswerNearest.answer_id == answer.id, access.sees_document(scope))
        .order_by(AnswerNearest.rank)
    )
    return tuple(
        Hit(
            document_id=row.document_id,
            document=name,
            version_id=row.version_id,
            version=number,
            generation_id=answer.generation_id or "",
            chunk_id=row.chunk_id,
            text=text,
            start=row.start,
            end=row.end,
            page=row.page,
            heading=tuple(row.heading),
            score=row.score,
            legs=Legs(row.dense, row.sparse),
        )
        for row, name, number, text in rows
    )


def _slice(start: InstrumentedAttribute[int], end: InstrumentedAttribute[int]) -> ColumnElement[str]:
    """`canonical[start:end]` in SQL, which counts code points from one."""
    return func.substr(Parse.text, start + 1, end - start)
