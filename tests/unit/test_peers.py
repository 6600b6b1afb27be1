"""The comparison with others: what counts as embedded, how documents rank, and what the page says of a run."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks import machine
from benchmarks.peers import __main__ as program
from benchmarks.peers import driver, environments, page
from benchmarks.peers.coverage import ChunkNotFound, Coverage, coverage, reader
from benchmarks.peers.driver import Chunk, Job
from benchmarks.peers.environments import Peer
from evals.sets import Gold, Question, QuestionSet, text_source
from ibid.embedding import folders
from ibid.settings import BUNDLED_EMBEDDER

WORDS = Peer("Words", "words", ("words==1.2",), "by words")


class WordIndex:
    """Finds the texts that share most words with a question; lines are its chunks."""

    def __init__(self, weights: str) -> None:
        self.texts: dict[str, str] = {}

    def add_files(self, files):
        self.add_texts({file.name: file.read_text() for file in files})

    def add_texts(self, texts):
        self.texts = dict(texts)

    def search(self, question, limit):
        asked = set(question.split())
        return sorted(self.texts, key=lambda name: -len(asked & set(self.texts[name].split())))[:limit]

    def read(self):
        return self.texts, [
            Chunk(name, line) for name, text in self.texts.items() for line in text.splitlines()
        ]

    def tokens(self):
        return 8


def first_words(count):
    return lambda chunk: " ".join(chunk.text.split()[:count])


class TestCoverage:
    def test_all_is_embedded_where_nothing_is_cut(self):
        found = coverage(
            {"a": "one two\n\nthree"}, [Chunk("a", "one  two"), Chunk("a", "three")], first_words(9)
        )
        assert found == Coverage(11, 11)
        assert found.left_out == 0

    def test_what_is_cut_was_never_embedded(self):
        found = coverage({"a": "one two three four"}, [Chunk("a", "one two three four")], first_words(2))
        assert (found.embedded, found.left_out) == (6, pytest.approx(9 / 15))

    def test_what_the_next_chunk_begins_with_is_embedded_there(self):
        chunks = [Chunk("a", "one two three"), Chunk("a", "three four")]
        assert coverage({"a": "one two three four"}, chunks, first_words(2)).left_out == 0

    def test_text_of_no_chunk_counts(self):
        assert coverage({"a": "one", "b": "six"}, [Chunk("a", "one")], first_words(9)).left_out == 0.5

    def test_chunks_alike_are_different_places(self):
        chunks = [Chunk("a", "yes"), Chunk("a", "yes")]
        assert coverage({"a": "yes yes"}, chunks, first_words(9)) == Coverage(6, 6)

    def test_no_text_leaves_out_nothing(self):
        assert coverage({}, [], first_words(9)).left_out == 0

    def test_refuses_a_chunk_that_is_not_of_the_text(self):
        with pytest.raises(ChunkNotFound, match="not in the text of a"):
            coverage({"a": "one"}, [Chunk("a", "two")], first_words(9))


@pytest.fixture
def read():
    return reader(folders.find(BUNDLED_EMBEDDER), 6)


class TestReader:
    def test_reads_a_short_chunk_whole(self, read):
        assert read(Chunk("a", " one two three four ")) == " one two three four "

    def test_stops_two_tokens_before_the_limit(self, read):
        assert read(Chunk("a", "one two three four five")) == "one two three four"

    def test_a_prefix_takes_its_share(self, read):
        assert read(Chunk("a", "one two three four five", "page two\n")) == "one two"

    def test_nothing_is_read_after_a_prefix_that_is_too_long(self, read):
        assert read(Chunk("a", "one", "two three four five six seven ")) == ""


class TestDriver:
    def test_measures_texts(self):
        job = Job("", {"q": "blue whales"}, 1, texts={"a": "red ants", "b": "blue whales"})
        made = driver.measure(WordIndex, job)
        assert made.found == {"q": ["b"]}
        assert len(made.milliseconds) == 1
        assert (made.chunks, made.sources) == ([], {})

    def test_writes_what_is_read_again(self, tmp_path, monkeypatch):
        text, asked, result = (tmp_path / name for name in ("text.txt", "job.json", "result.json"))
        text.write_text("red ants\nblue whales")
        asked.write_text(json.dumps({"weights": "", "questions": {}, "limit": 1, "files": [str(text)]}))
        monkeypatch.setattr(sys, "argv", ["driver", str(asked), str(result)])
        driver.run(WordIndex)
        made = driver.load(result)
        assert made.chunks == [Chunk("text.txt", "red ants"), Chunk("text.txt", "blue whales")]
        assert made.sources == {"text.txt": "red ants\nblue whales"}
        assert made.tokens == 8


class TestNdcg:
    ASKED = QuestionSet(
        "two",
        "documents",
        tuple(text_source(name, name) for name in "abc"),
        (Question("1", "?", (Gold("a"),)), Question("2", "?", (Gold("b"),))),
    )

    def test_a_document_ranks_where_its_first_chunk_does(self):
        assert program.ndcg(self.ASKED, {"1": ["a", "c"], "2": ["b", "b", "a"]}) == 1
        assert program.ndcg(self.ASKED, {"1": ["a"], "2": ["c", "c", "b"]}) == pytest.approx(
            (1 + 0.6309) / 2, abs=1e-3
        )

    def test_a_question_that_finds_nothing_counts(self):
        assert program.ndcg(self.ASKED, {"1": ["a"], "2": []}) == 0.5


class TestEnvironments:
    def test_is_not_made_again_while_it_holds_what_it_should(self, tmp_path):
        (tmp_path / "constraints.txt").write_text("attrs==1\ntorch==2.13.0\n")
        folder = tmp_path / "build" / "peers" / "words"
        folder.mkdir(parents=True)
        (folder / "installed").write_text("words==1.2\ntorch==2.13.0\ntorchvision<0\ntimm<0")
        assert environments.made(WORDS, tmp_path) == folder / "bin" / "python"

    def test_a_driver_that_fails_says_why(self, tmp_path):
        with pytest.raises(environments.NotMeasured, match=r"No module named benchmarks\.peers\.words"):
            environments.drive(
                Path(sys.executable), WORDS, machine.ROOT, tmp_path / "job", tmp_path / "result"
            )

    def test_every_peer_has_a_driver_and_exact_releases(self):
        for peer in environments.PEERS:
            assert (machine.ROOT / "benchmarks" / "peers" / f"{peer.driver}.py").is_file()
            assert all("==" in package for package in peer.packages)
        assert environments.version(WORDS) == "words 1.2"


class TestPage:
    IBID = page.Measured("Ibid", "revision 1", "as it is", 9, 40, Coverage(900, 900), 20.0, 0.7, (0.5, 1))
    QUICK = page.Measured("Quick", "quick 1", "quickly", 20, 30, Coverage(1000, 750), 15.0, 0.6, (0.5, 2.25))
    GOOD = page.Measured("Good", "good 2", "slowly", 30, 50, Coverage(1000, 1000), 80.0, 0.65, (1,))
    GONE = page.Measured(
        "Gone", "gone 3", "not at all", notes=("it could not be installed here. No such release",)
    )

    def test_table_has_a_row_for_each_and_says_why_one_is_empty(self):
        lines = page.table([self.QUICK, self.GONE]).splitlines()
        assert "| Quick | 20.0 | 30 | 1,000 | 25.0 | 15.0 | 0.600 | 0.5, 2.25 |" in lines
        assert "| Gone | – | – | – | – | – | – |  |" in lines
        assert lines[-1] == "- Gone: it could not be installed here. No such release"

    def test_targets_follow_from_the_best_of_the_others(self):
        rows = {row.name: row for row in page.targets([self.IBID, self.QUICK, self.GOOD, self.GONE])}
        assert rows["files to searchable"].target.limit == 10
        assert rows["search p50"].target.limit == 15
        assert rows["text never embedded"].target.limit == 0
        assert rows["SciFact"].target.limit == 0.65
        met = {name: row.target.met(row.value) for name, row in rows.items()}
        assert met == {
            "files to searchable": True,
            "text never embedded": True,
            "search p50": False,
            "SciFact": True,
        }
        assert rows["search p50"].note == "that of Quick, 15.0 ms; Gone not measured"

    def test_nothing_is_said_to_be_met_where_nothing_was_measured(self):
        assert page.targets([self.GONE, self.QUICK]) == []
        assert [row.name for row in page.targets([self.IBID, self.GONE])] == ["text never embedded"]

    def test_page_shows_table_targets_and_releases(self):
        counts = dict.fromkeys(("files", "pages", "questions", "queries", "abstracts", "corpus"), 7)
        run = page.Run(
            datetime(2027, 1, 2, 3, 4, tzinfo=UTC),
            machine.describe(),
            threads=2,
            seconds=61.0,
            quick=True,
            counts=counts,
            systems=(self.IBID, self.QUICK),
        )
        text = page.markdown(run)
        assert "2027-01-02 03:04 UTC" in text
        assert "| search p50 | 20.0 | ms | ≤ 15 MISSED | that of Quick, 15.0 ms |" in text
        assert "| files to searchable | 9.00 | s | ≤ 10 met | half of Quick, 20.0 s |" in text
        assert "| Quick | quick 1 | quickly |" in text
        assert "samples are too small" in text


class TestMain:
    def test_says_what_to_do_without_data(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(program.datasets, "DATA", tmp_path / "nowhere")
        assert program.main(["--quick"]) == 2
        assert "IBID_TEST_DATA" in capsys.readouterr().err

    def test_a_peer_that_cannot_be_had_is_told(self, monkeypatch):
        def refuse(peer, root):
            raise environments.NotInstalled("No matching distribution.")

        given = program.Given((), (), TestNdcg.ASKED, 3, Path(), Path())
        monkeypatch.setattr(program.environments, "made", refuse)
        (system,) = program.measure(program.options(["--only", "Chroma"]), given).systems
        assert system.notes == ("it could not be installed here. No matching distribution.",)
        assert system.seconds is None
        assert system.ndcg is None

    def test_what_a_run_was_told_to_leave_out_is_told(self, monkeypatch):
        given = program.Given((), (), TestNdcg.ASKED, 3, Path(), Path())
        monkeypatch.setattr(program.environments, "made", lambda peer, root: root)
        told = program.options(["--only", "Chroma", "--without-scifact", "Chroma", "--minutes", "0"])
        (system,) = program.measure(told, given).systems
        assert system.notes == (
            "files not measured: nothing was begun after 0 minutes, as this run was told to.",
            "SciFact was left out, as this run was told to.",
        )
