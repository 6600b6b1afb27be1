"""What goes wrong between two steps of an ingest or a deletion leaves every promise whole."""

from dataclasses import replace

import pytest
from sqlalchemy import select

from ibid import claims, generations, integrity, jobs, versions
from ibid.bootstrap import Parts
from ibid.db.tables import ChunkRow, Document, Embedding, Generation, Indexing, Job, Parse, Version
from ibid.filters import facts
from ibid.marks import Mark, marks
from ibid.types import ChunkerConfig, JobKind, JobState, Scope
from ibid.vectors.errors import StoreUnavailable
from ingest import indexing, reading
from ingest.parsing.errors import Unreadable
from ingest.tools import Tools
from ingest.work import work
from tests.unit.shop import FACTS, Shop


@pytest.fixture
def shop(parts: Parts, admin: Scope) -> Shop:
    return Shop(parts, admin)


def away(*_: object) -> None:
    raise StoreUnavailable("The store is away.")


def stored_access(shop: Shop) -> set[tuple[str, ...]]:
    """The access lists of all points."""
    found = shop.parts.store._generations.values()
    return {point.payload.access for one in found for point in one.points.values()}


def stored_marks(shop: Shop) -> set[tuple[Mark, ...]]:
    """What all points are filtered by."""
    found = shop.parts.store._generations.values()
    return {point.payload.marks for one in found for point in one.points.values()}


def reindexed_away_from(shop: Shop, embedder: str) -> str:
    """Reindex, after which the encoder of the former generation is called so; gives the reindex."""
    recipe = replace(shop.parts.recipe(), chunker=ChunkerConfig(max_tokens=64))
    with shop.parts.db.begin() as session:
        reindex = generations.start_reindex(session, shop.scope, shop.collection, recipe)
    shop.work()
    with shop.parts.db.begin() as session:
        session.get_one(Generation, reindex.from_generation_id).embedder = embedder
    return reindex.id


class TestLostEncoder:
    def test_of_the_former_generation_costs_the_rollback_and_no_upload(self, shop: Shop) -> None:
        shop.upload(FACTS)
        shop.work()
        reindex_id = reindexed_away_from(shop, "/nowhere/model")
        accepted = shop.upload("The ferry sails at noon.", name="ferry.txt")
        shop.work()
        job = shop.job(accepted.job_id)
        assert (job.state, job.error_code) == (JobState.QUEUED, "embedder_unavailable")
        shop.due_now()
        shop.work()
        assert shop.state(accepted.job_id) == JobState.SUCCEEDED
        assert len(shop.parts.store.generations()) == 1
        with (
            shop.parts.db.begin() as session,
            pytest.raises(generations.RollbackImpossible, match="dropped"),
        ):
            generations.roll_back(session, shop.scope, reindex_id)
        shop.agree()

    def test_of_the_active_generation_blames_no_document(self, shop: Shop) -> None:
        with shop.parts.db.begin() as session:
            session.scalars(select(Generation)).one().embedder = "/nowhere/model"
        accepted = shop.upload(FACTS)
        for _ in range(3):
            shop.work()
            shop.due_now()
        assert shop.state(accepted.job_id) == JobState.QUEUED


class TestUpgrade:
    def test_a_stored_version_keeps_the_text_its_chunks_are_slices_of(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shop.upload("A former text.")
        shop.work()
        accepted = shop.upload(FACTS)
        monkeypatch.setattr("ingest.publishing.retire_points", away)
        shop.work()
        assert shop.state(accepted.job_id) == JobState.QUEUED
        monkeypatch.undo()
        monkeypatch.setattr(reading, "parser_fingerprint", lambda _: "another parser")
        shop.due_now()
        shop.work()
        assert shop.state(accepted.job_id) == JobState.SUCCEEDED
        with shop.parts.db.read() as session:
            text = versions.text(session, shop.scope, accepted.document_id, 2)
            chunks = [c for c in session.scalars(select(ChunkRow)) if c.text in FACTS]
            assert chunks
            assert all(text[c.start : c.end] == c.text for c in chunks)
        assert (shop.count(Parse), shop.reader.parsed) == (2, 2)

    def test_a_changed_encoder_waits_and_mixes_nothing(self, shop: Shop) -> None:
        with shop.parts.db.begin() as session:
            session.scalars(select(Generation)).one().embedder_fingerprint = "of other weights"
        accepted = shop.upload(FACTS)
        shop.work()
        job = shop.job(accepted.job_id)
        assert (job.state, job.error_code) == (JobState.QUEUED, "embedder_unavailable")
        assert (shop.count(Embedding), shop.points()) == (0, 0)


class TestPurge:
    @pytest.mark.parametrize("dies_at", ["erase", "forget_text"])
    def test_killed_in_the_middle_it_leaves_nothing_in_the_end(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch, dies_at: str
    ) -> None:
        accepted = shop.upload(FACTS)
        shop.work()
        shop.delete(accepted.document_id)
        (held,) = shop.claim()

        def die(*_: object) -> None:
            raise KeyboardInterrupt

        target = "ibid.uploads.erase" if dies_at == "erase" else "ibid.strays.forget_text"
        monkeypatch.setattr(target, die)
        with pytest.raises(KeyboardInterrupt):
            work(shop.tools, [held])
        monkeypatch.undo()
        with shop.parts.db.begin() as session:
            claims.hand_back(session)
        shop.work()
        assert shop.state(held.id) == JobState.SUCCEEDED
        assert [shop.count(table) for table in (Version, ChunkRow, Embedding, Parse, Indexing)] == [0] * 5

    def test_never_fails_because_workers_die(self, shop: Shop) -> None:
        accepted = shop.upload(FACTS)
        shop.work()
        shop.delete(accepted.document_id)
        for _ in range(5):
            shop.due_now()
            (held,) = shop.claim()
            shop.expire_leases()
            with shop.parts.db.begin() as session:
                claims.sweep(session, max_failures=3)
            assert shop.state(held.id) == JobState.QUEUED

    def test_a_suspended_writer_that_goes_on_after_it_leaves_no_point(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        accepted = shop.upload(FACTS)
        late = shop.claim()
        upsert = shop.parts.store.upsert

        def suspended(*arguments: object, **named: object) -> None:
            monkeypatch.undo()
            shop.delete(accepted.document_id)
            shop.work()
            upsert(*arguments, **(named | {"fence": None}))

        monkeypatch.setattr(shop.parts.store, "upsert", suspended)
        work(shop.tools, late)
        assert shop.points() == 0


class TestGeneration:
    def test_one_that_was_given_up_stays_dropped(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        shop.upload(FACTS)
        shop.work()
        with shop.parts.db.begin() as session:
            reindex = generations.start_reindex(session, shop.scope, shop.collection, shop.parts.recipe())
            target = reindex.to_generation_id
            session.get_one(Job, reindex.job_id).state = JobState.CANCELLED
        late = shop.upload("A tower is 12 metres high.", name="tower.txt")
        claimed = shop.claim()
        cut = indexing.cut

        def given_up(tools: Tools, one: indexing.Target) -> list[indexing.Text]:
            """Another worker drops the generation after this one has made it a target."""
            if one.generation.id == target:
                monkeypatch.undo()
                with shop.parts.db.begin() as session:
                    generations.tidy(session)
                shop.work()
            return cut(tools, one)

        monkeypatch.setattr(indexing, "cut", given_up)
        work(shop.tools, claimed)
        shop.due_now()
        shop.work()
        assert shop.state(late.job_id) == JobState.SUCCEEDED
        assert target not in shop.parts.store.generations()
        shop.agree()

    def test_a_lost_store_is_not_hidden_by_the_next_upload(self, shop: Shop) -> None:
        shop.upload(FACTS)
        shop.work()
        for generation_id in shop.parts.store.generations():
            shop.parts.store.drop(generation_id)
        late = shop.upload("A tower is 12 metres high.", name="tower.txt")
        shop.work()
        assert shop.job(late.job_id).error_code == "vector_store_unavailable"
        assert shop.parts.store.generations() == set()


class TestAccess:
    def test_a_list_reaches_the_points_although_the_new_version_cannot_be_read(self, shop: Shop) -> None:
        shop.upload(FACTS, grants=["user:ann"])
        shop.work()
        assert stored_access(shop) == {("user:ann",)}

        def refuse(_text: str) -> None:
            raise Unreadable("Damaged.")

        shop.reader.before = refuse
        shop.upload("Damaged.", grants=["user:ann", "user:bob"])
        shop.work()
        assert stored_access(shop) == {("user:ann", "user:bob")}

    def test_the_same_bytes_with_another_list(self, shop: Shop) -> None:
        first = shop.upload(FACTS)
        shop.work()
        again = shop.upload(FACTS, grants=["user:ann"])
        assert (again.outcome, again.version, again.job_id) == ("updated", 1, first.job_id)
        shop.work()
        assert shop.state(first.job_id) == JobState.SUCCEEDED
        assert stored_access(shop) == {("user:ann",)}
        assert shop.upload(FACTS, grants=["user:ann"]).outcome == "unchanged"
        assert shop.reader.parsed == 1

    def test_the_same_bytes_with_other_metadata(self, shop: Shop) -> None:
        first = shop.upload(FACTS)
        shop.work()
        again = shop.upload(FACTS, metadata={"year": 1931})
        assert (again.outcome, again.job_id) == ("updated", first.job_id)
        with shop.parts.db.read() as session:
            assert session.get_one(Document, first.document_id).meta == {"year": 1931}
        shop.work()
        assert shop.state(first.job_id) == JobState.SUCCEEDED
        assert stored_marks(shop) == {marks(facts({"year": 1931}))}
        shop.upload(FACTS, metadata={})
        shop.work()
        assert stored_marks(shop) == {()}
        assert shop.reader.parsed == 1

    def test_metadata_that_change_before_the_version_is_live(self, shop: Shop) -> None:
        shop.upload(FACTS, metadata={"year": 1931})
        late = shop.claim()
        shop.upload(FACTS, metadata={"year": 1932})
        work(shop.tools, late)
        shop.work()
        assert stored_marks(shop) == {marks(facts({"year": 1932}))}

    def test_a_new_name_under_the_same_external_id(self, shop: Shop) -> None:
        shop.upload(FACTS, name="draft.txt", external_id="bridge")
        shop.work()
        again = shop.upload(FACTS, name="final.txt", external_id="bridge")
        assert (again.name, again.outcome, again.version) == ("final.txt", "updated", 1)


class TestCancel:
    def test_an_upload_during_it_takes_it_back(self, shop: Shop) -> None:
        first = shop.upload(FACTS)
        claimed = shop.claim()
        with shop.parts.db.begin() as session:
            jobs.cancel(session, shop.scope, first.job_id or "")
        again = shop.upload(FACTS)
        assert (again.outcome, again.job_id) == ("updated", first.job_id)
        work(shop.tools, claimed)
        assert shop.state(first.job_id) == JobState.SUCCEEDED

    def half_way(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> str:
        """Cancelled when its points are written and not yet recorded; gives the job."""
        shop.upload("The ferry sails at noon.", name="ferry.txt")
        shop.work()
        accepted = shop.upload(FACTS)
        count = shop.parts.store.count

        def cancelled(*arguments: object, **named: object) -> int:
            monkeypatch.undo()
            with shop.parts.db.begin() as session:
                jobs.cancel(session, shop.scope, accepted.job_id or "")
            return count(*arguments, **named)

        monkeypatch.setattr(shop.parts.store, "count", cancelled)
        shop.work()
        assert shop.state(accepted.job_id) == JobState.CANCELLED
        assert shop.points() == 2
        return accepted.job_id or ""

    def retry(self, shop: Shop, job_id: str) -> None:
        with shop.parts.db.begin() as session:
            jobs.retry(session, shop.scope, job_id)

    def clear(self, shop: Shop) -> None:
        with shop.parts.db.begin() as session:
            assert versions.clear_cancelled(session) == 1
            assert versions.clear_cancelled(session) == 0

    def test_half_way_leaves_no_point(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        job_id = self.half_way(shop, monkeypatch)
        self.clear(shop)
        shop.work()
        assert (shop.points(), shop.count(ChunkRow), shop.count(Embedding)) == (1, 1, 1)
        shop.agree()
        self.retry(shop, job_id)
        shop.work()
        assert shop.state(job_id) == JobState.SUCCEEDED
        shop.agree()

    @pytest.mark.parametrize("state", [JobState.CANCELLED, JobState.FAILED])
    def test_half_way_it_is_found_and_mended(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch, state: JobState
    ) -> None:
        job_id = self.half_way(shop, monkeypatch)
        with shop.parts.db.begin() as session:
            session.get_one(Job, job_id).state = state
        for _ in range(2):
            (found,) = integrity.verify(shop.parts, shop.scope, shop.collection, repair=True)
            assert (found.orphans, found.gaps, found.stale) == (1, 0, 0)
        shop.work()
        assert shop.points() == 1
        shop.agree()

    def test_half_way_and_tried_again_it_waits_until_its_points_are_gone(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job_id = self.half_way(shop, monkeypatch)
        self.clear(shop)
        clearing = shop.claim()
        self.retry(shop, job_id)
        shop.work()
        waiting = shop.job(job_id)
        assert (waiting.state, waiting.failures, waiting.error_code) == ("queued", 0, "still_cleared")
        work(shop.tools, clearing)
        shop.due_now()
        shop.work()
        assert shop.state(job_id) == JobState.SUCCEEDED
        shop.agree()

    def test_half_way_and_tried_again_first_it_keeps_its_points(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job_id = self.half_way(shop, monkeypatch)
        self.retry(shop, job_id)
        claimed = shop.claim()
        with shop.parts.db.begin() as session:
            document_id, version_id = shop.job(job_id).document_id, shop.job(job_id).version_id
            found = (shop.collection, document_id, version_id)
            jobs.enqueue(session, JobKind.PURGE, found[0], document_id=found[1], version_id=found[2])
        shop.work()
        work(shop.tools, claimed)
        assert shop.state(job_id) == JobState.SUCCEEDED
        shop.agree()

    def test_a_job_whose_document_is_gone_ends(self, shop: Shop) -> None:
        accepted = shop.upload(FACTS)
        shop.work()
        with shop.parts.db.begin() as session:
            job = session.get_one(Job, accepted.job_id)
            session.get_one(Document, accepted.document_id).deleted_at = job.created_at
            session.execute(Indexing.__table__.delete())
            jobs.requeue(session, job)  # as a retry beside the deletion once could
        shop.work()
        assert shop.state(accepted.job_id) == JobState.CANCELLED


class TestStop:
    def test_in_order_it_counts_against_no_document(self, shop: Shop) -> None:
        accepted = shop.upload(FACTS)
        for _ in range(4):
            shop.claim()
            with shop.parts.db.begin() as session:
                claims.hand_back(session)
        job = shop.job(accepted.job_id)
        assert (job.state, job.failures) == (JobState.QUEUED, 0)


class TestRecipe:
    @pytest.mark.parametrize(("longest", "most"), [(512, 200), (128, 102), (10, 8)])
    def test_chunks_fit_what_the_encoder_reads(self, longest: int, most: int) -> None:
        fitted = ChunkerConfig().fitted(longest)
        assert fitted.max_tokens == most
        assert fitted.min_tokens <= most


class TestOvertaken:
    def test_its_points_are_retired(self, shop: Shop) -> None:
        first = shop.upload("The bridge is old.")
        (held,) = shop.claim()
        shop.upload("The bridge is new.")
        shop.work()
        work(shop.tools, [held])
        assert shop.state(first.job_id) == JobState.SUCCEEDED
        shop.agree()

    def test_before_it_was_seen_it_is_superseded_and_goes_in_the_end(self, shop: Shop) -> None:
        shop.upload("Version one.")
        (old,) = shop.claim()
        shop.upload("Version two.")
        shop.work()
        work(shop.tools, [old])
        with shop.parts.db.read() as session:
            overtaken = session.scalars(select(Version).where(Version.number == 1)).one()
        assert overtaken.live_from == overtaken.live_to is not None
