"""An evaluation as one HTML file that needs nothing else: no network, no script. All text in it is escaped."""

from collections.abc import Iterable, Sequence
from html import escape
from string import Template
from typing import Final

from evals import plots
from evals.evaluation import Evaluation

SHOWN_EMPTY: Final = 20
"""So many of the empty documents are named."""
_PAGE: Final = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>$title</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #24292f; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #d0d7de; vertical-align: top }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
svg { max-width: 100%; height: auto }
code { overflow-wrap: anywhere }
</style>
</head>
<body>
<h1>$title</h1>
<h2>Summary</h2>
$summary
<p>$explained</p>
$means
$compared
<h2>Question by question</h2>
$curve
<p>$order</p>
$questions
<h2>Made with</h2>
$made_with
$empty
</body>
</html>
""")


def html(evaluation: Evaluation) -> str:
    """The page."""
    ways = " against ".join(outcome.way for outcome in evaluation.outcomes)
    return _PAGE.substitute(
        title=escape(f"Retrieval: {evaluation.filled.asked.name}, {ways}"),
        summary=_summary(evaluation),
        explained="The mean over all questions, and the interval in which it lies with 95 % certainty if other questions "
        "of the same kind were asked (bootstrap over the questions).",
        means=plots.means(evaluation),
        compared=_compared(evaluation),
        curve=plots.questions(evaluation),
        order=_order(evaluation),
        questions=_questions(evaluation),
        made_with=_made_with(evaluation),
        empty=_empty(evaluation),
    )


def _summary(evaluation: Evaluation) -> str:
    rows = [
        (outcome.way, name, f"{mean.mean:.4f}", f"{mean.low:.4f}", f"{mean.high:.4f}", str(mean.n))
        for outcome in evaluation.outcomes
        for name, mean in outcome.means.items()
    ]
    return _table(("way", "measure", "mean", "from", "to", "questions"), rows, numbers=4)


def _compared(evaluation: Evaluation) -> str:
    if not evaluation.comparisons:
        return ""
    one, other = (outcome.way for outcome in evaluation.outcomes)
    rows = [
        (
            name,
            f"{made.difference.mean:+.4f}",
            f"{made.difference.low:+.4f}",
            f"{made.difference.high:+.4f}",
            f"{made.p:.4f}",
            str(made.better),
            str(made.worse),
            str(made.equal),
        )
        for name, made in evaluation.comparisons.items()
    ]
    heads = ("measure", "difference", "from", "to", "p", "better", "worse", "equal")
    return (
        f"<h2>{escape(one)} against {escape(other)}</h2>{_table(heads, rows, numbers=7)}"
        "<p>Differences question by question; p is that of a two-sided paired randomisation test: how often chance "
        "alone would make a difference at least as large, if both were equally good.</p>"
    )


def _order(evaluation: Evaluation) -> str:
    what = "the largest loss first" if evaluation.comparisons else "the worst first"
    return f"In the order of {escape(evaluation.first_measure)}, {what}. Ranks are those of the first hit that answers."


def _questions(evaluation: Evaluation) -> str:
    name = evaluation.first_measure
    values = [outcome.values[name] for outcome in evaluation.outcomes]
    two = len(values) == 2
    differences = [one - other for one, other in zip(*values, strict=True)] if two else list(values[0])
    rows = []
    for place in sorted(range(len(differences)), key=lambda place: (differences[place], place)):
        question = evaluation.questions[place]
        rows.append(
            (
                question.id,
                question.text,
                *(f"{each[place]:.3f}" for each in values),
                *([f"{differences[place]:+.3f}"] if two else []),
                *(str(outcome.ranks[place] or "none") for outcome in evaluation.outcomes),
            )
        )
    ways = [outcome.way for outcome in evaluation.outcomes]
    heads = ("id", "question", *ways, *(["difference"] if two else []), *(f"rank, {way}" for way in ways))
    return _table(heads, rows, numbers=len(heads) - 2)


def _made_with(evaluation: Evaluation) -> str:
    rows = [*evaluation.made_with.items(), ("fingerprint of all of this", evaluation.fingerprint)]
    return _table(("", ""), rows, numbers=0)


def _empty(evaluation: Evaluation) -> str:
    names = evaluation.filled.empty
    if not names:
        return ""
    more = f" and {len(names) - SHOWN_EMPTY} more" if len(names) > SHOWN_EMPTY else ""
    listed = ", ".join(f"<code>{escape(name)}</code>" for name in names[:SHOWN_EMPTY])
    return f"<p>Documents without text, which were skipped: {listed}{more}.</p>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int) -> str:
    """Cells of text; the last `numbers` columns are numbers."""
    first = len(heads) - numbers

    def line(cells: Sequence[str], tag: str) -> str:
        kinds = ["" if place < first else ' class="number"' for place in range(len(cells))]
        made = (f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))
        return f"<tr>{''.join(made)}</tr>"

    return f"<table><thead>{line(heads, 'th')}</thead><tbody>{''.join(line(row, 'td') for row in rows)}</tbody></table>"
