"""Search: passages without an answer."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import Field

from api import models
from api.auth import Reader
from api.once import harmless
from api.problems import documented
from api.routes.injected import Wired
from ibid import filters
from retrieval import explaining
from retrieval import facets as faceting
from retrieval.explaining import Expected, Stage
from retrieval.plan import Plan, Preset, preset
from retrieval.search import search as find
from retrieval.target import Asked

router = APIRouter(prefix="/v1/search", tags=["search"], dependencies=[Depends(harmless)])


Filters = Annotated[
    dict[str, Any],
    Field(
        description="by metadata, in OpenAI's shape: a comparison (eq, ne, gt, gte, lt, lte, in, nin) of a key with a "
        "value, or a compound (and, or) of filters",
        examples=[{"type": "eq", "key": "team", "value": "HR"}],
    ),
]


class Knobs(models.Request):
    """What to do otherwise than the preset says; null leaves it as it is."""

    candidates: Annotated[int | None, Field(ge=1, le=1000, description="proposed by each leg")] = None
    dense_weight: Annotated[
        float | None, Field(ge=0, le=1, description="the part of the meaning in the score; the rest is words")
    ] = None
    nearby_weight: Annotated[
        float | None, Field(ge=0, le=1, description="how much the better of its neighbours adds to a chunk")
    ] = None
    exact_weight: Annotated[
        float | None,
        Field(ge=0, le=1, description="how much the question's identifiers, numbers and dates in it add"),
    ] = None
    quoted: Annotated[
        bool | None, Field(description="whether a passage must hold what the question has in quotation marks")
    ] = None
    feedback: Annotated[
        float | None,
        Field(ge=0, le=1, description="how far the best passages of a first search turn the question"),
    ] = None
    passage_chunks: Annotated[int | None, Field(ge=1, le=20, description="chunks in a passage at most")] = (
        None
    )
    section_chunks: Annotated[
        int | None, Field(ge=0, le=20, description="chunks to which a passage grows within its section")
    ] = None
    rerank: Annotated[
        int | None,
        Field(ge=0, le=200, description="candidates that the reranker reads, if one is configured"),
    ] = None
    rerank_weight: Annotated[
        float | None, Field(ge=0, le=1, description="the reranker's part in the score of those it read")
    ] = None
    diversity: Annotated[
        float | None, Field(ge=0, le=1, description="how much a passage loses for being like one before it")
    ] = None
    max_tokens: Annotated[
        int | None, Field(ge=0, le=100_000, description="of all passages together; 0 for no bound")
    ] = None


class Query(models.Request):
    """A question for a collection, by id or name."""

    collection: models.Text
    query: str
    limit: Annotated[int, Field(description="from 1 to 50")] = 10
    filters: Filters | None = None
    preset: Preset = "balanced"
    knobs: Knobs | None = None


class Legs(models.Response):
    """Scores in each leg; null where that leg did not find the passage."""

    dense: float | None
    sparse: float | None


class HitView(models.Response):
    """A passage: `text` is the canonical text's slice [start, end); `page` counts from 1, null without pages."""

    document_id: str
    document: str
    version: int
    chunk_id: str
    text: str
    start: int
    end: int
    page: int | None
    heading: list[str]
    score: float
    legs: Legs


class PlanView(models.Response):
    """How a search was made: its preset, with the knobs that were turned; `fitted` is the fit of its weights, or null."""

    candidates: int
    dense_weight: float
    nearby_weight: float
    exact_weight: float
    quoted: bool
    feedback: float
    rerank: int
    rerank_weight: float
    passage_chunks: int
    section_chunks: int
    diversity: float
    max_tokens: int
    fitted: str | None


class NumberView(models.Response):
    """A number in plain digits, with a currency sign, `%`, or nothing."""

    value: str
    unit: str


class DateView(models.Response):
    """A date; null for what is not said of it."""

    year: int | None
    month: int
    day: int | None


class AnalysisView(models.Response):
    """What the question says that is either there or not; phrases are what it has in quotation marks."""

    phrases: list[str]
    identifiers: list[str]
    numbers: list[NumberView]
    dates: list[DateView]


class Found(models.Response):
    """Passages, best first, and how they were found. `timings` are in milliseconds."""

    hits: list[HitView]
    collection_id: str
    generation_id: str
    plan: PlanView
    analysis: AnalysisView
    timings: dict[str, float]


class Facets(models.Request):
    """What is said of a collection's documents under some keys, of those for which the filter holds."""

    collection: models.Text
    keys: Annotated[list[models.Text], Field(min_length=1, max_length=10)]
    filters: Filters | None = None
    limit: Annotated[int, Field(ge=1, le=200, description="values of each key")] = 20


class CountView(models.Response):
    """How many documents have the value, alone or in a list."""

    value: str | float | bool
    count: int


class FacetView(models.Response):
    """Values of a key, those of most documents first; `more` if there are others."""

    key: str
    values: list[CountView]
    more: bool


class FacetsFound(models.Response):
    """The facets of the keys in the order in which they were asked for."""

    collection_id: str
    facets: list[FacetView]


@router.post("", operation_id="search", responses=documented(401, 404, 422, 503))
def search(
    body: Query,
    found: Reader,
    wired: Wired,
) -> Found:
    """The passages nearest to a question. A search changes nothing, so a repetition simply searches again."""
    wanted = parsed(body.filters)
    result = find(
        wired.kit,
        found.scope,
        body.collection,
        body.query,
        body.limit,
        filters=wanted,
        plan=planned(body, reranks=wired.kit.reranker is not None),
    )
    seen = {"documents": sorted({hit.document_id for hit in result.hits}), "hits": len(result.hits)}
    wired.trail.note(found.who, "search", result.collection_id, seen)
    return Found.model_validate(result)


class Why(Query):
    """A question, and what it should have found: a document, or of it a page (from 1) or a sentence."""

    document_id: models.Text
    page: Annotated[int | None, Field(ge=1)] = None
    sentence: Annotated[str | None, Field(min_length=1, max_length=4000)] = None


class ExplanationView(models.Response):
    """Where it was lost, in a sentence, with advice. Ranks count from 1.

    `split` says that the sentence lies in several chunks. The ranks are those of the best of its chunks in each leg and
    in their fusion, and of the passage that shows it.
    """

    stage: Stage
    reason: str
    advice: str
    document_id: str
    document: str
    version: int | None
    chunk_ids: list[str]
    split: bool
    dense_rank: int | None
    sparse_rank: int | None
    fused_rank: int | None
    passage_rank: int | None


@router.post("/explain", operation_id="explain_search", responses=documented(401, 404, 422, 503))
def explain(
    body: Why,
    found: Reader,
    wired: Wired,
) -> ExplanationView:
    """Why a search does not show what it should. An administrator who acts for somebody is told what that one may not see."""
    asked = Asked(
        found.scope,
        body.query,
        body.limit,
        None,
        parsed(body.filters),
        planned(body, reranks=wired.kit.reranker is not None),
    )
    expected = Expected(body.document_id, body.page, body.sentence)
    result = explaining.explain(wired.kit, found.knows, body.collection, asked, expected)
    wired.trail.note(found.who, "search.explain", result.document_id, {"stage": result.stage})
    return ExplanationView.model_validate(result)


@router.post("/facets", operation_id="facets", responses=documented(401, 404, 422))
def facets(
    body: Facets,
    found: Reader,
    wired: Wired,
) -> FacetsFound:
    """Which values the documents have under a key, and how many have each: only of those that the asker may see."""
    wanted = parsed(body.filters)
    result = faceting.facets(wired.kit, found.scope, body.collection, body.keys, body.limit, filters=wanted)
    wired.trail.note(found.who, "facets", result.collection_id, {"keys": body.keys})
    return FacetsFound.model_validate(result)


def planned(body: Query, *, reranks: bool) -> Plan | None:
    """The plan of a request; None for one that leaves it to the collection, with its fit: `balanced` and no knob turned."""
    turned = body.knobs.model_dump(exclude_none=True) if body.knobs is not None else {}
    if not turned and body.preset == "balanced":
        return None
    return replace(preset(body.preset, reranks=reranks), **turned)


def parsed(given: dict[str, Any] | None) -> filters.Filter | None:
    """The filter of a request, if it has one."""
    return None if given is None else filters.parse(given)
