"""What is measured of a ranking, by what answers the questions of a set; the numbers are made by ir_measures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import ir_measures
from ir_measures import Qrel, R, ScoredDoc, Success, nDCG

from evals.sets import Gold, Kind, Question
from ibid.types import Hit
from retrieval.search import LARGEST_LIMIT

READ: Final = 5
"""So many hits are what an answer is made from."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A number from 0 to 1 for each question, of its first `depth` hits. `following`: the next page counts, too."""

    name: str
    of: ir_measures.Measure
    depth: int
    following: bool = False


MEASURES: Final[dict[Kind, tuple[Measure, ...]]] = {
    "documents": (
        Measure("nDCG@10", nDCG @ 10, LARGEST_LIMIT),
        Measure("success@1", Success @ 1, LARGEST_LIMIT),
        Measure("success@5", Success @ 5, LARGEST_LIMIT),
    ),
    "pages": (
        Measure("gold page first", Success @ 1, READ),
        Measure("gold page in five", Success @ 5, READ),
        Measure("gold page or next first", Success @ 1, READ, following=True),
        Measure("gold page or next in five", Success @ 5, READ, following=True),
    ),
    "spans": (
        Measure("span first", Success @ 1, READ),
        Measure("span in five", Success @ 5, READ),
        # One hit may hold more than one span, so that the depth is what limits it to five hits.
        Measure("share of spans in five", R @ 1000, READ),
    ),
}
"""The first of each is the one that is compared question by question."""


def depth(kind: Kind) -> int:
    """So many hits must be searched for."""
    return max(measure.depth for measure in MEASURES[kind])


def values(
    measure: Measure, kind: Kind, questions: Sequence[Question], found: Mapping[str, Sequence[Hit]]
) -> tuple[float, ...]:
    """The measure of each question, in their order; `found` are hits by the question's id, best first."""
    judged = [
        Qrel(question.id, thing, grade)
        for question in questions
        for thing, grade in _wanted(measure, kind, question).items()
    ]
    ranked = [
        ScoredDoc(question.id, thing, -rank)
        for question in questions
        for rank, thing in enumerate(_things(kind, question, found[question.id][: measure.depth]))
    ]
    scored = {one.query_id: float(one.value) for one in ir_measures.iter_calc([measure.of], judged, ranked)}
    return tuple(scored.get(question.id, 0.0) for question in questions)


def first(kind: Kind, question: Question, hits: Sequence[Hit]) -> int | None:
    """The rank (one-based) of the first hit in what answers the question."""
    wanted = {_thing(kind, gold) for gold in question.gold if gold.grade > 0}
    ranks = (rank for rank, hit in enumerate(hits, 1) if wanted & set(_held(kind, question, hit)))
    return next(ranks, None)


def _wanted(measure: Measure, kind: Kind, question: Question) -> dict[str, int]:
    wanted = {_thing(kind, gold): gold.grade for gold in question.gold}
    if measure.following:
        wanted |= {_page(gold.document, (gold.page or 0) + 1): gold.grade for gold in question.gold}
    return wanted


def _things(kind: Kind, question: Question, hits: Sequence[Hit]) -> Iterator[str]:
    """What the hits are in, each thing once, where its best hit ranks."""
    yield from dict.fromkeys(thing for hit in hits for thing in _held(kind, question, hit))


def _held(kind: Kind, question: Question, hit: Hit) -> list[str]:
    """What one hit is in or holds: its document, its page, or the spans of the question, else only itself."""
    if kind == "documents":
        return [hit.document]
    if kind == "pages":
        return [_page(hit.document, hit.page)]
    spans = [
        _thing(kind, gold)
        for gold in question.gold
        if gold.document == hit.document and hit.start < (gold.end or 0) and (gold.start or 0) < hit.end
    ]
    return spans or [hit.chunk_id]


def _thing(kind: Kind, gold: Gold) -> str:
    if kind == "documents":
        return gold.document
    return _page(gold.document, gold.page) if kind == "pages" else f"{gold.document}[{gold.start}:{gold.end}]"


def _page(document: str, page: int | None) -> str:
    return f"{document}#{page}"
