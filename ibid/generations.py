"""Index generations: a collection answers from its active one; others are being built or kept for a rollback."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from ibid import access, fingerprints, jobs
from ibid.clock import new_id, now
from ibid.db.tables import (
    Collection,
    Document,
    Generation,
    GenerationLanguage,
    Indexing,
    Job,
    Reindex,
    Version,
)
from ibid.errors import Conflict, Invalid, NotFound
from ibid.types import CHUNKER_REVISION, TERMINAL, ChunkerConfig, JobKind, Recipe, Scope, SparseConfig

WRITTEN = ("active", "building", "standby")


class ReindexRunning(Conflict):
    """A reindex of this collection is under way."""

    code = "reindex_running"


class ReindexNotFound(NotFound):
    """No reindex of this id is visible to the asker."""

    code = "reindex_not_found"


class RollbackImpossible(Conflict):
    """The generation to go back to is no longer kept, or never was left."""

    code = "rollback_impossible"


class ReindexInvalid(Invalid):
    """The settings of the new generation make no sense."""

    code = "reindex_invalid"


@dataclass(frozen=True, slots=True)
class ReindexView:
    """A reindex as people see it."""

    id: str
    collection_id: str
    from_generation_id: str
    to_generation_id: str
    job_id: str
    state: str
    embedder: str
    chunker: dict[str, Any]
    created_at: datetime
    switched_at: datetime | None
    rolled_back_at: datetime | None


def create(session: Session, collection_id: str, recipe: Recipe, state: str) -> Generation:
    """A new generation row; its physical collection is made by the first writer."""
    chunker, sparse = asdict(recipe.chunker), asdict(recipe.sparse)
    generation = Generation(
        id=new_id("gen"),
        collection_id=collection_id,
        state=state,
        embedder=recipe.embedder,
        embedder_fingerprint=recipe.embedder_fingerprint,
        dimensions=recipe.dimensions,
        chunker=chunker,
        sparse=sparse,
        fingerprint=fingerprints.of_json(
            {
                "embedder": recipe.embedder_fingerprint,
                "chunker": chunker | {"revision": CHUNKER_REVISION},
                "sparse": sparse,
            }
        ),
        created_at=now(),
        activated_at=now() if state == "active" else None,
    )
    session.add(generation)
    session.flush()
    return generation


def recipe_of(generation: Generation) -> Recipe:
    """What the generation was made with."""
    return Recipe(
        embedder=generation.embedder,
        dimensions=generation.dimensions,
        embedder_fingerprint=generation.embedder_fingerprint,
        chunker=ChunkerConfig(**generation.chunker),
        sparse=SparseConfig(**generation.sparse),
    )


def languages(session: Session, generation_id: str) -> tuple[str, ...]:
    """Those of the chunks that the generation holds, or held (ISO 639-1)."""
    known = select(GenerationLanguage.language).where(GenerationLanguage.generation_id == generation_id)
    return tuple(session.scalars(known.order_by(GenerationLanguage.language)))


def written(session: Session, collection_id: str) -> list[Generation]:
    """The generations that every new version goes to: the active one, one being built, those kept for a rollback."""
    return list(
        session.scalars(
            select(Generation)
            .where(Generation.collection_id == collection_id, Generation.state.in_(WRITTEN))
            .order_by(Generation.id)
        )
    )


def lock_collection(session: Session, collection_id: str) -> Collection:
    """The collection's row, locked: publishing a version and switching a generation exclude each other.

    Not against rows that refer to it: their foreign keys would queue behind whoever waits for this lock.
    """
    return session.scalars(
        select(Collection)
        .where(Collection.id == collection_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one()


def start_reindex(session: Session, scope: Scope, ref: str, recipe: Recipe) -> Reindex:
    """Begin to build a generation beside the active one."""
    lock_collection(session, access.collection(session, scope, ref).id)
    collection = access.collection(
        session, scope, ref
    )  # which may have been deleted while the lock was waited for
    building = select(Generation.id).where(
        Generation.collection_id == collection.id, Generation.state == "building"
    )
    if session.scalar(building) is not None:
        raise ReindexRunning("A reindex of this collection is under way. Wait for it, or cancel its job.")
    generation = create(session, collection.id, recipe, "building")
    job = jobs.enqueue(session, JobKind.REINDEX, collection.id, generation_id=generation.id)
    reindex = Reindex(
        id=new_id("rdx"),
        collection_id=collection.id,
        from_generation_id=collection.active_generation_id,
        to_generation_id=generation.id,
        job_id=job.id,
        state="building",
        created_at=now(),
    )
    session.add(reindex)
    session.flush()
    return reindex


def missing(session: Session, generation_id: str, collection_id: str, *, limit: int) -> list[Version]:
    """Live versions that are not yet wholly stored in the generation, oldest first."""
    return list(session.scalars(_missing(generation_id, collection_id).order_by(Version.id).limit(limit)))


def coverage(session: Session, generation_id: str, collection_id: str) -> tuple[int, int]:
    """(documents stored in the generation, documents live)."""
    live = session.scalar(select(func.count()).select_from(_live(collection_id).subquery())) or 0
    lacking = (
        session.scalar(select(func.count()).select_from(_missing(generation_id, collection_id).subquery()))
        or 0
    )
    return live - lacking, live


def switch(session: Session, generation_id: str) -> bool:
    """Make the generation active in this commit, unless a live version is missing in it; gives whether it did."""
    generation = session.get_one(Generation, generation_id)
    collection = lock_collection(session, generation.collection_id)
    if missing(session, generation_id, collection.id, limit=1):
        return False
    _activate(session, collection, generation)
    reindex = session.scalars(select(Reindex).where(Reindex.to_generation_id == generation_id)).one()
    reindex.state, reindex.switched_at = "switched", now()
    return True


def abandon(session: Session, generation_id: str, state: str) -> None:
    """Give up a generation that was being built; `state` (failed or cancelled) goes to its reindex."""
    generation = session.get_one(Generation, generation_id)
    lock_collection(session, generation.collection_id)
    session.refresh(generation)
    if generation.state != "building":
        return
    generation.state, generation.retired_at = "dropped", now()
    reindex = session.scalars(select(Reindex).where(Reindex.to_generation_id == generation_id)).one()
    reindex.state = state
    jobs.enqueue(session, JobKind.PURGE, generation.collection_id, generation_id=generation_id)


def kept_recipe(session: Session, scope: Scope, reindex_id: str) -> Recipe | None:
    """How the generation was made that a rollback would go back to; None if it is no longer kept for that."""
    former = session.get_one(Generation, get(session, scope, reindex_id).from_generation_id)
    return recipe_of(former) if former.state == "standby" else None


def roll_back(session: Session, scope: Scope, reindex_id: str) -> Reindex:
    """Answer from the former generation again, in this commit; it was kept up to date since the switch."""
    reindex = get(session, scope, reindex_id)
    collection = lock_collection(session, reindex.collection_id)
    former = session.get_one(Generation, reindex.from_generation_id)
    current = collection.active_generation_id == reindex.to_generation_id
    if reindex.state != "switched" or not current or former.state != "standby":
        raise RollbackImpossible(
            f"Reindex {reindex_id} is {reindex.state} and its former generation is {former.state}; only the latest "
            "switched reindex can be rolled back, for as long as the former generation is kept."
        )
    if missing(session, former.id, collection.id, limit=1):
        raise RollbackImpossible(
            "The former generation lacks a document that is being added. Try again in a moment."
        )
    _activate(session, collection, former)
    reindex.state, reindex.rolled_back_at = "rolled_back", now()
    return reindex


def tidy(session: Session) -> int:
    """Give up generations whose reindex job has ended without switching; gives how many."""
    ended = session.execute(
        select(Generation.id, Job.state)
        .join(Reindex, Reindex.to_generation_id == Generation.id)
        .join(Job, Job.id == Reindex.job_id)
        .where(Generation.state == "building", Job.state.in_(TERMINAL))
    ).all()
    for generation_id, state in ended:
        abandon(session, generation_id, state)
    return len(ended)


def expire(session: Session, *, kept: timedelta) -> int:
    """Give up generations that were kept for a rollback long enough; gives how many."""
    old = session.scalars(
        select(Generation).where(Generation.state == "standby", Generation.retired_at < now() - kept)
    ).all()
    for generation in old:
        forgo(session, generation.id)
    return len(old)


def forgo(session: Session, generation_id: str) -> None:
    """Give up a generation that is kept for a rollback; one that was rolled back to a moment ago stays."""
    generation = session.get_one(Generation, generation_id)
    lock_collection(session, generation.collection_id)
    session.refresh(generation)
    if generation.state == "standby":
        generation.state = "dropped"
        jobs.enqueue(session, JobKind.PURGE, generation.collection_id, generation_id=generation.id)


def get(session: Session, scope: Scope, reindex_id: str) -> Reindex:
    """The reindex, if the asker may see its collection."""
    visible = select(Collection.id).where(access.sees_collection(scope))
    found = session.scalar(
        select(Reindex).where(Reindex.id == reindex_id, Reindex.collection_id.in_(visible))
    )
    if found is None:
        raise ReindexNotFound(f"There is no reindex {reindex_id!r}.")
    return found


def listing(session: Session, scope: Scope, ref: str) -> list[Reindex]:
    """All reindexes of a collection, newest first."""
    found = access.collection(session, scope, ref)
    return list(
        session.scalars(select(Reindex).where(Reindex.collection_id == found.id).order_by(Reindex.id.desc()))
    )


def view(session: Session, reindex: Reindex) -> ReindexView:
    """The reindex as people see it."""
    target = session.get_one(Generation, reindex.to_generation_id)
    return ReindexView(
        id=reindex.id,
        collection_id=reindex.collection_id,
        from_generation_id=reindex.from_generation_id,
        to_generation_id=reindex.to_generation_id,
        job_id=reindex.job_id,
        state=reindex.state,
        embedder=target.embedder,
        chunker=target.chunker,
        created_at=reindex.created_at,
        switched_at=reindex.switched_at,
        rolled_back_at=reindex.rolled_back_at,
    )


def check_budget(chunker: ChunkerConfig, longest: int) -> None:
    """Raise `ReindexInvalid` for a chunker whose chunks are impossible, or longer than the encoder reads (tokens)."""
    if chunker.min_tokens > chunker.max_tokens:
        raise ReindexInvalid("chunker needs min_tokens <= max_tokens.", param="chunker")
    most = chunker.fitted(longest).max_tokens
    if chunker.max_tokens > most:
        raise ReindexInvalid(
            f"Chunks of {chunker.max_tokens} tokens would be cut: this embedder reads {longest}, which holds {most} "
            "and the headings above them.",
            param="chunker",
        )


def _activate(session: Session, collection: Collection, generation: Generation) -> None:
    former = session.get_one(Generation, collection.active_generation_id)
    former.state, former.retired_at = "standby", now()
    generation.state, generation.activated_at, generation.retired_at = "active", now(), None
    collection.active_generation_id = generation.id
    session.flush()


def _live(collection_id: str) -> Select[Version]:
    return (
        select(Version)
        .join(Document, Document.id == Version.document_id)
        .where(
            Document.collection_id == collection_id, Document.deleted_at.is_(None), access.version_live(None)
        )
    )


def _missing(generation_id: str, collection_id: str) -> Select[Version]:
    stored = select(Indexing.version_id).where(
        Indexing.generation_id == generation_id, Indexing.version_id == Version.id
    )
    return _live(collection_id).where(~stored.exists())
