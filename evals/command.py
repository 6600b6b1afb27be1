"""`ibid eval retrieval`: a folder of questions, evaluated and shown."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from evals import page, shapes, ways
from evals.evaluation import Evaluation, evaluate, runs
from evals.filling import fill, scratch
from evals.vectors import Vectors
from ibid.settings import Settings
from retrieval.certainty import Interval

COLLECTION = "evaluated"


def retrieval(
    asked: Path,
    way: str,
    against: str | None,
    *,
    folder: Path | None,
    report: Path | None,
    as_json: Path | None,
) -> None:
    """Evaluate a set, print the table, and write the page and the JSON that were asked for.

    Vectors are kept in the folder (unset: `evals` in the data directory) for the next time.
    """
    plans = {name: ways.plan_of(name) for name in (way, against or way)}
    settings = Settings()
    found = shapes.load(asked)
    with scratch(settings) as (parts, kit), Console(stderr=True).status("Reading and embedding …") as status:
        encoder = parts.encoders.get(settings.embedder)
        filled = fill(parts, COLLECTION, found, encoder, Vectors(encoder, folder or _kept(settings)))
        status.update(f"Asking {len(filled.asked.questions)} questions …")
        made = evaluate(filled, encoder.name, runs(filled, kit, plans))
    _show(made)
    if report is not None:
        _write(report, page.html(made))
    if as_json is not None:
        _write(as_json, json.dumps(made.as_json(), indent=1, ensure_ascii=False) + "\n")


def _kept(settings: Settings) -> Path:
    """A folder of the data directory, which only its own user can read, also if it was made for this."""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return settings.data_dir / "evals"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _show(made: Evaluation) -> None:
    out = Console(highlight=False)
    asked = made.filled.asked
    table = Table("measure", "way", "mean", "95 % from", "to", title=f"{asked.name}: {asked.kind}")
    for name in made.outcomes[0].means:
        for outcome in made.outcomes:
            table.add_row(name, outcome.way, *_cells(outcome.means[name]))
    out.print(table)
    if made.comparisons:
        title = " minus ".join(outcome.way for outcome in made.outcomes)
        table = Table("measure", "difference", "95 % from", "to", "p", title=title)
        for name, compared in made.comparisons.items():
            table.add_row(name, *_cells(compared.difference), f"{compared.p:.4f}")
        out.print(table)
    for name in ("questions", "documents"):
        out.print(f"{name}: {made.made_with[name]}")
    if made.filled.lost:
        out.print(f"spans that stand in no document: {made.filled.lost}")
    out.print(f"fingerprint: {made.fingerprint}")


def _cells(mean: Interval) -> tuple[str, str, str]:
    return f"{mean.mean:.3f}", f"{mean.low:.3f}", f"{mean.high:.3f}"
