"""Choosing weights on questions: what is measured, what may be chosen, and what keeps a choice from counting."""

import json
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibid.fits import GENERATED, GIVEN
from ibid.vectors.port import Candidate
from retrieval import fitting, making
from retrieval.fitting import FEWEST, FOLDS, GRID, LEGS, PRESET, Judged, Question, fold_of
from retrieval.plan import BALANCED

DENSE, SPARSE = LEGS["dense"], LEGS["sparse"]
ONLY_DENSE = tuple(plan.dense_weight for plan in GRID)
"""The measure of a question that the meaning alone answers."""


def candidate(number: int, dense: float, sparse: float | None) -> Candidate:
    return Candidate(f"c{number}", f"ver_{number}", 5, 50, dense, sparse)


def asked(gold: str, things: dict[str, str] | None = None) -> Question:
    """A question whose best by meaning is c1, and by words c2."""
    candidates = (candidate(1, 0.9, None), candidate(2, 0.1, 3.0), candidate(3, 0.0, 0.5))
    known = things or {each.id: each.id for each in candidates}
    return Question("q", candidates, known, frozenset({gold}))


def noisy(count: int, peak: float = 0.8) -> list[Judged]:
    """Questions that are answered best by so much of the meaning, with some noise."""
    chance = random.Random(1)
    found = []
    for number in range(count):
        base = chance.uniform(0.1, 0.6)
        values = tuple(
            base + 0.4 * (1 - abs(plan.dense_weight - peak)) + chance.uniform(-0.02, 0.02) for plan in GRID
        )
        found.append(Judged(f"question {number}", values))
    return found


class TestMeasure:
    def test_by_hand(self):
        by_words = fitting.judged(asked("c2")).values
        assert by_words[SPARSE] == 1.0
        assert by_words[DENSE] == pytest.approx(1 / 1.584962500721156)  # second of one that is wanted

    def test_a_thing_counts_where_its_best_chunk_ranks(self):
        question = asked("doc_b", {"c1": "doc_a", "c2": "doc_b", "c3": "doc_b"})
        assert fitting.judged(question).values[DENSE] == pytest.approx(1 / 1.584962500721156)

    def test_what_readers_may_not_see_takes_no_place(self):
        question = asked("c2", {"c2": "c2", "c3": "c3"})
        assert fitting.judged(question).values[DENSE] == 1.0

    def test_what_was_not_proposed_is_not_found(self):
        assert set(fitting.judged(asked("elsewhere")).values) == {0.0}

    def test_several_answers_in_the_best_order_are_all(self):
        question = Question("q", asked("c1").candidates, {"c1": "a", "c2": "b"}, frozenset({"a", "b"}))
        assert set(fitting.judged(question).values) == {1.0}


class TestGrid:
    def test_holds_the_preset_and_each_leg_alone(self):
        assert GRID[PRESET] == BALANCED
        assert (GRID[DENSE].dense_weight, GRID[DENSE].nearby_weight) == (1.0, 0.0)
        assert (GRID[SPARSE].dense_weight, GRID[SPARSE].nearby_weight) == (0.0, 0.0)
        assert len(set(GRID)) == 44

    def test_without_questions_the_preset_is_chosen(self):
        report = fitting.fit([], GIVEN)
        assert (report.weights, report.means, report.adopted) == ((0.5, 0.3), None, False)

    def test_as_little_as_possible_is_moved(self):
        """All above 0.6 are as good as each other, so 0.7 is enough, and the neighbour stays as it is."""
        steps = [Judged(str(n), tuple(float(plan.dense_weight > 0.65) for plan in GRID)) for n in range(40)]
        assert fitting.fit(steps, GIVEN).weights == (0.7, 0.3)

    def test_what_is_within_a_standard_error_of_the_preset_stays(self):
        chance = random.Random(2)
        alike = [Judged(str(n), tuple(chance.random() for _ in GRID)) for n in range(60)]
        assert not fitting.fit(alike, GIVEN).adopted


class TestFolds:
    def test_each_is_a_part_of_many(self):
        sizes = Counter(fold_of(f"question {n}") for n in range(1000))
        assert set(sizes) == set(range(FOLDS))
        assert min(sizes.values()) > 150

    def test_weights_never_see_the_questions_that_they_are_counted_on(self):
        """Whatever the questions of one fold say, its weights stay what they are."""
        honest = noisy(60)
        for fold in range(FOLDS):
            turned = [
                Judged(each.id, each.values[::-1]) if fold_of(each.id) == fold else each for each in honest
            ]
            before, after = fitting.fit(honest, GIVEN), fitting.fit(turned, GIVEN)
            assert before.fold_weights[fold] == after.fold_weights[fold]

    def test_a_fold_that_disagrees_is_counted_against_the_weights(self):
        honest = noisy(60)
        lying = [Judged(each.id, each.values[::-1]) if fold_of(each.id) == 0 else each for each in honest]
        assert fitting.fit(lying, GIVEN).means["fitted"] < fitting.fit(honest, GIVEN).means["fitted"]

    @given(st.permutations(range(40)))
    def test_the_order_of_questions_changes_no_choice(self, order: list[int]):
        questions = noisy(40)
        mixed = fitting.fit([questions[n] for n in order], GIVEN)
        assert (mixed.weights, mixed.fold_weights) == (
            fitting.fit(questions, GIVEN).weights,
            fitting.fit(questions, GIVEN).fold_weights,
        )


class TestGuard:
    def test_what_is_better_than_chance_is_adopted(self):
        report = fitting.fit(noisy(60), GIVEN)
        assert report.adopted
        assert report.weights[0] == 0.8
        assert report.gain.low > 0
        assert report.means["fitted"] >= max(report.means["dense"], report.means["sparse"])
        assert "better" in report.reason

    def test_too_few_questions_change_nothing(self):
        report = fitting.fit(noisy(FEWEST - 1), GIVEN)
        assert not report.adopted
        assert f"There are {FEWEST - 1} questions" in report.reason
        assert fitting.fit(noisy(FEWEST), GIVEN).adopted

    def test_a_tie_changes_nothing(self):
        report = fitting.fit([Judged(str(n), (0.5,) * len(GRID)) for n in range(50)], GIVEN)
        assert (report.adopted, report.weights) == (False, (0.5, 0.3))
        assert "nothing is changed" in report.reason

    def test_worse_than_the_better_leg_is_not_adopted(self):
        """Generated questions may not move so far as the leg that answers all of them alone."""
        report = fitting.fit(noisy(60, peak=1.0), GENERATED)
        assert report.means["preset"] < report.means["fitted"] < report.means["dense"]
        assert not report.adopted
        assert "dense leg alone" in report.reason

    def test_a_gain_that_may_be_chance_is_not_adopted(self):
        """One question in thirty gains, and all others are alike."""
        rare = [Judged(f"question {n}", ONLY_DENSE if n == 7 else (0.5,) * len(GRID)) for n in range(30)]
        assert not fitting.fit(rare, GIVEN).adopted

    def test_questions_of_its_own_text_move_the_meaning_a_little_at_most(self):
        assert fitting.fit(noisy(60, peak=1.0), GENERATED).weights[0] <= 0.7
        assert fitting.fit(noisy(60, peak=0.0), GENERATED).weights[0] >= 0.3
        assert "favours" in fitting.fit(noisy(60), GENERATED).caution
        assert fitting.fit(noisy(60), GIVEN).caution is None


class TestReport:
    def test_the_same_questions_give_the_same(self):
        assert fitting.fit(noisy(60), GIVEN, 3) == fitting.fit(noisy(60), GIVEN, 3)

    def test_holds_nothing_of_a_question(self):
        told = json.dumps(fitting.fit(noisy(60), GIVEN).as_json())
        assert "question 1" not in told
        assert json.loads(told)["weights"].keys() == {"dense_weight", "nearby_weight"}


SENTENCE = "The quillwort ferry carries forty cars between the harbour and the northern island every morning."


class TestMaking:
    def test_half_of_the_content_words_in_their_order_without_the_rarest(self):
        known = making.holding(
            [SENTENCE, SENTENCE.replace("quillwort", "second"), "The ferry to the island."]
        )
        made = making.question_of(SENTENCE, "chunk-1", known).split()
        content = [
            "quillwort",
            "ferry",
            "carries",
            "forty",
            "cars",
            "harbour",
            "northern",
            "island",
            "morning",
        ]
        assert len(made) == 5
        assert made == [word for word in content if word in made]
        assert "quillwort" not in made

    def test_the_same_each_time_and_another_for_another_chunk(self):
        known = making.holding([SENTENCE])
        made = {key: making.question_of(SENTENCE, key, known) for key in ("a", "b", "c")}
        assert made == {key: making.question_of(SENTENCE, key, known) for key in made}
        assert len(set(made.values())) > 1

    @pytest.mark.parametrize(
        "text", ["", "The end.", "It is what it is, and so are they.", "Ferry. Harbour. Cars."]
    )
    def test_of_too_few_words_none_is_made(self, text: str):
        assert making.question_of(text, "chunk-1", {}) is None
