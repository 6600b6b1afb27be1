"""Everything that can differ between SQL, the vectors and the bytes, broken on purpose, found, counted and mended."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from ibid import generations, integrity, inventory, uploads
from ibid.clock import new_id, now
from ibid.db.tables import (
    Blob,
    ChunkRow,
    Document,
    DocumentGrant,
    Embedding,
    Generation,
    Indexing,
    Job,
    Parse,
    Version,
)
from ibid.integrity import Comparison
from ibid.settings import Settings
from ibid.types import JobState
from ibid.vectors.port import PointRef
from tests.shops import opened
from tests.unit.shop import FACTS, Shop

KINDS = [("sqlite", "edge"), pytest.param(("postgresql", "memory"), marks=pytest.mark.service)]


@pytest.fixture(params=KINDS, ids="-".join)
def shop(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """Five documents of a chunk each, and pages of two."""
    monkeypatch.setattr(integrity, "PAGE", 2)
    with opened(tmp_path, *request.param) as running:
        for number in range(5):
            grants = ["user:ann", "group:b"] if number == 0 else None
            running.upload(f"{FACTS}\n\nNumber {number}.", name=f"{number}.txt", grants=grants)
        running.work()
        yield running


def generation(shop: Shop) -> str:
    (only,) = shop.parts.store.generations()
    return only


def refs(shop: Shop) -> list[PointRef]:
    return [ref for some in shop.parts.store.scan(generation(shop)) for ref in some]


def verify(shop: Shop, *, repair: bool = False) -> Comparison:
    (found,) = integrity.verify(shop.parts, shop.scope, shop.collection, repair=repair)
    return found


def mended(shop: Shop, **differences: int) -> None:
    """The differences are counted twice, with and without a repair, and then there are none."""
    for repair in (False, True):
        found = verify(shop, repair=repair)
        assert {name: getattr(found, name) for name in ("orphans", "gaps", "stale")} == {
            "orphans": 0,
            "gaps": 0,
            "stale": 0,
        } | differences
        assert found.repaired is repair
    again = verify(shop)
    assert (again.orphans, again.gaps, again.stale) == (0, 0, 0)
    assert again.points == again.chunks


def counted(shop: Shop, *, repair: bool = False) -> dict[str, int]:
    found = asdict(inventory.take(shop.parts, repair=repair))
    assert found.pop("repaired") is repair
    return {name: n for name, n in found.items() if n}


def cleared(shop: Shop, **left: int) -> None:
    assert counted(shop) == left
    assert counted(shop, repair=True) == left
    assert counted(shop) == {}


class TestPoints:
    def test_agree_after_uploads(self, shop: Shop) -> None:
        found = verify(shop)
        assert (found.points, found.chunks, found.orphans, found.gaps, found.stale) == (5, 5, 0, 0, 0)

    def test_without_a_chunk(self, shop: Shop) -> None:
        gone = [refs(shop)[place].id for place in (0, 3, 4)]
        with shop.parts.db.begin() as session:
            versions = select(ChunkRow.version_id).where(ChunkRow.id.in_(gone))
            session.execute(delete(Indexing).where(Indexing.version_id.in_(versions)))
            session.execute(delete(ChunkRow).where(ChunkRow.id.in_(gone)))
        mended(shop, orphans=3)

    def test_of_a_deleted_document(self, shop: Shop) -> None:
        shop.delete(refs(shop)[1].payload.document_id)
        mended(shop, orphans=1)

    def test_of_documents_that_are_all_deleted(self, shop: Shop) -> None:
        for ref in refs(shop)[:4]:
            shop.delete(ref.payload.document_id)
        mended(shop, orphans=4)

    def test_that_are_missing(self, shop: Shop) -> None:
        shop.parts.store.delete(generation(shop), point_ids=[refs(shop)[place].id for place in (0, 1, 4)])
        mended(shop, gaps=3)

    def test_of_a_lost_generation(self, shop: Shop) -> None:
        shop.parts.store.drop(generation(shop))
        mended(shop, gaps=5)

    def test_whose_vectors_are_lost_too(self, shop: Shop) -> None:
        before = [ref.id for ref in refs(shop)]
        shop.parts.store.drop(generation(shop))
        with shop.parts.db.begin() as session:
            session.execute(delete(Embedding))
        mended(shop, gaps=5)
        assert [ref.id for ref in refs(shop)] == before

    def test_with_another_access_list(self, shop: Shop) -> None:
        store, (first, *_) = shop.parts.store, refs(shop)
        store.describe(generation(shop), first.payload.document_id, ("user:mallory",), ())
        mended(shop, stale=1)

    def test_that_lack_a_grant(self, shop: Shop) -> None:
        with shop.parts.db.begin() as session:
            session.execute(delete(DocumentGrant).where(DocumentGrant.principal == "user:ann"))
        mended(shop, stale=1)

    def test_with_an_end_that_sql_does_not_know(self, shop: Shop) -> None:
        shop.parts.store.supersede(generation(shop), refs(shop)[2].payload.version_id, now().timestamp())
        mended(shop, stale=1)

    def test_without_the_end_that_sql_knows(self, shop: Shop) -> None:
        with shop.parts.db.begin() as session:
            session.execute(update(Version).values(live_to=now()))
        mended(shop, stale=5)

    def test_with_another_beginning(self, shop: Shop) -> None:
        with shop.parts.db.begin() as session:
            session.execute(update(Version).values(live_from=now(), created_at=now()))
        mended(shop, stale=5)

    def test_are_left_to_a_job_that_is_bringing_them_up_to_date(self, shop: Shop) -> None:
        with shop.parts.db.begin() as session:
            session.execute(update(Version).values(live_to=now()))
            session.execute(update(Job).values(state=JobState.QUEUED))
        assert verify(shop).stale == 0

    def test_of_a_version_that_is_not_finished_are_no_gaps(self, shop: Shop) -> None:
        with shop.parts.db.begin() as session:
            session.execute(delete(Indexing))
        shop.parts.store.drop(generation(shop))
        assert (verify(shop).gaps, verify(shop).chunks) == (0, 0)

    def test_written_while_it_looks_are_no_differences(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Uploads and deletes beside it, after each page of SQL and before the store is read."""
        stored, number = integrity._stored, iter(range(100))

        def beside(*given: object) -> object:
            if (n := next(number)) < 4:
                shop.upload(f"{FACTS} Late {n}.", name=f"late-{n}.txt")
                shop.work()
            return stored(*given)

        monkeypatch.setattr(integrity, "_stored", beside)
        found = verify(shop, repair=True)
        assert (found.orphans, found.gaps, found.stale) == (0, 0, 0)
        monkeypatch.undo()
        assert verify(shop).points == 9


class TestInventory:
    def test_of_a_sound_shop_is_empty(self, shop: Shop) -> None:
        assert counted(shop) == {}

    def test_dropped_generation_in_the_store(self, shop: Shop) -> None:
        with shop.parts.db.begin() as session:
            made = generations.create(session, shop.collection, shop.parts.recipe(), "dropped").id
        shop.parts.store.create(made, 8)
        cleared(shop, dropped_generations=1)
        assert shop.parts.store.generations() == {shop_active(shop)}

    def test_unknown_generation_in_the_store(self, shop: Shop) -> None:
        shop.parts.store.create("gen_nobody", 8)
        cleared(shop, unknown_generations=1)

    def test_unknown_generation_on_a_server_is_only_told_of(self, shop: Shop) -> None:
        shop.parts.store.create("gen_nobody", 8)
        shop.parts.blobs.put("ab/theirs/blob_1", [b"x"])
        settings = Settings(data_dir=shop.parts.settings.data_dir, qdrant_url="http://elsewhere")
        assert not settings.standalone
        shared = replace(shop.parts, settings=settings)
        inventory.take(shared, repair=True)
        assert "gen_nobody" in shop.parts.store.generations()
        assert shop.parts.blobs.exists("ab/theirs/blob_1")

    def test_bytes_without_a_row(self, shop: Shop) -> None:
        shop.parts.blobs.put("ab/lost/blob_1", [b"x"])
        shop.parts.blobs.put("parts/up_1/part_1", [b"x"])
        cleared(shop, bytes_without_row=2)

    def test_rows_that_nothing_refers_to(self, shop: Shop) -> None:
        old = now().replace(year=2020)
        with shop.parts.db.begin() as session:
            session.add(Blob(id=new_id("blob"), sha256="0", size=1, key="a/b", dead=True, touched_at=old))
        cleared(shop, rows_without_reference=1)

    def test_rows_that_nothing_refers_to_on_more_than_one_page(self, shop: Shop) -> None:
        old, many = now().replace(year=2020), 2 * uploads.AT_ONCE + 1
        with shop.parts.db.begin() as session:
            session.add_all(
                Blob(id=new_id("blob"), sha256="0", size=1, key=f"a/{n}", dead=True, touched_at=old)
                for n in range(many)
            )
        cleared(shop, rows_without_reference=many)

    def test_lost_bytes_stay_told_of(self, shop: Shop) -> None:
        (key, *_) = shop.parts.blobs.keys()
        shop.parts.blobs.delete(key)
        assert counted(shop, repair=True) == counted(shop) == {"lost_bytes": 1}

    def test_child_of_a_deleted_parent(self, shop: Shop) -> None:
        with shop.parts.db.begin() as session:
            first, second, *_ = session.scalars(select(Document).order_by(Document.id))
            first.parent_id, second.deleted_at = second.id, now()
        cleared(shop, children_without_parent=1)
        shop.work()
        with shop.parts.db.read() as session:
            assert session.get_one(Document, first.id).name == ""

    def test_texts_and_vectors_of_nothing(self, shop: Shop) -> None:
        with shop.parts.db.begin() as session:
            session.add(Parse(key="k", text="Lost.", layout=b"", seconds=0.0, created_at=now()))
            session.add(Embedding(key="k", vector=b""))
        cleared(shop, stray_texts=1, stray_vectors=1)


def shop_active(shop: Shop) -> str:
    with shop.parts.db.read() as session:
        return session.scalars(select(Generation.id).where(Generation.state == "active")).one()
