"""What follows the fusion once SQL has given the words: quoted ones must be there, exact ones may count more, and of
the passages those may be chosen that differ, as many as fit a budget.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Final

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from ibid.db.tables import Embedding
from ibid.embedding.port import Matrix
from ibid.types import Hit
from retrieval.analysis import Analysis, quoted, shared
from retrieval.passages import Found
from retrieval.plan import Plan

POOL: Final = 4
"""So many times as many as are shown are looked at by stages that change the order."""
QUOTED_AMONG: Final = 1600
"""Candidates of each leg among which quoted words are looked for at least."""


def exact(found: Iterator[Found], asked: Analysis, plan: Plan, limit: int) -> Iterator[Found]:
    """Those that hold what was quoted; of the best, those with what else was said exactly come first, as the plan says."""
    if plan.quoted and asked.phrases:
        found = (
            each
            for each in found
            if quoted(asked, places_of(each.hit.document, each.hit.heading, each.hit.text))
        )
    if not (plan.exact_weight and asked.exact):
        return found
    best = [_weighed(each, plan, shared(asked, words_of(each.hit))) for each in islice(found, limit * POOL)]
    rest = (_weighed(each, plan, 0.0) for each in found)
    return chain(sorted(best, key=lambda each: (-each.hit.score, each.hit.chunk_id)), rest)


def different(
    session: Session, places: Sequence[Sequence[Found]], diversity: float, limit: int
) -> list[Sequence[Found]]:
    """Maximal marginal relevance (Carbonell and Goldstein, 1998): good ones first that are unlike those before them."""
    if not diversity:
        return list(places[:limit])
    known = vectors(session, [place[0].embedding_key for place in places])
    scores = np.array([place[0].hit.score for place in places])
    left = list(range(len(places)))
    nearest = np.zeros(len(places))
    shown: list[Sequence[Found]] = []
    while left and len(shown) < limit:
        gain = (1 - diversity) * scores - diversity * nearest
        at = max(left, key=lambda index: (gain[index], -index))
        left.remove(at)
        shown.append(places[at])
        nearest = np.maximum(nearest, known @ known[at])
    return shown


def within(places: Sequence[Sequence[Found]], most: int) -> list[Sequence[Found]]:
    """The first that have `most` tokens together, and the best one however long it is; all if `most` is 0."""
    spent = 0
    for at, place in enumerate(places):
        spent += sum(found.tokens for found in place)
        if at and 0 < most < spent:
            return list(places[:at])
    return list(places)


def vectors(session: Session, keys: Sequence[str]) -> Matrix:
    """Unit vectors of the texts, shape (len(keys), dimensions); zero for one that was purged since."""
    rows = session.execute(select(Embedding.key, Embedding.vector).where(Embedding.key.in_(keys))).all()
    known = {key: np.frombuffer(vector, np.float32) for key, vector in rows}
    none = np.zeros(max((len(vector) for vector in known.values()), default=1), np.float32)
    return np.stack([known.get(key, none) for key in keys]) if keys else np.zeros((0, 1), np.float32)


def places_of(document: str, heading: Iterable[str], text: str) -> tuple[str, ...]:
    """Where words of a chunk may stand: in its document's name, the headings above it, and its own text."""
    return (document, *heading, text)


def words_of(hit: Hit) -> str:
    """All of these words."""
    return "\n".join(places_of(hit.document, hit.heading, hit.text))


def _weighed(found: Found, plan: Plan, share: float) -> Found:
    score = (found.hit.score + plan.exact_weight * share) / (1 + plan.exact_weight)
    return replace(found, hit=replace(found.hit, score=score))
