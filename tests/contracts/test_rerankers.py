"""What every reranker must do, on one with random weights: none comes with the project, and none is needed to tell."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from ibid.embedding import folders
from ibid.reranking.cross_encoder import CrossEncoderReranker
from ibid.reranking.errors import RerankerUnavailable
from ibid.reranking.words import WordsReranker
from ibid.settings import BUNDLED_EMBEDDER, Settings
from retrieval.plan import Plan
from retrieval.reranking import Reranker, RerankerMissing, load_reranker
from retrieval.search import search
from tests.unit.shelf import ADMIN, ANN, Shelf

QUESTION = "When does the tide turn?"
TEXTS = ["The tide turns at noon.", "Bread needs flour, water and salt.", "", "The moon. " * 400]


def made_of(folder: Path, labels: int) -> Path:
    """A tiny cross-encoder with random weights, the same each time."""
    torch.manual_seed(7)
    tokenizer = AutoTokenizer.from_pretrained(folders.find(BUNDLED_EMBEDDER), local_files_only=True)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=0.5,
        num_labels=labels,
    )
    tokenizer.model_max_length = 128
    tokenizer.save_pretrained(folder)
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> Reranker:
    return CrossEncoderReranker(str(made_of(tmp_path_factory.mktemp("reranker"), 1)))


@pytest.fixture
def shelf(tmp_path: Path, reranker: Reranker) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path, reranker=reranker)
    yield shelf
    shelf.close()


class RerankerContract:
    """To be inherited by a class of tests for each reranker, which gives it as the fixture `made`."""

    def test_a_score_for_each_text(self, made: Reranker):
        scores = made.scores(QUESTION, TEXTS)
        assert len(scores) == len(TEXTS)
        assert len(set(scores)) > 1

    def test_nothing_for_nothing(self, made: Reranker):
        assert made.scores(QUESTION, []) == []

    def test_the_others_do_not_matter(self, made: Reranker):
        together = made.scores(QUESTION, TEXTS)
        alone = [made.scores(QUESTION, [text])[0] for text in TEXTS]
        backwards = made.scores(QUESTION, TEXTS[::-1])[::-1]
        assert alone == pytest.approx(together, abs=1e-5)
        assert backwards == pytest.approx(together, abs=1e-5)

    def test_the_question_matters(self, made: Reranker):
        assert made.scores(QUESTION, TEXTS[:1]) != made.scores("Who bakes bread?", TEXTS[:1])

    def test_several_threads(self, made: Reranker):
        expected = made.scores(QUESTION, TEXTS)
        found: list[list[float]] = []
        threads = [
            threading.Thread(target=lambda: found.append(made.scores(QUESTION, TEXTS))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4
        assert all(scores == pytest.approx(expected, abs=1e-5) for scores in found)


class TestWords(RerankerContract):
    @pytest.fixture
    def made(self) -> Reranker:
        return WordsReranker()

    def test_counts_the_words_of_the_question(self, made: Reranker):
        assert made.scores("turning tides", ["The tide turns.", "The tide.", "", "Bread."]) == [1, 0.5, 0, 0]
        assert made.scores("is it?", ["It is."]) == [0.0]


class TestCrossEncoder(RerankerContract):
    @pytest.fixture
    def made(self, reranker: Reranker) -> Reranker:
        return reranker

    def test_a_folder_that_is_not_there(self, tmp_path: Path):
        with pytest.raises(RerankerUnavailable, match="no reranker"):
            CrossEncoderReranker(str(tmp_path / "none")).scores(QUESTION, TEXTS)

    def test_a_folder_of_something_else(self, tmp_path: Path):
        (tmp_path / "config.json").write_text("{}")
        with pytest.raises(RerankerUnavailable, match="could not be loaded"):
            CrossEncoderReranker(str(tmp_path)).scores(QUESTION, TEXTS)

    def test_one_that_gives_several_scores(self, tmp_path: Path):
        with pytest.raises(RerankerUnavailable, match="2 scores"):
            CrossEncoderReranker(str(made_of(tmp_path, 2))).scores(QUESTION, TEXTS)

    def test_an_encoder_is_none(self):
        with pytest.raises(RerankerUnavailable, match="no cross-encoder"):
            CrossEncoderReranker(BUNDLED_EMBEDDER).scores(QUESTION, TEXTS)


def test_the_settings_name_one_or_none(tmp_path: Path):
    assert load_reranker(Settings(data_dir=tmp_path)) is None
    for name, kind in (("words", WordsReranker), ("/a/folder", CrossEncoderReranker)):
        loaded = load_reranker(Settings(data_dir=tmp_path, reranker=name))
        assert isinstance(loaded, kind)
        assert loaded.name == name


class TestSearch:
    def test_with_all_the_weight_the_order_is_the_rerankers(self, shelf: Shelf, reranker: Reranker):
        texts = [
            f"The tide turns at {n} o'clock, {word}."
            for n, word in enumerate(["so", "as", "to", "be", "of", "use"])
        ]
        for text in texts:
            shelf.add(text, text)
        found = search(
            shelf.kit, ADMIN, "shelf", QUESTION, 6, plan=Plan(rerank=6, rerank_weight=1.0, nearby_weight=0)
        )
        plain = search(shelf.kit, ADMIN, "shelf", QUESTION, 6, plan=Plan(nearby_weight=0))
        assert "rerank" in found.timings
        assert "rerank" not in plain.timings
        scores = reranker.scores(QUESTION, [f"{hit.document}\n{hit.text}" for hit in found.hits])
        assert scores == sorted(scores, reverse=True)
        assert [hit.text for hit in found.hits] != [hit.text for hit in plain.hits]
        assert {hit.text for hit in found.hits} == {hit.text for hit in plain.hits}

    def test_without_weight_the_order_is_that_of_the_fusion(self, shelf: Shelf):
        for n in range(6):
            shelf.add(f"note {n}", f"The tide turns at {n} o'clock.")
        orders = [
            [hit.document for hit in search(shelf.kit, ADMIN, "shelf", QUESTION, 6, plan=plan).hits]
            for plan in (Plan(), Plan(rerank=6, rerank_weight=0.0))
        ]
        assert orders[0] == orders[1]

    def test_nothing_that_the_asker_may_not_see_is_read(self, tmp_path: Path, reranker: Reranker):
        class Reading:
            name = "reading"

            def __init__(self) -> None:
                self.texts: list[str] = []

            def scores(self, question: str, texts: Sequence[str]) -> list[float]:
                self.texts += texts
                return reranker.scores(question, texts)

        reading = Reading()
        shelf = Shelf(tmp_path, reranker=reading)
        for n in range(6):
            grants = ["user:ann"] if n % 2 else ["user:bob"]
            shelf.add(f"note {n}", f"The tide turns at {n} o'clock.", grants=grants)
        search(shelf.kit, ANN, "shelf", QUESTION, 6, plan=Plan(rerank=6))
        shelf.close()
        assert sorted(text.split("\n")[0] for text in reading.texts) == ["note 1", "note 3", "note 5"]

    def test_each_text_is_read_once(self, tmp_path: Path):
        class Counting(WordsReranker):
            read: list[str]

            def scores(self, question: str, texts: Sequence[str]) -> list[float]:
                self.read += texts
                return super().scores(question, texts)

        counting = Counting()
        counting.read = []
        shelf = Shelf(tmp_path, reranker=counting)
        for n in range(9):
            shelf.add(f"note {n}", f"The tide turns at {n} o'clock.")
        # Nine of two candidates at a time: several rounds.
        hits = search(shelf.kit, ADMIN, "shelf", QUESTION, 9, plan=Plan(candidates=2, rerank=20)).hits
        shelf.close()
        assert len(hits) == 9
        assert len(counting.read) == len(set(counting.read)) == 9

    def test_without_a_reranker_it_is_refused(self, tmp_path: Path):
        shelf = Shelf(tmp_path)
        shelf.add("note", "The tide turns.")
        with pytest.raises(RerankerMissing, match="IBID_RERANKER"):
            search(shelf.kit, ADMIN, "shelf", QUESTION, 1, plan=Plan(rerank=6))
        shelf.close()
