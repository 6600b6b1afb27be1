"""The one way to retrieve: search, answers and everything built on them call `search` with one `Scope`.

The engine proposes candidates under the scope's filter; SQL confirms each of them for the same scope before anyone
sees it. A search reads one generation from beginning to end.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import islice
from time import perf_counter
from typing import Any

import numpy as np
from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from ibid import described, metrics
from ibid.clock import now
from ibid.db.tables import ChunkRow, Document, Indexing, Version
from ibid.errors import Gone, Invalid, Unavailable
from ibid.filters import Filter
from ibid.types import Hit, Legs, Scope
from ibid.vectors.errors import GenerationMissing
from ibid.vectors.port import Candidate, HybridQuery
from retrieval import fusion, passages, refining
from retrieval.analysis import Analysis
from retrieval.fusion import Ranked
from retrieval.kit import Kit
from retrieval.passages import Found
from retrieval.plan import Plan
from retrieval.questions import cleaned
from retrieval.reranking import RerankerMissing, mixed
from retrieval.target import Asked, Target, query_of, seen, target_of

# Entities would take three times as long to make.
_COLUMNS = (
    ChunkRow.id.label("chunk_id"),
    ChunkRow.generation_id,
    ChunkRow.version_id,
    ChunkRow.ordinal,
    ChunkRow.start.label("start"),
    ChunkRow.end.label("end"),
    ChunkRow.page,
    ChunkRow.heading,
    ChunkRow.tokens,
    ChunkRow.text,
    ChunkRow.embedding_key,
    Version.number,
    Document.id.label("document_id"),
    Document.name,
)
"""What is known of a chunk that is found."""

LARGEST_LIMIT = 50
GROWTH = 4
SQL_BATCH = 200
CHUNKS_AHEAD = 2
"""Chunks that are looked up at first for each passage: neighbours become one."""
FED_BACK = 3
"""Chunks of a first search that turn the question."""


class LimitOutOfRange(Invalid):
    """A search returns 1 to 50 passages."""

    code = "limit_out_of_range"


class AsOfTooOld(Gone):
    """What readers saw at that time is no longer kept."""

    code = "as_of_too_old"


class IndexMissing(Unavailable):
    """SQL knows passages that the vector store has lost."""

    code = "index_missing"


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Confirmed passages, best first, all of one generation. `timings` are milliseconds of each step.

    So many `candidates` were proposed by each leg at last: more than the plan says, if too few could be shown.
    """

    hits: tuple[Hit, ...]
    collection_id: str
    generation_id: str
    encoder: str
    plan: Plan
    analysis: Analysis
    candidates: int
    timings: dict[str, float]


@dataclass(slots=True)
class _Watch:
    """Milliseconds by step."""

    spent: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the time of the block to the step."""
        begin = perf_counter()
        yield
        self.spent[name] = self.spent.get(name, 0.0) + (perf_counter() - begin) * 1000


def search(
    kit: Kit,
    scope: Scope,
    collection_ref: str,
    query: str,
    limit: int,
    *,
    document_ids: Iterable[str] | None = None,
    filters: Filter | None = None,
    plan: Plan | None = None,
) -> SearchResult:
    """The best passages of a collection's active generation for a question, at most `limit` (1 to 50) of them.

    Only of these documents, and of those for whose metadata the filter holds, as far as given. Without a plan it is
    searched by the preset, with the weights that were fitted on the generation, if there are some.
    """
    if not 1 <= limit <= LARGEST_LIMIT:
        raise LimitOutOfRange(f"limit is {limit}; it must be from 1 to {LARGEST_LIMIT}.", param="limit")
    question = cleaned(query, kit.settings.max_question_chars)
    check_as_of(kit, scope)
    only = None if document_ids is None else frozenset(document_ids)
    asked = Asked(scope, question, limit, only, filters, plan)
    watch = _Watch()
    begin = perf_counter()
    target = _resolve(kit, scope, collection_ref, watch)
    try:
        hits, candidates = _search(kit, asked, target, watch)
    except GenerationMissing:  # dropped after a switch, or never written
        target = _resolve(kit, scope, collection_ref, watch)
        hits, candidates = _search_again(kit, asked, target, watch)
    watch.spent["total"] = (perf_counter() - begin) * 1000
    metrics.SEARCH_SECONDS.observe(watch.spent["total"] / 1000)
    return SearchResult(
        hits,
        target.collection_id,
        target.generation_id,
        target.recipe.embedder,
        target.plan_for(asked),
        asked.analysis,
        candidates,
        watch.spent,
    )


def check_as_of(kit: Kit, scope: Scope) -> None:
    """Raise `AsOfTooOld` if what the scope would read is no longer kept."""
    kept = timedelta(days=kit.settings.version_retention_days)
    if scope.as_of is not None and scope.as_of < now() - kept:
        raise AsOfTooOld(
            f"Superseded versions are kept for {kit.settings.version_retention_days:g} days; "
            f"{scope.as_of.isoformat()} is longer ago. Ask for a later moment."
        )


def _resolve(kit: Kit, scope: Scope, ref: str, watch: _Watch) -> Target:
    with watch.step("resolve"), kit.db.read() as session:
        return target_of(session, scope, ref)


def _search_again(kit: Kit, asked: Asked, target: Target, watch: _Watch) -> tuple[tuple[Hit, ...], int]:
    """The first writer makes the physical collection, so an empty generation may lack it; a full one may not."""
    try:
        return _search(kit, asked, target, watch)
    except GenerationMissing as error:
        rows = select(func.sum(Indexing.chunks)).where(Indexing.generation_id == target.generation_id)
        with kit.db.read() as session:
            chunks = session.scalar(rows)
        if not chunks:
            return (), 0
        raise IndexMissing(
            f"The vector store has lost the index of this collection ({chunks} passages). Nothing else is lost: "
            "`ibid verify` rebuilds it."
        ) from error


def _search(kit: Kit, asked: Asked, target: Target, watch: _Watch) -> tuple[tuple[Hit, ...], int]:
    """Ask the engine for ever more candidates until SQL has confirmed enough of them or the engine has no more.

    All are fused anew each time, so that the order is always that of one fusion. Gives how many candidates of each leg
    it asked for at last, too.
    """
    plan = target.plan_for(asked)
    with watch.step("encode"):
        query = query_of(kit, asked, target)
    if plan.feedback:
        query = _fed_back(kit, asked, target, query, watch)
    read: dict[str, float] = {}
    while True:
        with watch.step("engine"):
            candidates = kit.vectors.candidates(target.generation_id, query)
        with watch.step("fusion"):
            ranked = fusion.fused(candidates, plan)
        if plan.rerank:
            ranked = _reranked(kit, asked, target, ranked, read, watch)
        with watch.step("check"), kit.db.read() as session:
            found = _exactly(session, asked, target, ranked)
            looked_at = asked.limit * (refining.POOL if plan.diversity else 1)
            made = passages.places(found, looked_at, plan.passage_chunks)
            quoted = plan.quoted and bool(asked.analysis.phrases)
            if len(made) >= asked.limit or _seen_enough(candidates, query, quoted=quoted):
                return _shown(session, made, asked.limit, plan), query.candidates
        query = replace(query, candidates=query.candidates * GROWTH)


def _fed_back(kit: Kit, asked: Asked, target: Target, query: HybridQuery, watch: _Watch) -> HybridQuery:
    """The question turned towards the best that the asker may see of a first search (Rocchio, 1971)."""
    plan = target.plan_for(asked)
    with watch.step("engine"):
        candidates = kit.vectors.candidates(target.generation_id, query)
    with watch.step("check"), kit.db.read() as session:
        found = _confirmed(session, asked, target, fusion.fused(candidates, plan))
        known = refining.vectors(session, [each.embedding_key for each in islice(found, FED_BACK)])
    if not known.any():
        return query
    turned = query.dense + plan.feedback * known.mean(axis=0)
    return replace(query, dense=turned / np.linalg.norm(turned))


def _reranked(
    kit: Kit, asked: Asked, target: Target, ranked: list[Ranked], read: dict[str, float], watch: _Watch
) -> list[Ranked]:
    """The order once the reranker has read the best of what the asker may see; no session is open meanwhile.

    `read` has the scores of those that it has read already, by id, and is given the others.
    """
    if kit.reranker is None:
        raise RerankerMissing(
            "No reranker is configured: set IBID_RERANKER, or leave out `rerank`.", param="knobs"
        )
    plan = target.plan_for(asked)
    with watch.step("check"), kit.db.read() as session:
        best = [each.hit for each in islice(_exactly(session, asked, target, ranked), plan.rerank)]
    with watch.step("rerank"):
        new = [hit for hit in best if hit.chunk_id not in read]
        scores = kit.reranker.scores(asked.question, [refining.words_of(hit) for hit in new])
        read.update(zip([hit.chunk_id for hit in new], scores, strict=True))
    return mixed(ranked, {hit.chunk_id: read[hit.chunk_id] for hit in best}, plan)


def _exactly(session: Session, asked: Asked, target: Target, ranked: list[Ranked]) -> Iterator[Found]:
    """Those that the scope may see, with regard to what the question says exactly."""
    confirmed = _confirmed(session, asked, target, ranked)
    return refining.exact(confirmed, asked.analysis, target.plan_for(asked), asked.limit)


def _seen_enough(candidates: Sequence[Candidate], query: HybridQuery, *, quoted: bool) -> bool:
    """Whether the engine has no more; or whether, among so many, quoted words would have been found."""
    return len(candidates) < query.candidates or (quoted and query.candidates >= refining.QUOTED_AMONG)


def _shown(session: Session, made: list[list[Found]], limit: int, plan: Plan) -> tuple[Hit, ...]:
    """Those of the passages that are shown, each with its words."""
    shown = refining.different(session, made, plan.diversity, limit)
    if plan.section_chunks:
        shown = passages.grown(session, shown, plan.section_chunks)
    return passages.whole(session, refining.within(shown, plan.max_tokens))


def _confirmed(session: Session, asked: Asked, target: Target, ranked: list[Ranked]) -> Iterator[Found]:
    """Those of the candidates that the scope may see according to SQL, in the order given, looked up as they are read."""
    query = seen(select(*_COLUMNS), asked.scope, target)
    if asked.document_ids is not None:
        query = query.where(Document.id.in_(asked.document_ids))
    if asked.filters is not None:
        query = query.where(described.says(session, asked.filters))
    for some in _portions(ranked, asked.limit * CHUNKS_AHEAD):
        rows = session.execute(query.where(ChunkRow.id.in_([each.candidate.id for each in some])))
        known = {row.chunk_id: row for row in rows}
        for each in some:
            if (row := known.get(each.candidate.id)) is not None:
                yield Found(_hit(each, row), row.ordinal, row.tokens, row.embedding_key)


def _portions(ranked: list[Ranked], first: int) -> Iterator[list[Ranked]]:
    """The best first, so many that they mostly suffice, and then the rest."""
    if ranked:
        yield ranked[:first]
    for begin in range(first, len(ranked), SQL_BATCH):
        yield ranked[begin : begin + SQL_BATCH]


def _hit(found: Ranked, row: Row[*tuple[Any, ...]]) -> Hit:
    return Hit(
        document_id=row.document_id,
        document=row.name,
        version_id=row.version_id,
        version=row.number,
        generation_id=row.generation_id,
        chunk_id=row.chunk_id,
        text=row.text,
        start=row.start,
        end=row.end,
        page=row.page,
        heading=tuple(row.heading),
        score=found.score,
        legs=Legs(found.candidate.dense, found.candidate.sparse),
    )
