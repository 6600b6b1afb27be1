"""Sets of questions are told by their files and read, or refused with the file and line that is wrong."""

import csv
import json
from pathlib import Path

import pytest

from evals.filling import place
from evals.sets import Gold, SetInvalid
from evals.shapes import load


def lines(path: Path, *rows: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def beir(folder: Path, judged: str = "1\td1\t2\n") -> Path:
    corpus = [{"_id": "d1", "title": "Cats", "text": "They sleep."}, {"_id": "d2", "title": "", "text": ""}]
    lines(folder / "corpus.jsonl", *corpus)
    lines(folder / "queries.jsonl", {"_id": "1", "text": "Who sleeps?"}, {"_id": "2", "text": "Who else?"})
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")
    return folder


def own(folder: Path, *rows: object) -> Path:
    (folder / "documents" / "more").mkdir(parents=True)
    (folder / "documents" / "a.txt").write_text("Cats sleep. Dogs bark.")
    (folder / "documents" / "more" / "b.txt").write_text("Cows moo.")
    lines(folder / "questions.jsonl", *rows)
    return folder


class TestLoad:
    def test_beir(self, tmp_path):
        found = load(beir(tmp_path))
        assert found.kind == "documents"
        assert [(source.name, source.read()) for source in found.sources] == [
            ("d1", b"Cats\n\nThey sleep."),
            ("d2", b""),
        ]
        (question,) = found.questions
        assert (question.id, question.text, question.gold) == ("1", "Who sleeps?", (Gold("d1", 2),))

    def test_judgements_without_a_heading(self, tmp_path):
        folder = beir(tmp_path)
        (folder / "qrels" / "test.tsv").write_text("1\td1\t2\n\n2\td1\t1\n")
        assert [question.gold for question in load(folder).questions] == [(Gold("d1", 2),), (Gold("d1", 1),)]

    def test_own_with_documents(self, tmp_path):
        rows = [{"question": "Who?", "document": name} for name in ("a.txt", "more/b.txt")]
        found = load(own(tmp_path, *rows))
        assert found.kind == "documents"
        (question,) = found.questions
        assert question.gold == (Gold("a.txt"), Gold("more/b.txt"))

    def test_own_with_pages(self, tmp_path):
        found = load(own(tmp_path, {"question": "Who?", "document": "a.txt", "page": 3}))
        assert (found.kind, found.questions[0].gold) == ("pages", (Gold("a.txt", page=3),))

    @pytest.mark.parametrize("span", [{"start": 0, "end": 4}, {"quote": "Dogs bark."}])
    def test_own_with_spans(self, tmp_path, span):
        found = load(own(tmp_path, {"question": "Who?", "document": "a.txt", **span}))
        assert (found.kind, found.questions[0].gold) == ("spans", (Gold("a.txt", **span),))

    def test_cited_pages(self, tmp_path):
        (tmp_path / "a.pdf").write_bytes(b"%PDF-")
        (tmp_path / "b.pdf").write_bytes(b"%PDF-")
        rows = [
            {"question": "Who?", "truth": "Cats.[a.pdf#page=7]"},
            {"question": "What?", "truth": "Unknown."},
        ]
        lines(tmp_path / "qa.jsonl", *rows)
        found = load(tmp_path)
        assert (found.kind, found.left_out) == ("pages", 1)
        assert [source.name for source in found.sources] == ["a.pdf", "b.pdf"]
        assert found.questions[0].gold == (Gold("a.pdf", page=7),)

    def test_referenced_spans(self, tmp_path):
        (tmp_path / "corpora").mkdir()
        (tmp_path / "corpora" / "cats.md").write_text("Cats sleep.")
        references = json.dumps([{"content": "sleep", "start_index": 5, "end_index": 10}])
        with (tmp_path / "questions_df.csv").open("w", newline="") as file:
            csv.writer(file).writerows(
                [("question", "references", "corpus_id"), ("What do they do?", references, "cats")]
            )
        found = load(tmp_path)
        assert found.kind == "spans"
        assert found.questions[0].gold == (Gold("cats.md", start=5, end=10, quote="sleep"),)

    def test_paragraphs(self, tmp_path):
        rows = [
            {"question": "Who sleeps?", "context": "Cats sleep.", "unanswerable": False},
            {"question": "Who flies?", "context": "Cats sleep.", "unanswerable": True},
        ]
        lines(tmp_path / "questions.jsonl", *rows)
        found = load(tmp_path)
        assert (len(found.sources), len(found.questions), found.left_out) == (1, 1, 1)

    def test_nothing_known(self, tmp_path):
        with pytest.raises(SetInvalid, match=r"corpus\.jsonl"):
            load(tmp_path)


class TestRefuse:
    @pytest.mark.parametrize(
        ("judged", "sentence"),
        [
            ("1\td1\thigh\n", "whole number"),
            ("1 d1 1\n", "whole number"),
            ("9\td1\t1\n", r"'9' that queries\.jsonl lacks"),
            ("1\td9\t1\n", "'d9', which is not there"),
            ("", "no question"),
        ],
    )
    def test_judgements(self, tmp_path, judged, sentence):
        with pytest.raises(SetInvalid, match=sentence):
            load(beir(tmp_path, judged))

    @pytest.mark.parametrize(
        ("row", "sentence"),
        [
            ({"document": "a.txt"}, "line 2: 'question'"),
            ({"question": "What?"}, "line 2: 'document'"),
            ({"question": "What?", "document": "c.txt", "page": 1}, r"'c\.txt', which is not there"),
            ({"question": "What?", "document": "a.txt", "page": "one"}, "line 2: page"),
            ({"question": "What?", "document": "a.txt", "start": 3}, "line 2: a span"),
            ({"question": "What?", "document": "a.txt"}, "mixes questions about documents and pages"),
            (["What?"], "line 2 is not an object"),
        ],
    )
    def test_own(self, tmp_path, row, sentence):
        with pytest.raises(SetInvalid, match=sentence):
            load(own(tmp_path, {"question": "Who?", "document": "a.txt", "page": 1}, row))

    def test_broken_line(self, tmp_path):
        folder = own(tmp_path, {"question": "Who?", "document": "a.txt"})
        with (folder / "questions.jsonl").open("a") as file:
            file.write('\n{"question": ')
        with pytest.raises(SetInvalid, match="line 3 is not JSON"):
            load(folder)

    def test_citation_of_a_file_that_is_not_there(self, tmp_path):
        lines(tmp_path / "qa.jsonl", {"question": "Who?", "truth": "Cats.[a.pdf#page=7]"})
        with pytest.raises(SetInvalid, match=r"line 1: it cites a\.pdf"):
            load(tmp_path)

    def test_two_documents_of_one_name(self, tmp_path):
        folder = beir(tmp_path)
        with (folder / "corpus.jsonl").open("a") as file:
            file.write(json.dumps({"_id": "d1", "text": "Again."}))
        with pytest.raises(SetInvalid, match="two documents called 'd1'"):
            load(folder)


class TestSample:
    def test_keeps_what_answers(self, tmp_path):
        some = load(own(tmp_path, {"question": "Who?", "document": "more/b.txt"})).sample(
            questions=1, others=0
        )
        assert [source.name for source in some.sources] == ["more/b.txt"]


class TestPlace:
    TEXT = "Cats sleep. Dogs\nbark. Cats sleep."

    @pytest.mark.parametrize(
        ("gold", "span"),
        [
            (Gold("a", start=5, end=10), (5, 10)),
            (Gold("a", start=5, end=99), None),
            (Gold("a", quote="Dogs bark."), (12, 22)),
            (Gold("a", quote="Cats sleep."), (0, 11)),
            (Gold("a", quote="Cats sleep.", start=20), (23, 34)),
            (Gold("a", quote="Cows moo."), None),
        ],
    )
    def test_is_nearest(self, gold, span):
        assert place(self.TEXT, gold) == span
