"""What a filter means, and that every place which applies one means the same."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient
from sqlalchemy import delete, select

from ibid import described, filters
from ibid.clock import now
from ibid.db.session import Database
from ibid.db.tables import Base, Collection, Document
from ibid.marks import marks
from ibid.types import SparseVector
from ibid.vectors.edge import EdgeVectorStore
from ibid.vectors.memory import MemoryVectorStore
from ibid.vectors.port import HybridQuery, Point, PointFilter, PointPayload, VectorStore
from ibid.vectors.qdrant import QdrantVectorStore
from tests.described import metadata, written
from tests.services import postgres_tables

Metadata = Mapping[str, Any]
DENSE = np.array([1.0, 0.5], dtype=np.float32)
NOTHING = SparseVector((), ())

manifold = settings(
    deadline=None,
    max_examples=30,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.differing_executors,
    ],
)
corpora = st.lists(metadata, min_size=1, max_size=8)
questions = st.lists(written, min_size=1, max_size=4)


def comparison(type_: str, value: object, key: str = "a") -> dict[str, Any]:
    return {"type": type_, "key": key, "value": value}


def meant(wanted: filters.Filter, corpus: Sequence[Metadata]) -> list[int]:
    return [n for n, each in enumerate(corpus) if filters.matches(wanted, each)]


class TestMeaning:
    @pytest.mark.parametrize(
        ("given_", "matching"),
        [
            (comparison("eq", 1), [1, 1.0, [2, 1]]),
            (comparison("eq", "1"), ["1", ["1"]]),
            (comparison("eq", value=True), [True]),
            (comparison("ne", 1), [True, "1", ["1"], None, {"a": 1}, [], "2026-01-31", 2.5]),
            (comparison("in", [1, "1"]), [1, 1.0, "1", ["1"], [2, 1]]),
            (comparison("nin", [1, "1"]), [True, None, {"a": 1}, [], "2026-01-31", 2.5]),
            (comparison("gt", 1), [[2, 1], 2.5]),
            (comparison("gte", "2026-01-31"), ["2026-01-31"]),
            (comparison("lt", "2026-01-31"), ["1", ["1"]]),
            (comparison("lte", 1), [1, 1.0, [2, 1]]),
        ],
    )
    def test_of_each_comparison(self, given_: dict[str, Any], matching: list[object]) -> None:
        values = [1, 1.0, True, "1", ["1"], [2, 1], None, {"a": 1}, [], "2026-01-31", 2.5]
        wanted = filters.parse(given_)
        assert repr([each for each in values if filters.matches(wanted, {"a": each})]) == repr(
            [each for each in values if any(repr(each) == repr(one) for one in matching)]
        )

    @pytest.mark.parametrize("type_", ["eq", "ne", "in", "nin", "gt", "gte", "lt", "lte"])
    def test_without_the_key_only_what_is_negative_holds(self, type_: str) -> None:
        wanted = filters.parse(comparison(type_, [1] if type_ in {"in", "nin"} else 1))
        assert filters.matches(wanted, {"b": 1}) == (type_ in {"ne", "nin"})

    @given(written)
    def test_survives_being_written(self, given_: dict[str, Any]) -> None:
        wanted = filters.parse(given_)
        assert repr(filters.parse(filters.written(wanted))) == repr(wanted)


class TestParse:
    @pytest.mark.parametrize(
        ("given_", "param"),
        [
            (None, "filters"),
            ([], "filters"),
            ({}, "filters.type"),
            ({"type": ["eq"]}, "filters.type"),
            (comparison("like", "x"), "filters.type"),
            (comparison("eq", None), "filters.value"),
            (comparison("eq", [1]), "filters.value"),
            (comparison("eq", {}), "filters.value"),
            (comparison("eq", "x" * 513), "filters.value"),
            (comparison("eq", "a\x00"), "filters.value"),
            (comparison("eq", "\ud800"), "filters.value"),
            (comparison("eq", float("nan")), "filters.value"),
            (comparison("gt", float("inf")), "filters.value"),
            (comparison("eq", 10**400), "filters.value"),
            (comparison("gt", value=True), "filters.value"),
            (comparison("in", "x"), "filters.value"),
            (comparison("in", []), "filters.value"),
            (comparison("nin", [1, True]), "filters.value"),
            (comparison("in", list(range(201))), "filters.value"),
            (comparison("eq", 1, key=""), "filters.key"),
            (comparison("eq", 1, key="k" * 65), "filters.key"),
            (comparison("eq", 1, key="a\n"), "filters.key"),
            (comparison("eq", 1) | {"more": 1}, "filters"),
            ({"type": "and", "filters": []}, "filters.filters"),
            ({"type": "and", "filters": [comparison("eq", 1)], "key": "a"}, "filters"),
            ({"type": "or", "filters": [comparison("eq", 1), {"type": "no"}]}, "filters.filters.1.type"),
            ({"type": "or", "filters": [comparison("eq", 1)] * 101}, "filters.filters"),
            (
                {"type": "or", "filters": [{"type": "and", "filters": [comparison("eq", 1)] * 60}] * 2},
                "filters",
            ),
        ],
    )
    def test_refuses(self, given_: object, param: str) -> None:
        with pytest.raises(filters.BadFilter) as refused:
            filters.parse(given_)
        assert refused.value.param == param

    def test_refuses_what_lies_too_deep(self) -> None:
        nested = comparison("eq", 1)
        for _ in range(7):
            nested = {"type": "and", "filters": [nested]}
        filters.parse(nested)
        with pytest.raises(filters.BadFilter, match="deep"):
            filters.parse({"type": "and", "filters": [nested]})


class RowsContract:
    """Subclasses give the fixture `db`."""

    @manifold
    @given(corpora, questions)
    def test_rows_mean_what_the_evaluator_does(
        self, db: Database, corpus: list[Metadata], given_: list[dict[str, Any]]
    ) -> None:
        moment = now()
        with db.begin() as session:
            session.execute(delete(Document))
            session.merge(Collection(id="c", name="c", active_generation_id="g", created_at=moment))
            session.flush()
            for n, meta in enumerate(corpus):
                more = {
                    "created_at": moment,
                    "updated_at": moment,
                    "meta": meta,
                    "name": "x",
                    "identity": str(n),
                }
                session.add(Document(id=f"doc_{n}", collection_id="c", **more))
        with db.read() as session:
            for each in given_:
                wanted = filters.parse(each)
                found = select(Document.id).where(described.says(session, wanted)).order_by(Document.id)
                assert list(session.scalars(found)) == [f"doc_{n}" for n in meant(wanted, corpus)]


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path_factory.mktemp('rows') / 'ibid.db'}")
    Base.metadata.create_all(made.engine)
    yield made
    made.dispose()


@pytest.fixture(scope="module")
def postgres() -> Iterator[Database]:
    with postgres_tables() as made:
        yield made


class TestSqlite(RowsContract):
    @pytest.fixture
    def db(self, sqlite: Database) -> Database:
        return sqlite


@pytest.mark.service
class TestPostgres(RowsContract):
    @pytest.fixture
    def db(self, postgres: Database) -> Database:
        return postgres


def points(corpus: Sequence[Metadata]) -> list[Point]:
    return [
        Point(
            str(uuid.UUID(int=n)),
            DENSE,
            NOTHING,
            PointPayload(f"doc_{n}", f"ver_{n}", ("*",), 0.0, None, marks(filters.facts(meta))),
            ordinal=0,
            of=1,
        )
        for n, meta in enumerate(corpus)
    ]


def seen(store: VectorStore, generation: str, wanted: filters.Filter) -> list[int]:
    query = HybridQuery(DENSE, NOTHING, PointFilter(1.0, facts=wanted))
    return sorted(uuid.UUID(hit.id).int for hit in store.candidates(generation, query))


def asks_for_an_order(wanted: filters.Filter) -> bool:
    """Whether an engine may give more than it should."""
    return any(each.type in {"gt", "gte", "lt", "lte"} for each in filters.comparisons(wanted))


class StoreContract:
    """Subclasses give the fixture `store`."""

    @manifold
    @given(corpora, questions)
    def test_points_are_found_as_the_evaluator_says(
        self, store: VectorStore, corpus: list[Metadata], given_: list[dict[str, Any]]
    ) -> None:
        store.create("gen_f", len(DENSE))
        store.delete("gen_f", point_ids=[str(uuid.UUID(int=n)) for n in range(8)])
        store.upsert("gen_f", points(corpus))
        for each in given_:
            wanted = filters.parse(each)
            expected, found = meant(wanted, corpus), seen(store, "gen_f", wanted)
            if not asks_for_an_order(wanted):
                assert found == expected
            else:
                assert set(found) >= set(expected)

    @manifold
    @given(corpora)
    def test_a_scan_gives_back_the_marks(self, store: VectorStore, corpus: list[Metadata]) -> None:
        store.create("gen_f", len(DENSE))
        store.delete("gen_f", point_ids=[str(uuid.UUID(int=n)) for n in range(8)])
        store.upsert("gen_f", points(corpus))
        scanned = [ref.payload.marks for refs in store.scan("gen_f") for ref in refs]
        assert scanned == [marks(filters.facts(meta)) for meta in corpus]

    @pytest.mark.parametrize("values", [["2025-12-31", "2026-01-31", "2026-02-01"], [-0.5, 2026, 2027.5]])
    def test_days_and_numbers_are_in_their_order(self, store: VectorStore, values: list[object]) -> None:
        store.create("gen_f", len(DENSE))
        store.upsert("gen_f", points([{"a": value} for value in values]))
        for type_, expected in {"gt": [1, 2], "gte": [1, 2], "lt": [0, 1], "lte": [0, 1]}.items():
            wanted = filters.parse(comparison(type_, values[1]))
            assert seen(store, "gen_f", wanted) == expected

    def test_describe_replaces_the_marks_of_one_document(self, store: VectorStore) -> None:
        store.create("gen_f", len(DENSE))
        store.upsert("gen_f", points([{"a": 1}, {"a": 1}]))
        store.describe("gen_f", "doc_0", ("*",), marks(filters.facts({"a": "2"})))
        assert seen(store, "gen_f", filters.parse(comparison("eq", 1))) == [1]
        assert seen(store, "gen_f", filters.parse(comparison("eq", "2"))) == [0]
        store.describe("gen_f", "doc_0", ("*",), ())
        assert seen(store, "gen_f", filters.parse(comparison("ne", 1))) == [0]


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self) -> VectorStore:
        return MemoryVectorStore()


class TestEdge(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[VectorStore]:
        store = EdgeVectorStore(tmp_path / "vectors")
        yield store
        store.close()


# The local mode has no payload indexes and says so each time; it filters without them.
@pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant:UserWarning")
@pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning")
class TestQdrantLocalMode(StoreContract):
    @pytest.fixture
    def store(self) -> Iterator[VectorStore]:
        store = QdrantVectorStore(QdrantClient(":memory:"))
        yield store
        store.close()
