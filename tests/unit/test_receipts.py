"""Receipts with in-memory stores and a real database: what is known when, and who counted it."""

from dataclasses import replace

import pytest
from sqlalchemy import delete

from ibid import documents, generations
from ibid.bootstrap import Parts
from ibid.db.tables import ChunkRow, Indexing
from ibid.receipts import ChunkCounts, ElementCounts, PageCounts, Receipt, StageSeconds
from ibid.types import ChunkerConfig, JobState, Scope
from ibid.vectors.errors import StoreUnavailable
from ibid.vectors.memory import MemoryVectorStore
from ingest import indexing, publishing
from ingest.indexing import Target, Text
from ingest.parsing.errors import Unreadable
from ingest.tools import Tools
from ingest.work import work
from tests.unit.shop import FACTS, Shop

LONG = "\n\n".join(f"Tower {n} is {n * 3} metres high and stands in ward {n % 7}." for n in range(80))


@pytest.fixture
def shop(parts: Parts, admin: Scope) -> Shop:
    return Shop(parts, admin)


def receipt(shop: Shop, document_id: str) -> Receipt:
    with shop.parts.db.read() as session:
        return documents.receipt(session, shop.scope, document_id)


def away(*_: object, **__: object) -> None:
    raise StoreUnavailable("The store is away.")


class TestBeforeTheEnd:
    def test_nothing_is_known_of_what_waits(self, shop: Shop) -> None:
        accepted = shop.upload(FACTS)
        found = receipt(shop, accepted.document_id)
        assert (found.document_id, found.version, found.state) == (accepted.document_id, 1, JobState.QUEUED)
        assert (found.parser, found.characters, found.warnings) == (None, None, ())
        assert found.pages == PageCounts(None, None, (), ())
        assert found.elements == ElementCounts(None, None, None)
        assert found.chunks == ChunkCounts(None, None, None, None, None)
        assert found.seconds == StageSeconds(None, None, None, None)

    def test_what_was_read_is_known_before_it_is_stored(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(MemoryVectorStore, "upsert", away)
        accepted = shop.upload(FACTS)
        shop.work()
        found = receipt(shop, accepted.document_id)
        assert (found.state, found.parser, found.characters) == (JobState.QUEUED, "plain", len(FACTS))
        assert found.elements.total == 3
        assert found.seconds.parse is not None
        assert found.chunks == ChunkCounts()

    def test_what_is_stored_is_known_before_the_job_ends(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shop.upload("A former text.")
        shop.work()
        monkeypatch.setattr(publishing, "retire_points", away)
        accepted = shop.upload(FACTS)
        shop.work()
        found = receipt(shop, accepted.document_id)
        assert found.chunks == ChunkCounts(made=1, reused=0, embedded=1, stored_sql=1, stored_vectors=1)
        assert (found.seconds.index, found.state) == (None, JobState.QUEUED)

    def test_a_new_version_has_its_own(self, shop: Shop) -> None:
        accepted = shop.upload(FACTS)
        shop.work()
        shop.upload(LONG)
        found = receipt(shop, accepted.document_id)
        assert (found.version, found.state, found.chunks) == (2, JobState.QUEUED, ChunkCounts())

    def test_nothing_is_known_of_what_could_not_be_read(self, shop: Shop) -> None:
        def refuse(_text: str) -> None:
            raise Unreadable("It is damaged.")

        shop.reader.before = refuse
        accepted = shop.upload(FACTS)
        shop.work()
        found = receipt(shop, accepted.document_id)
        assert (found.state, found.parser, found.chunks) == (JobState.FAILED, None, ChunkCounts())


class TestAtTheEnd:
    def test_every_stage_has_counted(self, shop: Shop) -> None:
        accepted = shop.upload(LONG)
        shop.work()
        found = receipt(shop, accepted.document_id)
        rows = shop.count(ChunkRow)
        assert found.chunks == ChunkCounts(
            made=rows, reused=0, embedded=rows, stored_sql=rows, stored_vectors=rows
        )
        seconds = found.seconds
        assert None not in (seconds.parse, seconds.chunk, seconds.embed, seconds.index)
        assert found.state == JobState.SUCCEEDED

    def test_a_chunk_lost_on_the_way_to_sql_is_missed(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The chunker's count and that of what is stored are two, so that they can differ."""
        cut = indexing.cut

        def cut_and_lose_one(tools: Tools, target: Target) -> list[Text]:
            texts = cut(tools, target)
            with tools.db.begin() as session:
                session.execute(delete(ChunkRow).where(ChunkRow.ordinal == 0))
            return texts

        monkeypatch.setattr(indexing, "cut", cut_and_lose_one)
        accepted = shop.upload(LONG)
        shop.work()
        found = receipt(shop, accepted.document_id)
        assert found.chunks.made == found.chunks.stored_sql + 1
        assert found.chunks.stored_sql == found.chunks.stored_vectors == shop.count(ChunkRow)
        assert found.state == JobState.PARTIALLY_SUCCEEDED
        assert shop.job(accepted.job_id).statistics["warnings"] == list(found.warnings)
        assert f"Of {found.chunks.made} chunks" in found.warnings[0]

    def test_an_attempt_that_only_ends_keeps_what_the_one_before_counted(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(publishing, "retire_points", away)
        accepted = shop.upload(LONG)
        shop.work()
        monkeypatch.undo()
        shop.due_now()
        shop.work()
        found = receipt(shop, accepted.document_id)
        assert found.state == JobState.SUCCEEDED
        assert (found.chunks.embedded, found.chunks.reused) == (shop.count(ChunkRow), 0)

    def test_bringing_points_up_to_date_leaves_it_alone(self, shop: Shop) -> None:
        accepted = shop.upload(FACTS)
        shop.work()
        before = receipt(shop, accepted.document_id)
        shop.upload(FACTS, grants=["user:ann"])
        assert receipt(shop, accepted.document_id).state == JobState.QUEUED
        shop.work()
        assert receipt(shop, accepted.document_id) == before

    def test_two_generations_are_counted_apart(self, shop: Shop) -> None:
        accepted = shop.upload(LONG)
        (held,) = shop.claim()
        recipe = shop.parts.recipe()
        finer = replace(recipe, chunker=ChunkerConfig(max_tokens=12, min_tokens=2))
        with shop.parts.db.begin() as session:
            generations.start_reindex(session, shop.scope, shop.collection, finer)
        work(shop.tools, [held])
        assert shop.count(Indexing) == 2
        chunks = receipt(shop, accepted.document_id).chunks
        assert chunks.embedded == chunks.made == chunks.stored_sql < shop.count(ChunkRow)
