"""Budgets: what was reserved and settled, side by side too, on both databases."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import update

from ibid import keys, spending
from ibid.access import CollectionNotFound
from ibid.catalogue import Entry
from ibid.clock import now
from ibid.db.tables import Budget, Spending
from ibid.keys import NewKey
from ibid.spending import BadBudget, BudgetNotFound, BudgetSpent, Limit, Spender, Spent
from tests.services import postgres_database
from tests.unit.shelf import ADMIN, Shelf

HOUR = 3600
# A call with 100 tokens of prompt takes 200 at most, and 0.3 US dollars.
ENTRY = Entry(
    name="m", provider="openai", model="m", output_tokens=100, input_price=1_000.0, output_price=2_000.0
)


class Till:
    """A key that asks one collection, and their budgets."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        with shelf.db.begin() as session:
            maker = keys.holder(session, keys.ensure_admin(session, shelf.settings) or "")
            self.key_id = keys.create(session, maker, NewKey("k", "reader"))[0].id

    def budget(self, **limits: object) -> str:
        wanted = Limit(**{"seconds": HOUR, "key_id": self.key_id} | limits)
        with self.shelf.db.begin() as session:
            return spending.limit(session, ADMIN, wanted).id

    def spender(self, key_id: str | None = None) -> Spender:
        return Spender("ans_1", key_id or self.key_id, self.shelf.collection_id)

    def reserve(self, key_id: str | None = None, read: int = 100) -> str:
        with self.shelf.db.begin() as session:
            return spending.reserve(session, self.spender(key_id), ENTRY, read)

    def settle(self, id_: str, took: Spent) -> None:
        with self.shelf.db.begin() as session:
            spending.settle(session, id_, took)

    def spent(self, budget_id: str) -> Spent:
        with self.shelf.db.read() as session:
            return spending.spent(session, session.get_one(Budget, budget_id))

    def left(self) -> float | None:
        with self.shelf.db.read() as session:
            return spending.left(session, self.spender())


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
def till(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Till]:
    with postgres_database() if request.param == "postgresql" else nullcontext("") as url:
        shelf = Shelf(tmp_path, url=url)
        try:
            yield Till(shelf)
        finally:
            shelf.close()


class TestReserve:
    def test_without_a_budget_all_is_allowed_and_noted(self, till: Till) -> None:
        till.reserve()
        assert till.left() is None
        assert till.spent(till.budget(usd=1.0)) == Spent(200, pytest.approx(0.3))

    def test_money(self, till: Till) -> None:
        budget = till.budget(usd=0.7)
        till.reserve()
        till.reserve()
        with pytest.raises(BudgetSpent, match=budget):
            till.reserve()
        assert till.left() == pytest.approx(0.1)

    def test_tokens(self, till: Till) -> None:
        till.budget(tokens=399)
        till.reserve()
        with pytest.raises(BudgetSpent):
            till.reserve()
        till.reserve(read=99)

    def test_what_was_not_taken_comes_back(self, till: Till) -> None:
        budget = till.budget(tokens=200)
        first = till.reserve()
        till.settle(first, Spent(50, 0.01))
        assert till.spent(budget) == Spent(50, pytest.approx(0.01))
        till.reserve(read=50)

    def test_a_collection_that_several_keys_ask(self, till: Till) -> None:
        till.budget(key_id=None, collection="shelf", tokens=400)
        till.reserve()
        till.reserve("key_other")
        with pytest.raises(BudgetSpent):
            till.reserve("key_third")

    def test_another_key_is_not_concerned(self, till: Till) -> None:
        till.budget(tokens=0)
        with pytest.raises(BudgetSpent):
            till.reserve()
        till.reserve("key_other")

    def test_the_window_slides(self, till: Till) -> None:
        budget = till.budget(tokens=200)
        till.reserve()
        with till.shelf.db.begin() as session:
            session.execute(update(Spending).values(at=now() - timedelta(seconds=HOUR + 5)))
        assert till.spent(budget) == Spent(0, 0.0)
        till.reserve()

    def test_the_tightest_counts(self, till: Till) -> None:
        till.budget(usd=10.0)
        till.budget(usd=1.0)
        till.budget(tokens=10_000)
        assert till.left() == pytest.approx(1.0)

    def test_calls_side_by_side_do_not_pass_it_together(self, till: Till) -> None:
        budget = till.budget(usd=1.0)
        ready = Barrier(8)

        def call(_number: int) -> bool:
            ready.wait()
            try:
                till.reserve()
            except BudgetSpent:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(call, range(8))) == 3
        assert till.spent(budget).usd == pytest.approx(0.9)


class TestLimits:
    @pytest.mark.parametrize(
        "limits",
        [
            {"usd": 1.0, "collection": "shelf"},
            {"usd": 1.0, "key_id": None},
            {},
            {"usd": 1.0, "key_id": "key_none"},
        ],
    )
    def test_that_make_no_sense(self, till: Till, limits: dict[str, object]) -> None:
        with pytest.raises(BadBudget):
            till.budget(**limits)

    def test_of_a_collection_that_there_is_not(self, till: Till) -> None:
        with pytest.raises(CollectionNotFound):
            till.budget(key_id=None, collection="none", usd=1.0)

    def test_are_lifted(self, till: Till) -> None:
        budget = till.budget(tokens=0)
        with till.shelf.db.begin() as session:
            spending.lift(session, budget)
        till.reserve()
        with till.shelf.db.begin() as session, pytest.raises(BudgetNotFound):
            spending.lift(session, budget)
