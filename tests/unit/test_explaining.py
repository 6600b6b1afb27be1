"""Each way in which a search can lose what it should have shown is named."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from ibid import filters, jobs
from ibid.access import DocumentNotFound
from ibid.db.tables import ChunkRow, Document, Version
from ibid.types import JobKind, Scope
from retrieval.explaining import Expected, ExpectedInvalid, Explanation, Stage, explain
from retrieval.plan import BALANCED, Plan
from retrieval.target import Asked
from tests.unit.shelf import ADMIN, ANN, BOB, Shelf, ago

QUESTION = "When does the tide turn?"
TIDES = "The tide turns twice a day.\n\nBread needs flour.\n\nThe moon pulls the sea."


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(tmp_path)
    yield made
    made.close()


def why(
    shelf: Shelf,
    expected: Expected,
    *,
    scope: Scope = ADMIN,
    known: Scope = ADMIN,
    limit: int = 3,
    wanted: filters.Filter | None = None,
    plan: Plan = BALANCED,
    question: str = QUESTION,
) -> Explanation:
    return explain(shelf.kit, known, "shelf", Asked(scope, question, limit, None, wanted, plan), expected)


def test_shown(shelf: Shelf):
    tides = shelf.add("tides.txt", TIDES)
    shelf.add("bread.txt", "Flour and salt.")
    found = why(shelf, Expected(tides, sentence="The tide turns twice a day."))
    assert (found.stage, found.passage_rank, found.version, found.split) == (Stage.SHOWN, 1, 1, False)
    assert (found.dense_rank, found.sparse_rank, found.fused_rank) == (1, 1, 1)


def test_not_read(shelf: Shelf):
    tides = shelf.add("tides.txt", TIDES)
    with shelf.db.begin() as session:
        job = jobs.enqueue(session, JobKind.INGEST, shelf.collection_id, document_id=tides)
        session.execute(update(Version).values(live_from=None, job_id=job.id))
        session.get_one(Document, tides).current_version_id = None
    found = why(shelf, Expected(tides))
    assert found.stage is Stage.NOT_READ
    assert "queued" in found.reason
    assert job.id in found.advice


def test_not_parsed(shelf: Shelf):
    tides = shelf.add("tides.txt", TIDES)
    found = why(shelf, Expected(tides, sentence="The tide turns three times a day."))
    assert found.stage is Stage.NOT_PARSED
    found = why(shelf, Expected(tides, page=7))
    assert found.stage is Stage.NOT_PARSED
    assert "page 7" in found.reason


def test_left_out(shelf: Shelf):
    tides = shelf.add("tides.txt", TIDES)
    with shelf.db.begin() as session:
        (bread,) = (row for row in session.query(ChunkRow) if "Bread" in row.text)
        session.delete(bread)
    assert why(shelf, Expected(tides, sentence="Bread needs flour.")).stage is Stage.LEFT_OUT


def test_split(shelf: Shelf):
    tides = shelf.add("tides.txt", TIDES)
    found = why(shelf, Expected(tides, sentence="day.\n\nBread needs"))
    assert found.split
    assert len(found.chunk_ids) == 2


def test_not_live(shelf: Shelf):
    tides = shelf.add("tides.txt", TIDES)
    found = why(shelf, Expected(tides), scope=replace(ADMIN, as_of=ago(hours=1)))
    assert found.stage is Stage.NOT_LIVE


def test_access(shelf: Shelf):
    tides = shelf.add("tides.txt", TIDES, grants=["user:ann"])
    assert why(shelf, Expected(tides), scope=ANN).stage is Stage.SHOWN
    assert why(shelf, Expected(tides), scope=BOB).stage is Stage.ACCESS


def test_who_may_not_know_of_the_document_is_told_nothing(shelf: Shelf):
    tides = shelf.add("tides.txt", TIDES, grants=["user:ann"])
    for id_ in (tides, "doc_none"):
        with pytest.raises(DocumentNotFound, match=id_):
            why(shelf, Expected(id_), scope=BOB, known=BOB)


def test_filter(shelf: Shelf):
    tides = shelf.add("tides.txt", TIDES, metadata={"team": "sea"})
    for team, stage in (("sea", Stage.SHOWN), ("bakery", Stage.FILTER)):
        wanted = filters.parse({"type": "eq", "key": "team", "value": team})
        assert why(shelf, Expected(tides), wanted=wanted).stage is stage


def test_candidates(shelf: Shelf):
    for n in range(8):
        shelf.add(f"tide {n}", f"The tide turns at {n} o'clock.")
    bread = shelf.add("bread", "Flour and salt.")
    found = why(shelf, Expected(bread), plan=Plan(candidates=4), limit=2)
    assert found.stage is Stage.CANDIDATES
    assert found.dense_rank is not None
    assert found.dense_rank > 4
    assert (found.sparse_rank, found.fused_rank) == (None, None)


def test_fusion(shelf: Shelf):
    for n in range(8):
        shelf.add(f"tide {n}", f"The tide turns at {n} o'clock.")
    bread = shelf.add("bread", "Flour and salt.")
    found = why(shelf, Expected(bread), limit=2)
    assert found.stage is Stage.FUSION
    assert found.fused_rank == 9
    assert "candidate 9 of 9" in found.reason


def test_quoted(shelf: Shelf):
    tides = shelf.add("tides.txt", TIDES)
    for phrase, stage in (("tide turns twice", Stage.SHOWN), ("tide turns thrice", Stage.QUOTED)):
        found = why(shelf, Expected(tides), question=f'When does the "{phrase}"?')
        assert found.stage is stage
    plan = Plan(quoted=False)
    assert why(shelf, Expected(tides), question='Is it "thrice"?', plan=plan).stage is Stage.SHOWN


def test_quoted_words_elsewhere_in_the_document_do_not_count_for_its_other_chunks(shelf: Shelf):
    mine = shelf.add("mine", "When does the tide turn? The tide turns twice.\n\nFlour is weighed on Monday.")
    shelf.add("other", "The tide is weighed on Monday.")
    question = 'When does the tide turn, as "weighed on Monday" says?'
    assert why(shelf, Expected(mine), question=question, limit=2).stage is Stage.SHOWN
    found = why(shelf, Expected(mine), question=question, limit=1)
    assert (found.stage, len(found.chunk_ids)) == (Stage.FUSION, 1)


def test_candidates_are_those_of_the_last_round(shelf: Shelf):
    for n in range(8):
        shelf.add(f"tide {n}", f"The tide turns at {n} o'clock.")
    bread = shelf.add("bread", "Flour and salt.")
    for limit, looked_at in ((2, 2), (5, 8)):  # of two from each leg there are four at most
        found = why(shelf, Expected(bread), plan=Plan(candidates=2), limit=limit)
        assert found.stage is Stage.CANDIDATES
        assert f"among its best {looked_at}." in found.reason


def test_exact_words(shelf: Shelf):
    other = shelf.add("other", "The order was delivered, was delivered.")
    shelf.add("mine", "AB-7 and something else entirely about the sea.")
    shelf.add("bread", "Flour and salt.")
    question = "the order AB-7 was delivered"
    for plan, stage in ((Plan(), Stage.SHOWN), (Plan(exact_weight=1.0), Stage.EXACT)):
        assert why(shelf, Expected(other), question=question, limit=1, plan=plan).stage is stage


def test_budget(shelf: Shelf):
    for n in range(3):
        shelf.add(f"tide {n}", "When does the tide turn? The tide turns at noon.")  # ten tokens here
    other = shelf.add("other", "The tide turns the ship.")
    shelf.add("bread", "Flour and salt.")
    for most, stage in ((0, Stage.SHOWN), (35, Stage.SHOWN), (34, Stage.BUDGET)):
        assert why(shelf, Expected(other), limit=4, plan=Plan(max_tokens=most)).stage is stage


def test_diversity(shelf: Shelf):
    twins = [shelf.add(f"twin {n}", "The tide turns twice a day.") for n in range(2)]
    other = shelf.add("other", "The tide table is printed once a year.")
    stages = {
        id_: [why(shelf, Expected(id_), limit=2, plan=Plan(diversity=much)).stage for much in (0.0, 0.9)]
        for id_ in (*twins, other)
    }
    assert sorted(stages[twin] for twin in twins) == [
        [Stage.SHOWN, Stage.DIVERSITY],
        [Stage.SHOWN, Stage.SHOWN],
    ]
    assert stages[other] == [Stage.FUSION, Stage.SHOWN]


def test_a_page_and_a_sentence_are_one_too_many(shelf: Shelf):
    tides = shelf.add("tides.txt", TIDES)
    with pytest.raises(ExpectedInvalid):
        why(shelf, Expected(tides, page=1, sentence="The tide turns twice a day."))
