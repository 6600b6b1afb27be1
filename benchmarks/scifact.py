"""SciFact in the BEIR shape: abstracts, claims as queries, and which abstracts are relevant to a claim."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.datasets import DATA


@dataclass(frozen=True, slots=True)
class SciFact:
    """Texts by id, and (query, document, grade)."""

    corpus: dict[str, str]
    queries: dict[str, str]
    judgements: tuple[tuple[str, str, int], ...]


def load() -> SciFact:
    """All of it; a document is its title and its abstract, as the benchmark defines it."""
    folder = DATA / "scifact"
    with (folder / "qrels" / "test.tsv").open(encoding="utf-8", newline="") as file:
        judged = tuple(
            (row["query-id"], row["corpus-id"], int(row["score"]))
            for row in csv.DictReader(file, delimiter="\t")
        )
    asked = {query for query, _, _ in judged}
    return SciFact(
        corpus={row["_id"]: f"{row['title']}\n\n{row['text']}" for row in _rows(folder / "corpus.jsonl")},
        queries={row["_id"]: row["text"] for row in _rows(folder / "queries.jsonl") if row["_id"] in asked},
        judgements=judged,
    )


def sample(whole: SciFact, *, queries: int, others: int) -> SciFact:
    """A few queries with what is relevant to them, and the first other documents."""
    asked = dict(list(whole.queries.items())[:queries])
    judged = tuple(one for one in whole.judgements if one[0] in asked)
    wanted = [document for _, document, _ in judged]
    wanted += [document for document in whole.corpus if document not in wanted][:others]
    return SciFact({document: whole.corpus[document] for document in wanted}, asked, judged)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
