"""The data sets that measurements use, read from the folder of test data."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evals.shapes import GOLD_PAGE

DATA = Path(os.environ.get("IBID_TEST_DATA", "../shared/data"))


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with the answer that a person wrote and the (file, page) that hold it; no pages: unanswerable."""

    question: str
    truth: str = ""
    pages: tuple[tuple[str, int], ...] = ()


def contoso_files() -> Iterator[tuple[str, bytes]]:
    """The six handbooks."""
    for path in sorted((DATA / "contoso").glob("*.pdf")):
        yield path.name, path.read_bytes()


def contoso_answerable() -> list[Asked]:
    """Questions with their gold pages."""
    found = []
    for row in _rows(DATA / "contoso" / "qa.jsonl"):
        pages = tuple((name, int(page)) for name, page in GOLD_PAGE.findall(row["truth"]))
        found.append(Asked(row["question"], GOLD_PAGE.sub("", row["truth"]), pages))
    return found


def contoso_unanswerable() -> list[Asked]:
    """Questions close to the handbooks that these do not answer."""
    return [Asked(row["question"]) for row in _rows(DATA / "contoso" / "qa_dontknows.jsonl")]


def squad_files() -> Iterator[tuple[str, bytes]]:
    """Every paragraph once, as a text file."""
    paragraphs = dict.fromkeys(row["context"] for row in _rows(DATA / "squad" / "questions.jsonl"))
    for number, text in enumerate(paragraphs):
        yield f"paragraph-{number}.txt", text.encode()


def scifact_files() -> Iterator[tuple[str, bytes]]:
    """The abstracts, each with its title above it, as text files."""
    for row in _rows(DATA / "scifact" / "corpus.jsonl"):
        yield f"abstract-{row['_id']}.txt", f"{row['title']}\n\n{row['text']}".encode()


def scifact_questions() -> list[str]:
    """What is asked of the abstracts."""
    return [row["text"] for row in _rows(DATA / "scifact" / "queries.jsonl")]


def squad() -> tuple[list[Asked], list[Asked]]:
    """(answerable, unanswerable) questions about the paragraphs."""
    rows = list(_rows(DATA / "squad" / "questions.jsonl"))
    answerable = [Asked(row["question"], row["answers"][0]) for row in rows if not row["unanswerable"]]
    return answerable, [Asked(row["question"]) for row in rows if row["unanswerable"]]


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
