from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ibid import catalogue, routing
from ibid.catalogue import EXTRACTIVE, Entry, ModelBuiltIn, ModelNotFound, ModelUnknown
from ibid.db.session import Database
from ibid.db.tables import Base
from ibid.routing import Asked, BadRoute, Step

QUESTION = Asked("col_1", ("en",), 40, 3_000)
CHEAP = Entry(
    name="cheap", provider="openai", model="small", input_price=0.1, output_price=0.4, status="approved"
)
DEAR = replace(CHEAP, name="dear", input_price=3.0, output_price=15.0, capabilities=("json_schema",))
FREE = replace(CHEAP, name="own", input_price=0.0, output_price=0.0)
UNPRICED = replace(CHEAP, name="a-new-one", input_price=None, output_price=None)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path / 'ibid.db'}")
    Base.metadata.create_all(made.engine)
    yield made
    made.dispose()


def keep(db: Database, *entries: Entry, steps: tuple[Step, ...] = ()) -> None:
    with db.begin() as session:
        for entry in entries:
            catalogue.put(session, entry)
        if steps:
            routing.replace(session, steps)


def way(db: Database, asked: Asked = QUESTION, wanted: str | None = None) -> list[tuple[str, str | None]]:
    with db.read() as session:
        return [(choice.entry.name, choice.passed) for choice in routing.choices(session, asked, wanted)]


class TestWithoutARoute:
    def test_the_extractive_model_is_always_there(self, db: Database):
        assert way(db) == [("extractive", None)]

    def test_the_cheapest_first_and_those_without_a_price_last(self, db: Database):
        keep(db, DEAR, UNPRICED, CHEAP, FREE)
        assert [name for name, _ in way(db)] == ["own", "cheap", "dear", "a-new-one", "extractive"]

    def test_only_approved_ones_are_asked(self, db: Database):
        keep(db, replace(CHEAP, status="candidate"), replace(DEAR, status="disabled"))
        assert way(db) == [("cheap", "candidate"), ("dear", "disabled"), ("extractive", None)]

    def test_one_whose_context_is_too_short(self, db: Database):
        keep(db, replace(CHEAP, context_tokens=4_000, output_tokens=1_000))
        assert way(db)[0] == ("cheap", None)
        assert way(db, replace(QUESTION, tokens=3_001))[0] == ("cheap", "context")


class TestRoute:
    def test_in_its_own_order_and_no_others(self, db: Database):
        keep(db, CHEAP, DEAR, FREE, steps=(Step(model="dear"), Step(model="cheap")))
        assert way(db) == [("dear", None), ("cheap", None), ("extractive", None)]

    @pytest.mark.parametrize(
        ("step", "asked", "holds"),
        [
            (Step(model="dear", collections=("col_1",)), QUESTION, True),
            (Step(model="dear", collections=("col_2",)), QUESTION, False),
            (Step(model="dear", languages=("de", "en")), QUESTION, True),
            (Step(model="dear", languages=("de",)), QUESTION, False),
            (Step(model="dear", shortest=41), QUESTION, False),
            (Step(model="dear", shortest=40, longest=40), QUESTION, True),
            (Step(model="dear", longest=39), QUESTION, False),
            (Step(model="dear", needs=("json_schema",)), QUESTION, True),
            (Step(model="dear", needs=("json_schema", "tools")), QUESTION, False),
            (Step(model="dear", left=1.0), QUESTION, True),
            (Step(model="dear", left=1.0), replace(QUESTION, left=1.0), True),
            (Step(model="dear", left=1.0), replace(QUESTION, left=0.99), False),
        ],
    )
    def test_conditions(self, db: Database, step: Step, asked: Asked, *, holds: bool):
        keep(db, DEAR, steps=(step,))
        assert way(db, asked) == [("dear", None if holds else "condition"), ("extractive", None)]

    def test_nothing_behind_the_last_resort_is_reached(self, db: Database):
        here = Step(model="extractive", collections=("col_1",))
        keep(db, DEAR, steps=(here, Step(model="dear")))
        assert way(db) == [("extractive", None)]
        assert way(db, replace(QUESTION, collection_id="col_2")) == [("dear", None), ("extractive", None)]

    def test_the_newest_is_in_force_and_an_empty_one_is_the_default(self, db: Database):
        keep(db, DEAR, CHEAP, steps=(Step(model="dear"),))
        with db.begin() as session:
            assert routing.replace(session, [Step(model="cheap")]).steps == (Step(model="cheap"),)
        assert [name for name, _ in way(db)] == ["cheap", "extractive"]
        with db.begin() as session:
            routing.replace(session, [])
        assert [name for name, _ in way(db)] == ["cheap", "dear", "extractive"]

    def test_a_step_whose_model_was_removed_is_left_out(self, db: Database):
        keep(db, DEAR, CHEAP, steps=(Step(model="dear"), Step(model="cheap")))
        with db.begin() as session:
            catalogue.remove(session, "dear")
        assert [name for name, _ in way(db)] == ["cheap", "extractive"]

    def test_names_a_model_twice(self, db: Database):
        keep(db, DEAR)
        with db.begin() as session, pytest.raises(BadRoute):
            routing.replace(session, [Step(model="dear"), Step(model="dear", shortest=9)])

    def test_names_a_model_that_there_is_not(self, db: Database):
        with db.begin() as session, pytest.raises(ModelUnknown):
            routing.replace(session, [Step(model="dear")])


class TestWanted:
    def test_is_asked_first_also_as_a_candidate(self, db: Database):
        keep(db, CHEAP, replace(DEAR, status="candidate"))
        assert way(db, wanted="dear") == [("dear", None), ("cheap", None), ("extractive", None)]

    def test_is_passed_over_when_disabled(self, db: Database):
        keep(db, CHEAP, replace(DEAR, status="disabled"))
        assert way(db, wanted="dear") == [("dear", "disabled"), ("cheap", None), ("extractive", None)]

    def test_under_the_conditions_of_its_step(self, db: Database):
        keep(db, replace(DEAR, status="candidate"), steps=(Step(model="dear", collections=("col_2",)),))
        assert way(db, wanted="dear") == [("dear", "condition"), ("extractive", None)]
        assert way(db, replace(QUESTION, collection_id="col_2"), wanted="dear")[0] == ("dear", None)

    def test_one_whose_context_is_too_short(self, db: Database):
        keep(db, DEAR)
        assert way(db, replace(QUESTION, tokens=10_000), wanted="dear")[0] == ("dear", "context")

    def test_the_last_resort_alone(self, db: Database):
        keep(db, CHEAP)
        assert way(db, wanted="extractive")[0] == ("extractive", None)


class TestCatalogue:
    def test_keeps_what_it_is_given(self, db: Database):
        entry = replace(DEAR, base_url="http://localhost:1/v1", key="mine", region="eu", licence="MIT")
        keep(db, entry)
        with db.read() as session:
            assert catalogue.get(session, "dear") == entry
            assert catalogue.entries(session) == [entry, EXTRACTIVE]

    def test_switches_and_removes(self, db: Database):
        keep(db, DEAR)
        with db.begin() as session:
            assert catalogue.switch(session, "dear", "disabled").status == "disabled"
            catalogue.remove(session, "dear")
            with pytest.raises(ModelNotFound):
                catalogue.get(session, "dear")

    def test_the_last_resort_cannot_be_changed(self, db: Database):
        with db.begin() as session:
            for change in (
                lambda: catalogue.put(session, replace(DEAR, name="extractive")),
                lambda: catalogue.put(session, replace(EXTRACTIVE, name="mine")),
                lambda: catalogue.switch(session, "extractive", "disabled"),
                lambda: catalogue.remove(session, "extractive"),
            ):
                with pytest.raises(ModelBuiltIn):
                    change()

    def test_cost(self):
        entry = replace(DEAR, cached_price=0.3)
        assert entry.cost(1_000_000, 100_000) == pytest.approx(4.5)
        assert entry.cost(1_000_000, 0, 1_000_000) == pytest.approx(0.3)
        assert replace(DEAR, cached_price=None).cost(1_000_000, 0, 1_000_000) == pytest.approx(3.0)
        assert UNPRICED.cost(1_000_000, 1_000_000) == 0
