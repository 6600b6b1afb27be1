"""The rows of an answer: every change that its run makes, each a short transaction that the door or the run commits.

A change raises `AnswerOver` when the answer has ended, so that a run that lost its lease writes nothing. Events refer
to rows and hold no text, so that withdrawing a row withdraws it from every event.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Final, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ibid import access, catalogue, withdrawal
from ibid.clock import new_id, now
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
)
from ibid.errors import Conflict
from ibid.filters import Filter, written
from ibid.settings import Settings
from ibid.types import Hit, Json, Scope, Support
from retrieval import prompts
from retrieval.drafting import Attempt
from retrieval.questions import cleaned
from retrieval.search import SearchResult
from retrieval.verification import Evidence, Judged

Policy = Literal["annotate", "strict"]
Ending = Literal["completed", "refused", "failed", "cancelled"]
USAGE: Final = ("input_tokens", "output_tokens", "cached_tokens", "cost_usd")
PASSAGES: Final = 8
NEAREST: Final = 3


class AnswerOver(Conflict):
    """The answer has ended, so nothing can be added to it."""

    code = "answer_over"


def start(
    session: Session,
    scope: Scope,
    collection_ref: str,
    question: str,
    settings: Settings,
    *,
    model: str | None = None,
    policy: Policy = "annotate",
    filters: Filter | None = None,
) -> str:
    """A running answer under a lease; gives its id. The caller commits, and then runs it.

    Its passages are of documents for whose metadata the filter holds, which is kept with it. `model` is asked before
    those of the route.
    """
    collection = access.collection(session, scope, collection_ref)
    if model is not None:
        catalogue.known(session, [model], param="model")
    at = moment(session)
    answer = Answer(
        id=new_id("ans"),
        collection_id=collection.id,
        key_id=scope.key_id,
        actor=scope.actor,
        question=cleaned(question, settings.max_question_chars),
        status="running",
        model="",
        prompt_version=prompts.VERSION,
        settings={
            "model": model,
            "passages": PASSAGES,
            "policy": policy,
            "as_of": scope.as_of.isoformat() if scope.as_of else None,
            "filters": None if filters is None else written(filters),
        },
        route=[],
        usage=dict.fromkeys(USAGE, 0),
        timings={},
        grounding={},
        lease_until=at + timedelta(seconds=settings.lease_seconds),
        watched_at=at,
        created_at=now(),
    )
    session.add(answer)
    session.flush()
    add_event(session, answer.id, "answer.created")
    return answer.id


def running(session: Session, answer_id: str) -> Answer:
    """The answer, locked until the transaction ends; raises `AnswerOver` unless it is running."""
    answer = session.scalar(
        select(Answer)
        .where(Answer.id == answer_id, Answer.status == "running")
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if answer is None:
        raise AnswerOver(f"Answer {answer_id} has ended.")
    return answer


def add_event(session: Session, answer_id: str, kind: str, data: Mapping[str, Json] | None = None) -> None:
    """The next event of an answer; its row must be new or locked by the caller."""
    last = session.scalar(select(func.max(AnswerEvent.seq)).where(AnswerEvent.answer_id == answer_id))
    session.add(AnswerEvent(answer_id=answer_id, seq=(last or 0) + 1, type=kind, data=dict(data or {})))
    session.flush()


def retrieved(session: Session, answer_id: str, result: SearchResult, gate: Mapping[str, Json]) -> None:
    """Record what was searched, whose passages the model is shown, and what the gate saw."""
    answer = running(session, answer_id)
    answer.generation_id = result.generation_id
    answer.settings = answer.settings | {"gate": dict(gate), "plan": asdict(result.plan)}
    shown = sorted({hit.document_id for hit in result.hits})
    session.add_all(AnswerSource(answer_id=answer_id, document_id=document_id) for document_id in shown)
    add_event(
        session,
        answer_id,
        "retrieval.completed",
        {"hits": len(result.hits), "generation_id": result.generation_id},
    )


def tried(session: Session, answer_id: str, attempt: Attempt) -> None:
    """Keep what became of a model of the route, and what it took; also with an answer that has ended meanwhile."""
    answer = session.get_one(Answer, answer_id, with_for_update=True)
    answer.route = [*answer.route, asdict(attempt)]
    answer.usage = {name: answer.usage.get(name, 0) + getattr(attempt, name) for name in USAGE}
    session.flush()


def citable(
    session: Session, scope: Scope, judged: Judged, *, shown: frozenset[str] = frozenset(), question: str = ""
) -> bool:
    """Whether the sentence may be let out; the documents that this rests on stay until the transaction ends.

    The scope must still see every document that it cites. Once one that the model was `shown` is out of sight, words
    of it may be anywhere: then a sentence is let out only if it is verified and has all its words from elsewhere.
    """
    cited = {place.document_id for place in judged.evidence}
    seen = visible(session, scope, cited | shown)
    if seen >= cited | shown:
        return True
    quotes = [place.quote if place.document_id in seen else None for place in judged.evidence]
    return withdrawal.stands_alone(judged.text, judged.support, question, quotes)


def release(session: Session, answer_id: str, judged: Judged, model: str) -> None:
    """Let a citable sentence out, its new citations before it; the answer must be locked by the caller."""
    session.get_one(Answer, answer_id).model = model
    numbers = [_cite(session, answer_id, place, judged.support) for place in judged.evidence]
    last = session.scalar(
        select(func.max(AnswerSentence.ordinal)).where(AnswerSentence.answer_id == answer_id)
    )
    ordinal = 0 if last is None else last + 1
    session.add(
        AnswerSentence(
            answer_id=answer_id, ordinal=ordinal, text=judged.text, support=judged.support, citations=numbers
        )
    )
    add_event(session, answer_id, "answer.delta", {"sentence": ordinal, "reason": judged.reason})


def refuse(
    session: Session, scope: Scope, answer_id: str, reason: str, message: str, hits: Sequence[Hit]
) -> None:
    """End the answer as a refusal that shows the nearest passages."""
    answer = running(session, answer_id)
    answer.reason, answer.message = reason, message
    allowed = visible(session, scope, {hit.document_id for hit in hits[:NEAREST]})
    for rank, hit in enumerate((hit for hit in hits[:NEAREST] if hit.document_id in allowed), start=1):
        session.add(
            AnswerNearest(
                answer_id=answer_id,
                rank=rank,
                chunk_id=hit.chunk_id,
                document_id=hit.document_id,
                version_id=hit.version_id,
                start=hit.start,
                end=hit.end,
                page=hit.page,
                heading=list(hit.heading),
                score=hit.score,
                dense=hit.legs.dense,
                sparse=hit.legs.sparse,
            )
        )
    end(session, answer, "refused")


def complete(session: Session, answer_id: str) -> None:
    """End the answer well, with a count of sentences by support."""
    answer = running(session, answer_id)
    sentences = select(AnswerSentence.support).where(AnswerSentence.answer_id == answer_id)
    supports = list(session.scalars(sentences))
    answer.grounding = {support.value: supports.count(support.value) for support in Support}
    add_event(session, answer_id, "answer.grounding")
    end(session, answer, "completed")


def timed(session: Session, answer_id: str, timings: Mapping[str, float]) -> None:
    """Keep milliseconds of the steps of a running answer."""
    running(session, answer_id).timings = {name: round(spent, 2) for name, spent in timings.items()}


def cancel(session: Session, answer_id: str, reason: str) -> None:
    """End the answer because somebody stopped it, or nobody is watching."""
    answer = running(session, answer_id)
    answer.reason = reason
    end(session, answer, "cancelled")


def fail(session: Session, answer_id: str, code: str, message: str) -> None:
    """End the answer with a code for programs and a sentence for a person."""
    answer = running(session, answer_id)
    answer.reason, answer.message = code, message
    end(session, answer, "failed")


def end(session: Session, answer: Answer, ending: Ending) -> None:
    """Close the answer and say so as its last event."""
    answer.status, answer.lease_until, answer.finished_at = ending, None, now()
    add_event(session, answer.id, f"answer.{ending}")


def end_interrupted(session: Session) -> int:
    """End running answers whose lease is over: their process died; gives how many."""
    lost = session.scalars(
        select(Answer)
        .where(Answer.status == "running", Answer.lease_until < moment(session))
        .with_for_update(skip_locked=True)
    ).all()
    for answer in lost:
        answer.reason = "interrupted"
        answer.message = "The service stopped while it was answering. Ask again."
        end(session, answer, "failed")
    return len(lost)


def visible(session: Session, scope: Scope, document_ids: set[str]) -> set[str]:
    """Those of the documents that the scope may see, held until the transaction ends: a delete has to wait."""
    rows = (
        select(Document.id)
        .join(Collection, Collection.id == Document.collection_id)
        .where(Document.id.in_(document_ids), access.sees_document(scope))
        .order_by(Document.id)
        .with_for_update(read=True, of=Document)
    )
    return set(session.scalars(rows))


def _cite(session: Session, answer_id: str, place: Evidence, support: Support) -> int:
    """The number of the citation of these words, new or had before."""
    verified = support is Support.VERIFIED
    of_answer = select(AnswerCitation).where(AnswerCitation.answer_id == answer_id)
    same = session.scalar(
        of_answer.where(
            AnswerCitation.version_id == place.version_id,
            AnswerCitation.start == place.start,
            AnswerCitation.end == place.end,
            AnswerCitation.verified.is_(verified),
        )
    )
    if same is not None:
        return same.n
    n = (
        session.scalar(select(func.max(AnswerCitation.n)).where(AnswerCitation.answer_id == answer_id)) or 0
    ) + 1
    boxes: list[Any] = [asdict(box) for box in place.boxes]
    session.add(
        AnswerCitation(
            answer_id=answer_id,
            n=n,
            document_id=place.document_id,
            version_id=place.version_id,
            start=place.start,
            end=place.end,
            page=place.page,
            boxes=boxes,
            verified=verified,
        )
    )
    add_event(session, answer_id, "citation.added", {"n": n})
    return n
