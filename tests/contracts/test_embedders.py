"""What every embedder does, and that each of ours does it."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ibid.embedding.hashing import HashingEmbedder
from ibid.embedding.port import Embedder
from ibid.embedding.registry import load_embedder
from ibid.settings import BUNDLED_EMBEDDER, DEFAULT_EMBEDDER, Settings
from tests.running import ENCODERS

TEXTS = [
    "Employees may carry over five days of vacation into the next year.",
    "vacation",
    "",
    "Das Flugzeug wird im Windkanal vermessen. 日本語の文章 🦜 naïve",
    "The dental plan covers two cleanings a year. " * 60,
    "\n\t ",
]


class EmbedderContract:
    """Subclasses give the fixture `embedder`."""

    def test_vectors_are_unit_rows_in_the_order_of_the_texts(self, embedder: Embedder):
        vectors = embedder.encode(TEXTS)
        assert vectors.shape == (len(TEXTS), embedder.dimensions)
        assert vectors.dtype == np.float32
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-5)
        for text, vector in zip(TEXTS, vectors, strict=True):
            assert embedder.encode([text])[0] == pytest.approx(vector, abs=1e-5)

    def test_no_texts(self, embedder: Embedder):
        assert embedder.encode([]).shape == (0, embedder.dimensions)
        assert embedder.count_tokens([]) == []

    def test_the_same_text_gives_the_same_vector(self, embedder: Embedder):
        assert np.array_equal(embedder.encode(TEXTS), embedder.encode(TEXTS))

    def test_a_question_is_nearest_to_what_answers_it(self, embedder: Embedder):
        passages = embedder.encode(
            [
                "The dental plan covers two cleanings a year.",
                "Employees may carry over five days of vacation into the next year.",
                "Shock waves form at supersonic speed in front of a blunt body.",
            ]
        )
        question = embedder.encode_query("How many vacation days can be carried over?")
        assert question.shape == (embedder.dimensions,)
        assert question.dtype == np.float32
        assert float(np.linalg.norm(question)) == pytest.approx(1.0, abs=1e-5)
        assert int(np.argmax(passages @ question)) == 1

    def test_tokens_are_counted_and_never_cut(self, embedder: Embedder):
        short, long, empty = embedder.count_tokens(["vacation", "vacation " * 5000, ""])
        assert short >= 1
        assert long == 5000 * short > embedder.max_tokens
        assert empty == 0

    def test_what_is_beyond_the_budget_is_cut(self, embedder: Embedder):
        budget = "vacation " * embedder.max_tokens
        within, beyond, shorter = embedder.encode([budget, budget + "turbine engine " * 50, "turbine engine"])
        assert within == pytest.approx(beyond, abs=1e-5)
        assert float(within @ shorter) < 0.9

    def test_threads_may_share_it(self, embedder: Embedder):
        expected = embedder.encode(TEXTS)

        def work(_: int) -> bool:
            same = np.allclose(embedder.encode(TEXTS), expected, atol=1e-5)
            return same and embedder.count_tokens(["vacation"]) == embedder.count_tokens(["vacation"])

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(work, range(4)))

    def test_names_itself(self, embedder: Embedder):
        assert embedder.name
        assert len(embedder.fingerprint) == 64


class TestHashing(EmbedderContract):
    @pytest.fixture
    def embedder(self):
        return HashingEmbedder()


@pytest.fixture(scope="module")
def bundled() -> Embedder:
    """Loading takes seconds, and nothing that a test does changes it."""
    return load_embedder(BUNDLED_EMBEDDER, Settings())


class TestBundled(EmbedderContract):
    @pytest.fixture
    def embedder(self, bundled):
        return bundled

    def test_is_the_model_it_says(self, embedder):
        assert (embedder.dimensions, embedder.max_tokens) == (384, 254)
        assert embedder.count_tokens(["Employees carry over vacation."]) == [5]
        # Sentences and cosines from the front page of the library's documentation.
        vectors = embedder.encode(
            ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
        )
        assert (vectors @ vectors.T)[np.triu_indices(3, 1)] == pytest.approx(
            [0.6660, 0.1046, 0.1411], abs=1e-3
        )


@pytest.fixture(scope="module")
def int8() -> Embedder:
    return load_embedder(DEFAULT_EMBEDDER, Settings(encoder_dir=str(ENCODERS)))


class TestInt8(EmbedderContract):
    @pytest.fixture
    def embedder(self, int8):
        return int8

    def test_is_the_model_it_says(self, embedder, bundled):
        assert (embedder.name, embedder.dimensions) == (DEFAULT_EMBEDDER, bundled.dimensions)
        assert embedder.max_tokens == bundled.max_tokens
        assert embedder.fingerprint != bundled.fingerprint

    def test_a_text_has_one_vector_whatever_is_encoded_beside_it(self, embedder):
        together = embedder.encode(TEXTS)
        assert all(
            np.array_equal(embedder.encode([text])[0], row) for text, row in zip(TEXTS, together, strict=True)
        )
