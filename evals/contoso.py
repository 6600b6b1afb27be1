"""Measures answering over the Contoso handbooks: `python -m evals.contoso [--folder DIR] [--questions N]`.

Prints the share of questions whose gold page is among the first five passages, of answers with a verified citation
and with one on the gold page, of questions without an answer that are refused, and the milliseconds an answer takes.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import anyio

from evals.datasets import Asked, contoso_answerable, contoso_files, contoso_unanswerable
from evals.shelf import ADMIN
from evals.workbench import Workbench
from ibid.terms import terms
from retrieval import answers, records, views
from retrieval.search import search

COLLECTION = "contoso"
ELSEWHERE = (
    "What is the capital of Mongolia?",
    "How do I bake sourdough?",
    "Who won the football world cup in 1998?",
    "Which enzyme unwinds DNA during replication?",
    "How far is the moon from the earth?",
    "What is the best route from Lisbon to Porto?",
    "How do I reset the router at home?",
    "Who painted the Mona Lisa?",
    "What does the Riemann hypothesis say?",
    "How many legs does a spider have?",
)


def ask(bench: Workbench, question: str) -> views.AnswerView:
    """The answer as its reader sees it, through the whole product path but HTTP."""
    with bench.parts.db.begin() as session:
        answer_id = records.start(session, ADMIN, COLLECTION, question, bench.parts.settings)
    anyio.run(answers.run, bench.kit, ADMIN, answer_id)
    with bench.parts.db.read() as session:
        return views.view(session, ADMIN, answer_id)


def hit_rate(bench: Workbench, asked: Sequence[Asked], depth: int = 5) -> float:
    """The share of questions with a gold page among the first passages."""
    hits = 0
    for one in asked:
        found = search(bench.kit, ADMIN, COLLECTION, one.question, depth).hits
        hits += bool({(hit.document, hit.page) for hit in found} & set(one.pages))
    return hits / len(asked)


def on_gold_page(seen: views.AnswerView, one: Asked) -> bool:
    """Whether the answer cites a page that holds the answer."""
    return bool({(cited.document, cited.page) for cited in seen.citations} & set(one.pages))


def recall(seen: views.AnswerView, one: Asked) -> float:
    """The share of the written answer's terms that the answer says."""
    wanted = set(terms(one.truth)) - set(terms(one.question))
    return len(wanted & set(terms(seen.text))) / len(wanted) if wanted else 1.0


def report(bench: Workbench, asked: Sequence[Asked], unanswerable: Sequence[Asked]) -> None:
    """Print the table."""
    ask(bench, asked[0].question)  # loads the encoder
    seen = [ask(bench, one.question) for one in asked]
    cited = [answer for answer in seen if any(citation.verified for citation in answer.citations)]
    refused = sum(ask(bench, one.question).status == "refused" for one in unanswerable)
    elsewhere = sum(ask(bench, question).status == "refused" for question in ELSEWHERE)
    total = sorted(answer.timings["total"] for answer in seen)
    rows = {
        "gold page among the first 5 passages": f"{hit_rate(bench, asked):.1%}",
        "answers with a verified citation": f"{len(cited)} of {len(asked)}",
        "answers that cite a gold page": f"{sum(map(on_gold_page, seen, asked)) / len(asked):.1%}",
        "terms of the written answer said": f"{statistics.mean(map(recall, seen, asked)):.1%}",
        "close questions without an answer refused": f"{refused} of {len(unanswerable)}",
        "questions about something else refused": f"{elsewhere} of {len(ELSEWHERE)}",
        "milliseconds, median and 95th percentile": f"{statistics.median(total):.0f}, {total[int(0.95 * len(total))]:.0f}",
    }
    for step in ("search", "sources", "model", "verification"):
        spent = [answer.timings[step] for answer in cited]
        rows[f"milliseconds of {step}, median"] = f"{statistics.median(spent):.0f}"
    for name, value in rows.items():
        print(f"{name:<45} {value}")


def main() -> None:
    """Fill a folder, or use what is in it, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to keep the knowledge base for the next time")
    parser.add_argument("--questions", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, Workbench(options.folder or Path(temporary)) as bench:
        bench.fill(COLLECTION, contoso_files())
        report(bench, contoso_answerable()[: options.questions], contoso_unanswerable())


if __name__ == "__main__":
    main()
