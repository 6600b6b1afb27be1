"""Ingestion with in-memory stores and a real database: states, counts, reuse, replacement, deletion, reindexing."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from ibid import collections, documents, generations, integrity, jobs, versions
from ibid.bootstrap import Parts
from ibid.db.tables import Blob, ChunkRow, Document, Embedding, Indexing, Parse, Version
from ibid.types import ChunkerConfig, JobState, Scope
from ibid.vectors.errors import StoreUnavailable
from ibid.vectors.memory import MemoryVectorStore
from ingest.parsing.errors import ParserDied, ParsersKilled, Unreadable
from ingest.work import work
from tests.unit.shop import FACTS, Shop


@pytest.fixture
def shop(parts: Parts, admin: Scope) -> Shop:
    return Shop(parts, admin)


class TestIngest:
    def test_succeeds_with_equal_counts(self, shop: Shop) -> None:
        accepted = shop.upload(FACTS)
        shop.work()
        assert shop.state(accepted.job_id) == JobState.SUCCEEDED
        with shop.parts.db.read() as session:
            receipt = documents.receipt(session, shop.scope, accepted.document_id)
        made = receipt.chunks.made
        assert made == shop.count(ChunkRow) == shop.points() == receipt.chunks.stored_vectors > 0
        shop.agree()

    def test_chunks_are_exact_slices(self, shop: Shop) -> None:
        accepted = shop.upload("Ünïcödé 😀 first.\n\nSecond 𝒳 sentence. " * 30)
        shop.work()
        with shop.parts.db.read() as session:
            text = versions.text(session, shop.scope, accepted.document_id, 1)
            chunks = session.scalars(select(ChunkRow)).all()
        assert chunks
        assert all(chunk.text == text[chunk.start : chunk.end] for chunk in chunks)

    def test_the_same_bytes_are_the_same_work(self, shop: Shop) -> None:
        shop.upload(FACTS)
        shop.work()
        again = shop.upload(FACTS)
        assert (again.outcome, again.job_id) == ("unchanged", None)
        shop.upload(FACTS, name="copy.txt")
        shop.work()
        assert shop.reader.parsed == 1
        assert shop.count(Blob) == shop.count(Parse) == 1
        assert shop.count(Embedding) * 2 == shop.count(ChunkRow)
        shop.agree()

    def test_an_unreadable_document_fails_with_a_sentence_and_others_do_not(self, shop: Shop) -> None:
        def refuse(text: str) -> None:
            if text.startswith("bad"):
                raise Unreadable("It is damaged.")

        shop.reader.before = refuse
        good, bad = shop.upload(FACTS), shop.upload("bad", name="bad.txt")
        shop.work()
        assert shop.state(good.job_id) == JobState.SUCCEEDED
        failed = shop.job(bad.job_id)
        assert (failed.state, failed.error_code, failed.error_message) == (
            "failed",
            "unreadable",
            "It is damaged.",
        )

    def test_a_parse_that_dies_is_tried_three_times(self, shop: Shop) -> None:
        def die(_text: str) -> None:
            raise ParserDied("The parser died.")

        shop.reader.before = die
        accepted = shop.upload(FACTS)
        for _ in range(5):
            shop.due_now()
            shop.work()
        assert shop.job(accepted.job_id).attempt == 3
        assert shop.state(accepted.job_id) == JobState.FAILED

    def test_a_parser_that_is_killed_again_and_again_is_the_fault_of_the_document_in_the_end(
        self, shop: Shop
    ) -> None:
        """Kills that chance could bring blame nobody; beside them, the others of its batch are read."""
        kills = {"harmful": 0, "unlucky": 0}

        def kill(text: str) -> None:
            if text in kills and (text == "harmful" or kills[text] < 9):
                kills[text] += 1
                raise ParsersKilled("The parse server was killed.")

        shop.reader.before = kill
        harmful, unlucky = shop.upload("harmful"), shop.upload("unlucky", name="unlucky.txt")
        good = shop.upload(FACTS, name="good.txt")
        for _ in range(15):
            shop.due_now()
            shop.work()
        failed = shop.job(harmful.job_id)
        assert (failed.state, failed.error_code, failed.failures) == (JobState.FAILED, "parser_died", 0)
        assert kills == {"harmful": 10, "unlucky": 9}
        assert (shop.state(unlucky.job_id), shop.state(good.job_id)) == ("succeeded", "succeeded")
        assert "parser_kills" not in shop.job(unlucky.job_id).statistics
        with shop.parts.db.begin() as session:
            assert jobs.retry(session, shop.scope, harmful.job_id or "").statistics == {}

    def test_a_store_that_is_away_costs_no_attempt(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        def away(*_: object, **__: object) -> None:
            raise StoreUnavailable("away")

        accepted = shop.upload(FACTS)
        with monkeypatch.context() as patched:
            patched.setattr(MemoryVectorStore, "upsert", away)
            shop.work()
        waiting = shop.job(accepted.job_id)
        assert (waiting.state, waiting.failures, waiting.error_code) == (
            "queued",
            0,
            "vector_store_unavailable",
        )
        shop.due_now()
        shop.work()
        assert shop.state(accepted.job_id) == JobState.SUCCEEDED
        assert shop.reader.parsed == 1

    def test_cancelled_while_it_is_read(self, shop: Shop) -> None:
        accepted = shop.upload(FACTS)

        def cancel(_text: str) -> None:
            with shop.parts.db.begin() as session:
                jobs.cancel(session, shop.scope, accepted.job_id or "")

        shop.reader.before = cancel
        shop.work()
        assert shop.state(accepted.job_id) == JobState.CANCELLED
        assert (shop.points(), shop.live(accepted.document_id)) == (0, None)

    def test_is_too_late_to_cancel_once_readers_have_it(self, shop: Shop) -> None:
        accepted = shop.upload(FACTS)
        shop.work()
        shop.upload(FACTS, grants=["user:ann"])  # the same job brings the points up to date
        assert shop.state(accepted.job_id) == JobState.QUEUED
        with pytest.raises(jobs.AlreadyLive), shop.parts.db.begin() as session:
            jobs.cancel(session, shop.scope, accepted.job_id or "")
        shop.work()
        assert shop.state(accepted.job_id) == JobState.SUCCEEDED


class TestReplace:
    def test_a_new_version_takes_over_and_reuses(self, shop: Shop) -> None:
        long = "\n\n".join(
            f"Fact {n}: tower {n} is {n * 3} metres high and stands in ward {n % 7}." for n in range(80)
        )
        first = shop.upload(long)
        shop.work()
        second = shop.upload(long + "\n\nThe last tower fell in 1999.")
        assert (second.outcome, second.version, second.document_id) == ("updated", 2, first.document_id)
        assert shop.live(first.document_id) == 1
        shop.work()
        assert shop.live(first.document_id) == 2
        with shop.parts.db.read() as session:
            chunks = documents.receipt(session, shop.scope, first.document_id).chunks
        assert chunks.reused > 0
        assert chunks.embedded < chunks.made
        shop.agree()

    def test_an_older_version_that_ends_late_does_not_take_over(self, shop: Shop) -> None:
        first = shop.upload("Version one.")
        (old,) = shop.claim()
        shop.upload("Version two.")
        shop.work()
        assert shop.live(first.document_id) == 2
        work(shop.tools, [old])
        assert shop.live(first.document_id) == 2


class TestDelete:
    def test_nothing_is_left(self, shop: Shop) -> None:
        accepted = shop.upload(FACTS)
        shop.work()
        with shop.parts.db.begin() as session:
            documents.delete(session, shop.scope, accepted.document_id, grace=None)
        shop.work()
        assert [shop.count(t) for t in (Version, ChunkRow, Embedding, Parse, Blob, Indexing)] == [0] * 6
        assert (shop.points(), list(shop.parts.blobs.keys())) == (0, [])
        with shop.parts.db.read() as session:
            assert session.get_one(Document, accepted.document_id).name == ""

    def test_shared_bytes_stay(self, shop: Shop) -> None:
        first, _ = shop.upload(FACTS), shop.upload(FACTS, name="copy.txt")
        shop.work()
        with shop.parts.db.begin() as session:
            documents.delete(session, shop.scope, first.document_id, grace=None)
        shop.work()
        assert (shop.count(Blob), shop.count(Parse), shop.count(Version)) == (1, 1, 1)
        shop.agree()

    def test_a_worker_that_was_suspended_writes_nothing_afterwards(self, shop: Shop) -> None:
        accepted = shop.upload(FACTS)
        late = shop.claim()
        with shop.parts.db.begin() as session:
            documents.delete(session, shop.scope, accepted.document_id, grace=None)
        shop.work()
        work(shop.tools, late)
        assert [shop.count(t) for t in (ChunkRow, Parse, Indexing)] == [0, 0, 0]
        assert shop.points() == 0

    def test_a_collection(self, shop: Shop) -> None:
        shop.upload(FACTS)
        shop.upload("More facts.", name="more.txt")
        shop.work()
        with shop.parts.db.begin() as session:
            collections.delete(session, shop.scope, shop.collection, grace=None)
        shop.work()
        assert [shop.count(t) for t in (Version, ChunkRow, Embedding, Parse, Blob)] == [0] * 5
        assert shop.parts.store.generations() == set()


class TestReindex:
    def reindex(self, shop: Shop, max_tokens: int = 12) -> tuple[str, str]:
        recipe = shop.parts.recipe()
        chunker = ChunkerConfig(max_tokens=max_tokens, min_tokens=2)
        with shop.parts.db.begin() as session:
            changed = type(recipe)(recipe.embedder, recipe.dimensions, recipe.embedder_fingerprint, chunker)
            made = generations.start_reindex(session, shop.scope, shop.collection, changed)
            return made.id, made.job_id

    def test_switches_and_rolls_back_with_nothing_missing(self, shop: Shop) -> None:
        shop.upload(FACTS)
        shop.work()
        reindex_id, job_id = self.reindex(shop)
        shop.work()
        assert shop.state(job_id) == JobState.SUCCEEDED
        shop.upload("Added after the switch.", name="late.txt")
        shop.work()
        shop.agree()
        with shop.parts.db.begin() as session:
            assert generations.roll_back(session, shop.scope, reindex_id).state == "rolled_back"
        shop.agree()

    def test_an_upload_in_the_middle_is_in_both(self, shop: Shop) -> None:
        shop.upload(FACTS)
        shop.work()
        late = shop.upload("Uploaded before, read after the switch.", name="late.txt")
        (held,) = shop.claim()
        self.reindex(shop)
        work(shop.tools, [held])
        shop.work()
        assert shop.state(late.job_id) == JobState.SUCCEEDED
        shop.agree()
        with shop.parts.db.read() as session:
            assert len(generations.written(session, shop.collection)) == 2
            assert session.scalar(select(func.count()).select_from(Indexing)) == 4

    def test_cancelled_it_leaves_nothing(self, shop: Shop) -> None:
        shop.upload(FACTS)
        shop.work()
        before = shop.points()
        reindex_id, job_id = self.reindex(shop)
        with shop.parts.db.begin() as session:
            jobs.cancel(session, shop.scope, job_id)
            generations.tidy(session)
            assert generations.get(session, shop.scope, reindex_id).state == "cancelled"
        shop.work()
        assert shop.points() == before
        shop.agree()

    def test_a_replaced_generation_is_dropped_in_the_end(self, shop: Shop) -> None:
        shop.upload(FACTS)
        shop.work()
        reindex_id, _ = self.reindex(shop)
        shop.work()
        with shop.parts.db.begin() as session:
            assert generations.expire(session, kept=timedelta()) == 1
        shop.work()
        assert len(shop.parts.store.generations()) == 1
        with shop.parts.db.begin() as session, pytest.raises(generations.RollbackImpossible):
            generations.roll_back(session, shop.scope, reindex_id)


class TestVerify:
    def test_a_lost_store_is_rebuilt(self, shop: Shop) -> None:
        shop.upload(FACTS)
        shop.work()
        before = shop.points()
        for generation_id in shop.parts.store.generations():
            shop.parts.store.drop(generation_id)
        (found,) = integrity.verify(shop.parts, shop.scope, shop.collection, repair=True)
        assert found.gaps == before == shop.points()
        shop.agree()

    def test_orphans_are_removed(self, shop: Shop) -> None:
        shop.upload(FACTS)
        shop.work()
        with shop.parts.db.begin() as session:
            session.execute(ChunkRow.__table__.delete())
            session.execute(Indexing.__table__.delete())
        (found,) = integrity.verify(shop.parts, shop.scope, shop.collection, repair=True)
        assert found.orphans
        assert shop.points() == 0
