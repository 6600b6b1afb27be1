"""Fits: weights of a search's legs chosen on questions, adopted if that is better than chance, and rolled back."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field
from sqlalchemy.orm import Session

from api import models
from api.auth import Admin
from api.once import OnceDep
from api.problems import documented
from api.routes.injected import Wired
from api.wiring import Wiring
from ibid import audit, fits
from ibid.db.tables import Fit
from ibid.fits import Golden
from retrieval.questions import cleaned

router = APIRouter(prefix="/v1", tags=["fits"])


class GoldenQuestion(models.Request):
    """A question, and what should be found for it: a document, or of it a page (from 1) or a sentence."""

    query: models.Text
    document_id: models.Text
    page: Annotated[int | None, Field(ge=1)] = None
    sentence: Annotated[models.Text | None, Field(min_length=1, max_length=4000)] = None


class NewFit(models.Request):
    """What to fit on. Without questions some are made of the collection's own text, which tell less."""

    questions: Annotated[list[GoldenQuestion] | None, Field(min_length=1, max_length=fits.MOST_QUESTIONS)] = (
        None
    )


class WeightsView(models.Response):
    """The part of the meaning in a score, and how much the better neighbour adds."""

    dense_weight: float
    nearby_weight: float


class MeansView(models.Response):
    """The measure on unseen questions: of the fitted weights, of the preset's, and of each leg alone."""

    fitted: float
    preset: float
    dense: float
    sparse: float


class GainView(models.Response):
    """Fitted minus preset on unseen questions, and the limits between which it lies with 95 % certainty."""

    mean: float
    low: float
    high: float
    n: int


class ReportView(models.Response):
    """What was measured, and why the weights count or do not. It holds no text.

    `weights` were chosen on all questions, `fold_weights` each without a fifth of them, on which its numbers are made.
    `left_out` counts questions whose answers are not in what is searched.
    """

    source: str
    measure: str
    questions: int
    left_out: int
    means: MeansView | None
    gain: GainView | None
    weights: WeightsView
    fold_weights: list[WeightsView]
    adopted: bool
    reason: str
    caution: str | None


class FitView(models.Response):
    """A fit: fitting, adopted, not_adopted, rolled_back, failed or cancelled. The job tells how far it is.

    `source` says whether its questions were given or generated; `in_force`, that searches of its collection use it.
    """

    id: str
    collection_id: str
    generation_id: str
    job_id: str
    state: str
    source: str
    in_force: bool
    report: ReportView | None
    created_at: datetime
    ended_at: datetime | None
    rolled_back_at: datetime | None


class Fits(models.Response):
    """All fits of a collection, newest first."""

    data: list[FitView]
    next: None = None


@router.post(
    "/collections/{collection}/fits",
    operation_id="start_fit",
    status_code=202,
    response_model=FitView,
    responses=documented(401, 403, 404, 409, 422),
)
def start_fit(
    collection: str, found: Admin, wired: Wired, once: OnceDep, body: NewFit | None = None
) -> Response:
    """Fit the weights of a collection's search to questions, by a job; they count if they are better than by chance."""
    golden = _golden(wired, body or NewFit())

    def start(session: Session) -> FitView:
        made = fits.start(session, found.scope, collection, golden)
        detail = {"fit_id": made.id, "questions": len(golden) if golden is not None else None}
        audit.record(session, found.who, "fit.start", made.collection_id, detail)
        return _shown(session, made)

    return once.run(202, start)


@router.get("/collections/{collection}/fits", operation_id="list_fits", responses=documented(401, 403, 404))
def list_fits(collection: str, found: Admin, wired: Wired) -> Fits:
    """The fits of a collection's generations that are kept, newest first."""
    with wired.parts.db.read() as session:
        views = fits.views(session, fits.listing(session, found.scope, collection))
        return Fits(data=[FitView.model_validate(view) for view in views])


@router.get("/fits/{fit_id}", operation_id="get_fit", responses=documented(401, 403, 404))
def get_fit(fit_id: str, found: Admin, wired: Wired) -> FitView:
    """A fit as it stands, with its report once it has ended."""
    with wired.parts.db.read() as session:
        return _shown(session, fits.get(session, found.scope, fit_id))


@router.post(
    "/fits/{fit_id}/rollback",
    operation_id="roll_back_fit",
    response_model=FitView,
    responses=documented(401, 403, 404, 409),
)
def roll_back_fit(fit_id: str, found: Admin, once: OnceDep) -> Response:
    """Search with the fit before this one again, or with the preset, at once."""

    def back(session: Session) -> FitView:
        row = fits.roll_back(session, found.scope, fit_id)
        audit.record(session, found.who, "fit.roll_back", row.collection_id, {"fit_id": row.id})
        return _shown(session, row)

    return once.run(200, back)


def _golden(wired: Wiring, body: NewFit) -> list[Golden] | None:
    """The questions as they are asked; raises `Invalid` for one that cannot be."""
    if body.questions is None:
        return None
    longest = wired.parts.settings.max_question_chars
    return [
        Golden(cleaned(each.query, longest), each.document_id, each.page, each.sentence)
        for each in body.questions
    ]


def _shown(session: Session, row: Fit) -> FitView:
    return FitView.model_validate(fits.views(session, [row])[0])
