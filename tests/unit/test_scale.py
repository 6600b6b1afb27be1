"""The multiplied knowledge base of `make bench-scale`: what is in it, and that nothing of it is held all at once."""

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select

from benchmarks import machine, multiplied, scale, searches, stocking
from benchmarks.multiplied import AT_ONCE, PER_DOCUMENT, Base
from benchmarks.stocking import NEAREST, Nearest, Stocked
from evals.filling import kit_of
from evals.vectors import Vectors
from ibid.db.tables import ChunkRow, Document, Embedding
from ibid.embedding.bm25 import bm25_for
from ibid.embedding.hashing import HashingEmbedder
from ibid.types import SparseConfig
from retrieval.search import search

TEXTS = [f"The {animal} sleeps in room {number}." for number in range(4) for animal in ("owl", "fox", "hare")]
QUESTIONS = ("Where does the owl sleep?", "Which animal sleeps in room 2?")
CHUNKS = 47


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return multiplied.base_of(TEXTS, Vectors(HashingEmbedder(), tmp_path / "kept"), bm25_for(SparseConfig()))


@pytest.fixture
def stocked(base: Base, tmp_path: Path) -> Stocked:
    return stocking.stock(tmp_path / "stocked", base, CHUNKS, HashingEmbedder(), QUESTIONS)


class TestBlocks:
    def test_they_are_of_whole_documents_and_never_longer(self, base):
        sizes = [(block.first, len(block.vectors)) for block in multiplied.blocks(base, 2 * AT_ONCE + 7)]
        assert sizes == [(0, AT_ONCE), (AT_ONCE, AT_ONCE), (2 * AT_ONCE, 7)]
        assert AT_ONCE % PER_DOCUMENT == 0

    def test_the_first_round_is_as_it_is(self, base):
        (block,) = multiplied.blocks(base, len(TEXTS))
        assert block.texts == tuple(TEXTS)
        np.testing.assert_array_equal(block.vectors, base.vectors)
        assert [words.indices for words in block.words] == [tuple(indices) for indices, _ in base.words]

    def test_the_others_are_near_it_with_fewer_words(self, base):
        (block,) = multiplied.blocks(base, 400)
        again = block.vectors[len(TEXTS) :]
        of = np.arange(len(TEXTS), 400) % len(TEXTS)
        cosines = np.sum(again * base.vectors[of], axis=1)
        assert np.linalg.norm(again, axis=1) == pytest.approx(1, abs=1e-5)
        assert 0.7 < cosines.mean() < 0.85
        kept = [
            set(words.indices) <= set(base.words[at][0])
            for words, at in zip(block.words[len(TEXTS) :], of, strict=True)
        ]
        assert all(kept)

    def test_they_are_the_same_in_every_run(self, base):
        first, second = (list(multiplied.blocks(base, 60)) for _ in range(2))
        np.testing.assert_array_equal(first[0].vectors, second[0].vectors)
        assert first[0].words == second[0].words


class TestNearest:
    def test_they_are_those_that_computing_all_finds(self):
        rng = np.random.default_rng(1)
        questions, vectors = (rng.normal(size=(size, 16)).astype(np.float32) for size in (5, 300))
        nearest = Nearest(questions)
        for first in range(0, 300, 70):
            numbers = np.arange(first, min(first + 70, 300))
            nearest.see(numbers, vectors[numbers])
        expected = np.argsort(-(questions @ vectors.T), axis=1)[:, :NEAREST]
        assert nearest.numbers() == expected.tolist()


class TestStock:
    def test_each_chunk_has_its_row_its_vector_and_its_point(self, stocked, tmp_path):
        parts = stocking.parts_of(tmp_path / "stocked", "hashing")
        with parts.db.read() as session:
            counts = [
                session.scalar(select(func.count()).select_from(table))
                for table in (ChunkRow, Embedding, Document)
            ]
            ids = set(session.scalars(select(ChunkRow.id)))
        points = {ref.id for refs in parts.store.scan(stocked.generation) for ref in refs}
        parts.close()
        assert counts == [CHUNKS, CHUNKS, 5]
        assert points == ids == {stocking.point_id(stocked.generation, number) for number in range(CHUNKS)}

    def test_the_reader_sees_every_other_document(self, stocked, tmp_path):
        parts = stocking.parts_of(tmp_path / "stocked", "hashing")
        try:
            found = search(kit_of(parts), stocking.READER, stocking.COLLECTION, QUESTIONS[0], 50)
        finally:
            parts.close()
        assert {hit.document_id for hit in found.hits} == {"doc_0", "doc_2", "doc_4"}
        nearest = {chunk for row in stocked.nearest for chunk in row}
        open_to_all = {
            stocking.point_id(stocked.generation, number) for number in range(CHUNKS) if number // 10 % 2 == 0
        }
        assert nearest <= open_to_all

    def test_what_is_there_is_found_again(self, stocked, tmp_path):
        assert stocking.noted(tmp_path / "stocked") == stocked
        assert scale.stock(tmp_path / "stocked", 9, 9, "hashing") == stocked

    @pytest.mark.skipif(not machine.LINUX, reason="what a process maps is told by Linux only")
    def test_it_is_searched_part_by_part(self, stocked, tmp_path):
        measured = searches.measure(tmp_path / "stocked", stocked, 4)
        assert measured.spent.keys() == set(searches.PARTS)
        assert measured.recall == 1
        assert measured.disk["rows"] > 0
        assert "47 chunks, 4 searches" in searches.told(measured)


class TestFiles:
    @pytest.mark.parametrize(
        ("path", "counts"),
        [
            ("vectors/gen_1/shard-1/segments/1/vector_index-dense/links_compressed.bin", True),
            ("vectors/gen_1/shard-1/segments/1/vector_storage-dense/quantized.data", True),
            ("vectors/gen_1/shard-1/segments/1/vector_storage-dense/matrix.dat", False),
            ("vectors/gen_1/shard-1/segments/1/vector_index-bm25/inverted_index.dat", False),
        ],
    )
    def test_what_a_search_of_the_graph_reads(self, path, counts):
        assert searches.of_graph(path) is counts


class TestRoom:
    def test_what_does_not_fit_is_refused_before_it_begins(self, tmp_path):
        with pytest.raises(SystemExit, match=r"10,000,000,000 chunks need 100001\.0 GB of memory"):
            scale.refuse_what_does_not_fit(tmp_path, 10_000_000_000)
        scale.refuse_what_does_not_fit(tmp_path, 1)


class TestRows:
    def measured(self, chunks: int, p95: float) -> searches.Measured:
        at = dict.fromkeys(searches.PERCENTILES, p95)
        spent = dict.fromkeys(searches.PARTS, at)
        return searches.Measured(chunks, 1, spent, 1.0, {}, 440 * chunks, 0, 0, 0)

    def test_the_largest_is_compared_with_the_smallest(self):
        made = searches.rows([self.measured(size, p95) for size, p95 in ((10, 20), (100, 25), (1000, 30))])
        assert (made[-1].name, made[-1].value) == ("p95 of 1,000 chunks against 10", 1.5)
        assert made[-1].verdict == "≤ 2 met"

    def test_one_size_is_compared_with_nothing(self):
        (*_, recall, graph) = searches.rows([self.measured(10, 20)])
        assert recall.verdict == "≥ 0.99 met"
        assert (graph.value, graph.verdict) == (pytest.approx(0.44), "≤ 0.7 met")

    def test_a_search_has_targets_at_one_hundred_thousand(self):
        made = searches.rows([self.measured(searches.SERVED, 20)])
        verdicts = {row.name.rpartition(" ")[2]: row.verdict for row in made if "search" in row.name}
        assert verdicts == {"p50": "≤ 8 MISSED", "p95": "", "p99": "≤ 25 met"}
