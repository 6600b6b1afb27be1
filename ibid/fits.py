"""Fits: weights of a search's legs, chosen on questions and kept with the generation that they were chosen on.

Of a generation the newest fit counts that was adopted and not rolled back; without one it is searched with the preset.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, ScalarSelect, Text, and_, cast, delete, func, select
from sqlalchemy.orm import Session

from ibid import access, claims, generations, jobs
from ibid.claims import Claim
from ibid.clock import new_id, now
from ibid.db.tables import Collection, Document, Fit, Generation, Job
from ibid.errors import Conflict, Invalid, NotFound
from ibid.types import TERMINAL, JobKind, JobState, Scope

MOST_QUESTIONS: Final = 2000
GIVEN: Final = "given"
GENERATED: Final = "generated"

_FITTING: Final = "fitting"
_ADOPTED: Final = "adopted"


class FitRunning(Conflict):
    """A fit of this collection is under way."""

    code = "fit_running"


class FitNotFound(NotFound):
    """No fit of this id is visible to the asker."""

    code = "fit_not_found"


class FitNotInForce(Conflict):
    """Only the fit that searches use at present can be rolled back."""

    code = "fit_not_in_force"


class FitQuestionInvalid(Invalid):
    """A question that was given for a fit asks for nothing that could be found."""

    code = "fit_question_invalid"


class FitGone(Invalid):
    """The generation that was to be fitted is no longer kept, and its fits went with it."""

    code = "fit_gone"


@dataclass(frozen=True, slots=True)
class Golden:
    """A question and what should be found for it: a document, of it a page (from 1), or a sentence."""

    query: str
    document_id: str
    page: int | None = None
    sentence: str | None = None


@dataclass(frozen=True, slots=True)
class Weights:
    """What a fit chose: the part of the meaning in a score, and how much the better neighbour adds (both 0 to 1)."""

    fit_id: str
    dense_weight: float
    nearby_weight: float


@dataclass(frozen=True, slots=True)
class FitView:
    """A fit as people see it; `in_force` says that searches of its collection use its weights."""

    id: str
    collection_id: str
    generation_id: str
    job_id: str
    state: str
    source: str
    in_force: bool
    report: dict[str, Any] | None
    created_at: datetime
    ended_at: datetime | None
    rolled_back_at: datetime | None


def start(session: Session, scope: Scope, ref: str, golden: Sequence[Golden] | None) -> Fit:
    """Begin to fit a collection's active generation, on these questions or on some made of its own text."""
    generations.lock_collection(session, access.collection(session, scope, ref).id)
    collection = access.collection(session, scope, ref)  # which may have been deleted while we waited
    under_way = (
        select(Fit.id)
        .join(Job, Job.id == Fit.job_id)
        .where(Fit.collection_id == collection.id, Job.state.not_in(TERMINAL))
    )
    if session.scalar(under_way.limit(1)) is not None:
        raise FitRunning("A fit of this collection is under way. Wait for it, or cancel its job.")
    _check(session, scope, collection.id, golden or ())
    generation_id = collection.active_generation_id
    job = jobs.enqueue(session, JobKind.FIT, collection.id, generation_id=generation_id)
    fit = Fit(
        id=new_id("fit"),
        collection_id=collection.id,
        generation_id=generation_id,
        job_id=job.id,
        state=_FITTING,
        source=GENERATED if golden is None else GIVEN,
        questions=None if golden is None else [asdict(each) for each in golden],
        created_at=now(),
    )
    session.add(fit)
    session.flush()
    return fit


def get(session: Session, scope: Scope, fit_id: str) -> Fit:
    """The fit, if the asker may see its collection."""
    visible = select(Collection.id).where(access.sees_collection(scope))
    one = select(Fit).where(Fit.id == fit_id, Fit.collection_id.in_(visible))
    found = session.scalar(one.execution_options(populate_existing=True))
    if found is None:
        raise FitNotFound(f"There is no fit {fit_id!r}.")
    return found


def listing(session: Session, scope: Scope, ref: str) -> list[Fit]:
    """All fits of a collection, newest first."""
    found = access.collection(session, scope, ref)
    return list(session.scalars(select(Fit).where(Fit.collection_id == found.id).order_by(Fit.id.desc())))


def views(session: Session, fits: Sequence[Fit]) -> list[FitView]:
    """The fits as people see them."""
    counting = (
        select(func.max(Fit.id))
        .join(Collection, Collection.active_generation_id == Fit.generation_id)
        .where(Collection.id.in_({fit.collection_id for fit in fits}), Fit.state == _ADOPTED)
        .group_by(Fit.generation_id)
    )
    in_force = set(session.scalars(counting))
    ended = dict(
        session.execute(
            select(Job.id, Job.state).where(Job.id.in_([fit.job_id for fit in fits]), Job.state.in_(TERMINAL))
        ).all()
    )
    return [_view(fit, in_force, ended) for fit in fits]


def roll_back(session: Session, scope: Scope, fit_id: str) -> Fit:
    """Search with the weights of the fit before this one again, or with the preset, from this commit on."""
    collection = generations.lock_collection(session, get(session, scope, fit_id).collection_id)
    fit = get(session, scope, fit_id)
    in_force = searched(session, collection.active_generation_id)
    if in_force is None or in_force[1] is None or in_force[1].fit_id != fit.id:
        raise FitNotInForce(
            f"Fit {fit_id} is {fit.state}, and searches do not use it: only the one they use can be rolled back. "
            "GET /v1/collections/{collection}/fits says which that is (`in_force`)."
        )
    fit.state, fit.rolled_back_at = "rolled_back", now()
    session.flush()
    return fit


def searched(
    session: Session, generation_id: str | ScalarSelect[str]
) -> tuple[Generation, Weights | None] | None:
    """A generation, and the weights that were fitted on it, in one question; no weights stand for the preset.

    The id may be a question to SQL, too; None where that has no answer.
    """
    adopted = and_(Fit.generation_id == Generation.id, Fit.state == _ADOPTED)
    found = session.execute(
        select(Generation, Fit.id, Fit.dense_weight, Fit.nearby_weight)
        .outerjoin(Fit, adopted)
        .where(Generation.id == generation_id)
        .order_by(Fit.id.desc())
        .limit(1)
    ).one_or_none()
    if found is None:
        return None
    generation, fit_id, dense, nearby = found
    if dense is None or nearby is None:
        return generation, None
    return generation, Weights(fit_id, dense, nearby)


def gone() -> FitGone:
    """The error of a fit whose generation was removed before it was made."""
    return FitGone("The index that was to be fitted is no longer kept. Start a fit of the present one.")


def pending(session: Session, held: Claim) -> Fit:
    """The fit that a claim is to make."""
    fit = session.scalar(select(Fit).where(Fit.job_id == held.id))
    if fit is None:
        raise gone()
    return fit


def settle(
    session: Session, held: Claim, report: Mapping[str, Any], *, adopted: bool, weights: tuple[float, float]
) -> None:
    """Keep what a fit found and end its job, in one commit; the questions that were given are let go of.

    `weights` are the dense and the nearby one; they count from this commit on if they are `adopted`.
    """
    claims.check(session, held)
    fit = pending(session, held)
    fit.state = _ADOPTED if adopted else "not_adopted"
    fit.dense_weight, fit.nearby_weight = weights
    fit.report, fit.questions, fit.ended_at = dict(report), None, now()
    claims.finish(session, held, JobState.SUCCEEDED, {"fit_id": fit.id, "adopted": adopted})


def tidy(session: Session) -> int:
    """Let go of the questions of fits whose job has ended otherwise: failed, cancelled, lost; gives how many."""
    ended = session.execute(
        select(Fit, Job.state)
        .join(Job, Job.id == Fit.job_id)
        .where(Fit.state == _FITTING, Job.state.in_(TERMINAL))
        .with_for_update(of=Fit, skip_locked=True)
    ).all()
    for fit, state in ended:
        fit.state, fit.questions, fit.ended_at = state, None, now()
    return len(ended)


def forget(session: Session, generation_ids: Sequence[str]) -> None:
    """Remove the fits of generations that are dropped."""
    session.execute(delete(Fit).where(Fit.generation_id.in_(generation_ids)))


def asks_of(document_id: str) -> ColumnElement[bool]:
    """Predicate on `Fit`: a question that was given for it names the document, and may quote it."""
    return cast(Fit.questions, Text).contains(document_id, autoescape=True)


def forget_questions(session: Session, document_id: str) -> int:
    """Remove the questions of fits under way that name a deleted document; gives how many."""
    gone = 0
    for fit in session.scalars(select(Fit).where(asks_of(document_id)).order_by(Fit.id).with_for_update()):
        asked = fit.questions or []
        fit.questions = [each for each in asked if each["document_id"] != document_id]
        gone += len(asked) - len(fit.questions)
    return gone


def _check(session: Session, scope: Scope, collection_id: str, golden: Sequence[Golden]) -> None:
    """Raise `FitQuestionInvalid` for the first question that names what the asker does not see in the collection."""
    named = {each.document_id for each in golden}
    seen = (
        select(Document.id)
        .join(Collection, Collection.id == Document.collection_id)
        .where(Document.collection_id == collection_id, Document.id.in_(named), access.sees_document(scope))
    )
    known = set(session.scalars(seen)) if named else set()
    for number, each in enumerate(golden, 1):
        if each.page is not None and each.sentence is not None:
            raise FitQuestionInvalid(
                f"Question {number} names a page and a sentence. Name one of them, or neither.",
                param="questions",
            )
        if each.document_id not in known:
            raise FitQuestionInvalid(
                f"Question {number} names the document {each.document_id!r}, which is not in this collection.",
                param="questions",
            )


def _view(fit: Fit, in_force: set[str], ended: Mapping[str, str]) -> FitView:
    return FitView(
        id=fit.id,
        collection_id=fit.collection_id,
        generation_id=fit.generation_id,
        job_id=fit.job_id,
        state=ended.get(fit.job_id, fit.state) if fit.state == _FITTING else fit.state,
        source=fit.source,
        in_force=fit.id in in_force,
        report=fit.report,
        created_at=fit.created_at,
        ended_at=fit.ended_at,
        rolled_back_at=fit.rolled_back_at,
    )
