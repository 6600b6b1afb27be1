"""What is asked of what: a question with who asks it and how, and the generation of vectors that it is asked of."""

from dataclasses import dataclass, field, replace
from typing import TypeVarTuple

from sqlalchemy import ScalarSelect, Select
from sqlalchemy.orm import Session

from ibid import access, fits, generations
from ibid.db.tables import ChunkRow, Collection, Document, Version
from ibid.embedding.bm25 import bm25_for
from ibid.embedding.registry import encoder_for
from ibid.filters import Filter
from ibid.types import Recipe, Scope
from ibid.vectors.port import HybridQuery, PointFilter
from retrieval.analysis import Analysis, analysed
from retrieval.kit import Kit
from retrieval.plan import BALANCED, Plan

Columns = TypeVarTuple("Columns")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, who asks it, and how; narrowed within the scope to documents and by a filter, as far as given.

    Without a `plan` it is searched as its collection is. `analysis` is what the question says of words that must be found.
    """

    scope: Scope
    question: str
    limit: int
    document_ids: frozenset[str] | None
    filters: Filter | None
    plan: Plan | None
    analysis: Analysis = field(init=False)

    def __post_init__(self) -> None:
        """Read the question once."""
        object.__setattr__(self, "analysis", analysed(self.question))


@dataclass(frozen=True, slots=True)
class Target:
    """The generation that a search reads, and how a question becomes vectors for it.

    It is searched by `plan` unless whoever asks brings another: the preset, with the weights that were fitted on it.
    """

    collection_id: str
    generation_id: str
    recipe: Recipe
    languages: tuple[str, ...]
    plan: Plan

    def plan_for(self, asked: Asked) -> Plan:
        """How this question is searched."""
        return asked.plan or self.plan


def target_of(session: Session, scope: Scope, ref: str) -> Target:
    """The active generation of a collection that the scope may see. Raises `CollectionNotFound`."""
    active = access.named(scope, ref).with_only_columns(Collection.active_generation_id)
    target = target_in(session, active.scalar_subquery())
    if target is None:
        raise access.no_collection(ref)
    return target


def target_in(session: Session, generation_id: str | ScalarSelect[str]) -> Target | None:
    """A generation as a target, whoever asks; the id may be a question to SQL. None if there is no such generation."""
    found = fits.searched(session, generation_id)
    if found is None:
        return None
    generation, weights = found
    plan = BALANCED
    if weights is not None:
        plan = replace(
            BALANCED,
            dense_weight=weights.dense_weight,
            nearby_weight=weights.nearby_weight,
            fitted=weights.fit_id,
        )
    languages = generations.languages(session, generation.id)
    return Target(generation.collection_id, generation.id, generations.recipe_of(generation), languages, plan)


def seen(query: Select[*Columns], scope: Scope, target: Target) -> Select[*Columns]:
    """A query about chunks, of those alone that the scope sees of a generation."""
    return (
        query.join(Version, Version.id == ChunkRow.version_id)
        .join(Document, Document.id == Version.document_id)
        .join(Collection, Collection.id == Document.collection_id)
        .where(
            ChunkRow.generation_id == target.generation_id,
            Collection.id == target.collection_id,
            access.version_live(scope.as_of),
            access.sees_document(scope),
        )
    )


def query_of(kit: Kit, asked: Asked, target: Target) -> HybridQuery:
    """The question as the engine is asked it."""
    return HybridQuery(
        encoder_for(kit.encoders, target.recipe).encode_query(asked.question),
        bm25_for(target.recipe.sparse).query(asked.question, target.languages),
        PointFilter(
            access.moment(asked.scope).timestamp(), asked.scope.principals, asked.document_ids, asked.filters
        ),
        target.plan_for(asked).candidates,
    )
