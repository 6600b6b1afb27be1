"""The shapes in which sets of questions come, told by the files in a folder.

| files | what answers a question |
|---|---|
| `corpus.jsonl`, `queries.jsonl`, `qrels/test.tsv` | documents with grades (the shape of BEIR) |
| `questions.jsonl` beside `documents/` | our own: each line `{question, document, page?, start?, end?, quote?}` |
| `qa.jsonl` beside its files | the page that its `truth` ends in: `[file.pdf#page=N]` |
| `questions_df.csv` beside `corpora/` | spans: `references` is a list of `{content, start_index, end_index}` |
| `questions.jsonl` with a `context` in each line | that paragraph (the shape of SQuAD) |

In our own shape all lines name a page, or all a span, or all neither; lines with the same question belong together.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from evals.sets import Gold, Kind, Question, QuestionSet, SetInvalid, file_source, grouped, text_source
from ibid.jsonl import objects

GOLD_PAGE: Final = re.compile(r"\[([^\[\]]+)#page=(\d+)\]")
"""A citation as the questions of Contoso write it: (file, page)."""
Row = tuple[str, dict[str, Any]]
"""Where a line stands, for messages, and the object in it."""


def load(folder: Path) -> QuestionSet:
    """The set of questions in a folder; raises `SetInvalid` with the file and line of what is wrong."""
    for files, read in SHAPES.items():
        if all((folder / file).exists() for file in files):
            found = read(folder)
            _check(folder, found)
            return found
    known = "; ".join(" + ".join(files) for files in SHAPES)
    raise SetInvalid(f"{folder} holds none of the shapes that are known here: {known}.")


def beir(folder: Path) -> QuestionSet:
    """Documents by id, each its title above its text; only queries that are judged are asked."""
    sources = []
    for where, row in _rows(folder / "corpus.jsonl"):
        parts = (row.get("title", ""), _text(where, row, "text", empty=True))
        sources.append(text_source(_text(where, row, "_id"), "\n\n".join(filter(str.strip, parts))))
    judged: dict[str, list[Gold]] = {}
    for query, gold in _judgements(folder / "qrels" / "test.tsv"):
        judged.setdefault(query, []).append(gold)
    texts = {
        _text(where, row, "_id"): _text(where, row, "text") for where, row in _rows(folder / "queries.jsonl")
    }
    if lost := judged.keys() - texts.keys():
        raise SetInvalid(
            f"{folder / 'qrels' / 'test.tsv'} judges a query {min(lost)!r} that queries.jsonl lacks."
        )
    questions = tuple(Question(key, text, tuple(judged[key])) for key, text in texts.items() if key in judged)
    return QuestionSet(folder.name, "documents", tuple(sources), questions)


def own(folder: Path) -> QuestionSet:
    """Our own shape: files of any format in `documents/`, named by their path below it."""
    documents = folder / "documents"
    sources = tuple(
        file_source(path, path.relative_to(documents).as_posix())
        for path in sorted(documents.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    )
    rows = list(_rows(folder / "questions.jsonl"))
    golds = [(_text(where, row, "question"), _own_gold(where, row)) for where, row in rows]
    kinds: set[Kind] = {_kind(gold) for _, gold in golds}
    if len(kinds) > 1:
        raise SetInvalid(
            f"{folder / 'questions.jsonl'} mixes questions about {' and '.join(sorted(kinds))}. "
            "Name a page in all lines, or a span in all, or neither; or make a set of each."
        )
    return QuestionSet(folder.name, kinds.pop() if kinds else "documents", sources, grouped(golds))


def cited_pages(folder: Path) -> QuestionSet:
    """Questions whose `truth` cites pages of the files beside them; without a citation nothing answers them."""
    sources, golds, left_out = {}, [], 0
    for where, row in _rows(folder / "qa.jsonl"):
        pages = GOLD_PAGE.findall(_text(where, row, "truth"))
        left_out += not pages
        for name, page in pages:
            if not (folder / name).is_file():
                raise SetInvalid(f"{where}: it cites {name}, which is not in the folder.")
            sources[name] = file_source(folder / name)
            golds.append((_text(where, row, "question"), Gold(name, page=int(page))))
    suffixes = {Path(name).suffix for name in sources}
    beside = (path for path in folder.iterdir() if path.suffix in suffixes)
    sources |= {path.name: file_source(path) for path in beside}
    ordered = tuple(sources[name] for name in sorted(sources))
    return QuestionSet(folder.name, "pages", ordered, grouped(golds), left_out)


def referenced_spans(folder: Path) -> QuestionSet:
    """Questions with exact spans of long texts."""
    path = folder / "questions_df.csv"
    files = {file.stem: file for file in sorted((folder / "corpora").iterdir())}
    golds = []
    with path.open(encoding="utf-8", newline="") as opened:
        for number, row in enumerate(csv.DictReader(opened), 1):
            where = f"{path}, question {number}"
            document = files.get(_text(where, row, "corpus_id"))
            if document is None:
                raise SetInvalid(f"{where}: there is no text {row['corpus_id']!r} in corpora/.")
            question = _text(where, row, "question")
            golds += [(question, _span(where, document.name, span)) for span in _references(where, row)]
    return QuestionSet(folder.name, "spans", tuple(map(file_source, files.values())), grouped(golds))


def paragraphs(folder: Path) -> QuestionSet:
    """Questions that come with their paragraph, each paragraph a document; those that it does not answer are left out."""
    names: dict[str, str] = {}
    golds, left_out = [], 0
    for where, row in _rows(folder / "questions.jsonl"):
        context = _text(where, row, "context")
        name = names.setdefault(context, f"paragraph-{len(names)}")
        if row.get("unanswerable"):
            left_out += 1
        else:
            golds.append((_text(where, row, "question"), Gold(name)))
    sources = tuple(text_source(name, text) for text, name in names.items())
    return QuestionSet(folder.name, "documents", sources, grouped(golds), left_out)


SHAPES: Final[dict[tuple[str, ...], Callable[[Path], QuestionSet]]] = {
    ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"): beir,
    ("questions.jsonl", "documents"): own,
    ("qa.jsonl",): cited_pages,
    ("questions_df.csv", "corpora"): referenced_spans,
    ("questions.jsonl",): paragraphs,
}


def _check(folder: Path, found: QuestionSet) -> None:
    if not found.questions:
        raise SetInvalid(f"{folder} holds no question that something answers.")
    names = [source.name for source in found.sources]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SetInvalid(f"{folder} holds two documents called {twice!r}.")
    known = set(names)
    golds = [gold.document for question in found.questions for gold in question.gold]
    lost = [name for name in golds if name not in known]
    # Judgements of a document that is not there are usual in the shape of BEIR: nothing can find it, and that counts.
    if lost and (found.kind != "documents" or len(lost) == len(golds)):
        raise SetInvalid(f"{folder}: a question names the document {lost[0]!r}, which is not there.")


def _judgements(path: Path) -> Iterator[tuple[str, Gold]]:
    """Rows of `query-id, corpus-id, score` by tabs, mostly under a heading."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        for number, row in enumerate(rows, 1):
            if not row or (number == 1 and row[-1] == "score"):
                continue
            try:
                query, document, grade = row
                yield query, Gold(document, int(grade))
            except ValueError as error:
                raise SetInvalid(
                    f"{path}, line {number}: {row} is not a query, a document and a whole number."
                ) from error


def _own_gold(where: str, row: dict[str, Any]) -> Gold:
    for name in ("page", "start", "end"):
        if not isinstance(row.get(name, 1), int):
            raise SetInvalid(f"{where}: {name} must be a whole number.")
    gold = Gold(
        _text(where, row, "document"),
        1,
        row.get("page"),
        row.get("start"),
        row.get("end"),
        row.get("quote", ""),
    )
    if not gold.quote and (gold.start is None) != (gold.end is None):
        raise SetInvalid(f"{where}: a span has a start and an end, or a quote.")
    return gold


def _kind(gold: Gold) -> Kind:
    if gold.quote or gold.start is not None:
        return "spans"
    return "pages" if gold.page is not None else "documents"


def _references(where: str, row: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        found = json.loads(_text(where, row, "references"))
    except json.JSONDecodeError as error:
        raise SetInvalid(f"{where}: references is not JSON: {error}.") from error
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise SetInvalid(f"{where}: references must be a list of objects.")
    return found


def _span(where: str, document: str, span: dict[str, Any]) -> Gold:
    start, end = span.get("start_index"), span.get("end_index")
    if not isinstance(start, int) or not isinstance(end, int):
        raise SetInvalid(f"{where}: a reference needs start_index and end_index, both whole numbers.")
    return Gold(document, start=start, end=end, quote=_text(where, span, "content"))


def _text(where: str, row: dict[str, Any], name: str, *, empty: bool = False) -> str:
    value = row.get(name)
    if isinstance(value, str) and (empty or value.strip()):
        return value
    raise SetInvalid(f"{where}: {name!r} is missing or is no text.")


def _rows(path: Path) -> Iterator[Row]:
    return objects(path, SetInvalid)
