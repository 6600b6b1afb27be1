"""What an evaluation says: measures by hand, intervals, tests, and the command from a folder to its page."""

import json
import re
from pathlib import Path

import pytest

from evals import command, measures, page
from evals.measures import MEASURES
from evals.sets import Gold, Question
from evals.ways import WayUnknown, plan_of
from ibid.embedding.hashing import HashingEmbedder
from ibid.types import Hit, Legs
from retrieval import certainty
from retrieval.plan import Plan
from tests.unit.test_question_sets import lines

TEXTS = {
    "cats": "Cats sleep on the warm windowsill all day long.",
    "dogs": "Dogs bark at the postman every morning.",
    "cows": "Cows give milk and eat grass on the meadow.",
    "empty": "",
}
QUESTIONS = {
    "1": "Where do cats sleep <script>alert(1)</script>?",
    "2": "Who barks at the postman?",
    "3": "Who gives milk?",
}
HOSTILE = "<script>alert(1)</script>"


def hit(document: str, *, start: int = 0, end: int = 10, number: int | None = None) -> Hit:
    place = f"{document}:{start}"
    return Hit("doc", document, "ver", 1, "gen", place, "", start, end, number, (), 1.0, Legs(None, None))


def measured(kind: str, name: str, gold: list[Gold], hits: list[Hit]) -> float:
    (wanted,) = (measure for measure in MEASURES[kind] if measure.name == name)
    (value,) = measures.values(wanted, kind, [Question("1", "?", tuple(gold))], {"1": hits})
    return value


class TestMeasures:
    def test_ndcg_where_the_best_passage_of_a_document_ranks(self):
        """Grades 2 and 1 found second and third: (2/log2(3) + 1/log2(4)) / (2/log2(2) + 1/log2(3))."""
        hits = [hit("x"), hit("a"), hit("a", start=9), hit("b")]
        value = measured("documents", "nDCG@10", [Gold("a", 2), Gold("b", 1)], hits)
        assert value == pytest.approx((2 / 1.584963 + 1 / 2) / (2 + 1 / 1.584963), abs=1e-5)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("gold page first", 0),
            ("gold page in five", 1),
            ("gold page or next first", 1),
            ("gold page or next in five", 1),
        ],
    )
    def test_pages(self, name, value):
        hits = [hit("a", number=8), hit("b", number=7), hit("a", number=7)]
        assert measured("pages", name, [Gold("a", page=7)], hits) == value

    @pytest.mark.parametrize(
        ("name", "value"), [("span first", 0), ("span in five", 1), ("share of spans in five", 2 / 3)]
    )
    def test_spans(self, name, value):
        gold = [Gold("a", start=start, end=start + 5) for start in (12, 17, 90)]
        touching = hit("a", start=0, end=12)
        assert measured("spans", name, gold, [touching, hit("a", start=12, end=30)]) == pytest.approx(value)

    def test_nothing_found_is_nothing(self):
        assert measured("documents", "nDCG@10", [Gold("a")], []) == 0

    def test_first_is_the_rank_of_the_hit(self):
        question = Question("1", "?", (Gold("b"), Gold("c", grade=0)))
        assert measures.first("documents", question, [hit("c"), hit("a"), hit("b")]) == 3
        assert measures.first("documents", question, [hit("a")]) is None


class TestInterval:
    VALUES = (0.0, 0.2, 0.5, 0.5, 0.7, 1.0, 1.0)

    def test_holds_the_mean_and_is_the_same_each_time(self):
        found = certainty.interval(self.VALUES)
        assert found.low < found.mean < found.high
        assert found.mean == pytest.approx(sum(self.VALUES) / 7)
        assert found == certainty.interval(self.VALUES)

    def test_is_a_point_where_all_are_equal(self):
        found = certainty.interval([0.5] * 4)
        assert (found.low, found.mean, found.high, found.n) == (0.5, 0.5, 0.5, 4)

    def test_has_about_the_width_of_the_normal_one(self):
        found = certainty.interval([0.0, 1.0] * 200)
        assert found.high - found.low == pytest.approx(2 * 1.96 * 0.5 / 400**0.5, rel=0.1)


class TestCompare:
    def test_equal_runs_do_not_differ(self):
        found = certainty.compare([0.3, 0.9, 0.1], [0.3, 0.9, 0.1])
        assert (found.p, found.difference.mean, found.equal) == (1.0, 0.0, 3)

    def test_what_differs_clearly_is_not_by_chance(self):
        first, second = [0.9, 0.8, 1.0, 0.7] * 8, [0.4, 0.5, 0.6, 0.7] * 8
        found = certainty.compare(first, second)
        assert found.p < 0.001
        assert (found.better, found.worse, found.equal) == (24, 0, 8)
        assert certainty.compare(second, first).difference.mean == -found.difference.mean

    def test_three_questions_prove_nothing(self):
        """All signs equal: 2 of 8 flips are as extreme."""
        assert certainty.compare([0.5] * 3, [0.4] * 3).p == pytest.approx(0.25, abs=0.02)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A set in the shape of BEIR."""
    made = tmp_path / "animals"
    lines(made / "corpus.jsonl", *({"_id": key, "title": "", "text": text} for key, text in TEXTS.items()))
    lines(made / "queries.jsonl", *({"_id": key, "text": text} for key, text in QUESTIONS.items()))
    (made / "qrels").mkdir()
    (made / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\n1\tcats\t1\n2\tdogs\t1\n3\tcows\t1\n"
    )
    return made


class TestCommand:
    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch, tmp_path):
        monkeypatch.setenv("IBID_EMBEDDER", "hashing")
        monkeypatch.setenv("IBID_DATA_DIR", str(tmp_path / "data"))

    def evaluate(self, folder: Path, name: str = "first") -> tuple[dict, str]:
        report, numbers = folder.parent / f"{name}.html", folder.parent / f"{name}.json"
        command.retrieval(folder, "fused", "dense", folder=None, report=report, as_json=numbers)
        return json.loads(numbers.read_text()), report.read_text()

    def test_measures_prints_and_writes(self, folder, capsys):
        numbers, text = self.evaluate(folder)
        assert numbers["summary"]["fused"]["nDCG@10"] == {"mean": 1.0, "low": 1.0, "high": 1.0, "n": 3}
        assert numbers["empty_documents"] == ["empty"]
        assert [one["first_found_at"]["fused"] for one in numbers["questions"]] == [1, 1, 1]
        assert "3 in 3 passages, and 1 skipped as empty" in text
        assert text.count("<svg") == 2
        assert "fused minus dense" in capsys.readouterr().out

    def test_page_holds_nothing_live_and_nothing_from_elsewhere(self, folder):
        _, text = self.evaluate(folder)
        assert "<script" not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
        ids = re.findall(r'\bid="([^"]*)"', text)
        assert len(ids) == len(set(ids))
        assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)

    def test_again_gives_the_same_and_embeds_nothing(self, folder, monkeypatch):
        first = self.evaluate(folder)
        encoded = []
        original = HashingEmbedder.encode
        monkeypatch.setattr(
            HashingEmbedder,
            "encode",
            lambda self, texts: encoded.extend(texts) or original(self, texts),
        )
        assert self.evaluate(folder, "second") == first
        assert not set(encoded) - set(QUESTIONS.values())

    def test_what_is_kept_is_for_its_own_user(self, folder, tmp_path):
        self.evaluate(folder)
        assert [path.stat().st_mode & 0o077 for path in (tmp_path / "data", tmp_path / "data" / "evals")] == [
            0,
            0,
        ]

    def test_unknown_way(self, folder):
        for written, told in {
            "guess": "fused, dense, sparse, fast",
            "fused,depth=3": "candidates, dense_weight",
            "fused,candidates=1.5": "'1.5' is no value for candidates",
        }.items():
            with pytest.raises(WayUnknown, match=told):
                command.retrieval(folder, written, None, folder=None, report=None, as_json=None)

    def test_a_way_may_turn_knobs(self):
        assert plan_of("sparse, nearby_weight=0.2,candidates=7") == Plan(
            candidates=7, dense_weight=0.0, nearby_weight=0.2
        )

    def test_spans_of_our_own_shape(self, tmp_path):
        made = tmp_path / "own"
        (made / "documents").mkdir(parents=True)
        (made / "documents" / "a.txt").write_text("\n\n".join(TEXTS.values()))
        rows = [
            {"question": "Who barks?", "document": "a.txt", "quote": "Dogs  bark"},
            {"question": "Who flies?", "document": "a.txt", "quote": "Birds fly"},
        ]
        lines(made / "questions.jsonl", *rows)
        numbers, _ = self.evaluate(made)
        assert numbers["summary"]["fused"]["span first"]["mean"] == 1
        assert numbers["made_with"]["spans that stand in no document"] == "1"
        assert len(numbers["questions"]) == 1


class TestTable:
    def test_escapes_heads_and_cells(self):
        assert HOSTILE not in page._table((HOSTILE,), [(HOSTILE,)], numbers=0)
