"""Fits the evidence gate and writes `retrieval/gate_calibration.py`: `python -m evals.calibrate_gate [--folder DIR]`.

Fitted on one half of the questions, reported on the other. Within a class every set weighs the same, so that many easy
questions do not drown a few hard ones. The threshold is the highest that refuses at most `FALSE_REFUSALS` of the
answerable questions of each set in the fitted half: a wrong refusal costs a reader more than a marked or weak answer.
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evals.datasets import (
    Asked,
    contoso_answerable,
    contoso_files,
    contoso_unanswerable,
    squad,
    squad_files,
)
from evals.shelf import ADMIN
from evals.workbench import Workbench
from ibid.settings import BUNDLED_EMBEDDER, DEFAULT_EMBEDDER
from retrieval import gate
from retrieval.gate_calibration import Calibration
from retrieval.records import PASSAGES
from retrieval.search import search

TARGET = Path(__file__).parents[1] / "retrieval" / "gate_calibration.py"
FALSE_REFUSALS = 0.02
RIDGE = 1e-3
ANSWERABLE = ("contoso", "squad")
Floats = npt.NDArray[np.float64]
Sets = Mapping[str, tuple[Floats, npt.NDArray[np.bool_]]]


def gather(bench: Workbench) -> Sets:
    """For each set of questions its features, shape (questions, 3), and which questions are in the fitted half."""
    answerable, unanswerable = squad()
    bench.fill("contoso", contoso_files())
    bench.fill("squad", squad_files())
    asked: dict[str, tuple[str, Sequence[Asked]]] = {
        "contoso": ("contoso", contoso_answerable()),
        "squad": ("squad", answerable),
        "contoso, not in the documents": ("contoso", contoso_unanswerable()),
        "squad, not in the paragraph": ("squad", unanswerable),
        "squad's questions to contoso": ("contoso", [*answerable, *unanswerable]),
        "contoso's questions to squad": ("squad", contoso_answerable()),
    }
    return {name: _features(bench, *those) for name, those in asked.items()}


def fit(sets: Sets, columns: Sequence[int]) -> Calibration:
    """Weights for some of the features (others weigh nothing) by Newton's method, and the threshold."""
    rows, labels, counts = [], [], []
    for name, (features, fitted) in sets.items():
        rows.append(features[fitted][:, columns])
        positive = name in ANSWERABLE
        labels.append(np.full(fitted.sum(), positive))
        share = 1 / (len(ANSWERABLE) if positive else len(sets) - len(ANSWERABLE))
        counts.append(np.full(fitted.sum(), share / fitted.sum()))
    x = np.column_stack([np.ones(sum(map(len, rows))), np.concatenate(rows)])
    solved = _logistic(x, np.concatenate(labels).astype(float), np.concatenate(counts))
    values = np.zeros(4)
    values[[0, *(column + 1 for column in columns)]] = solved
    bias, dense, covered, together = map(float, values.round(3))
    unset = Calibration(bias, dense, covered, together, threshold=0.0)
    thresholds = []
    for name in ANSWERABLE:
        features, fitted = sets[name]
        scores = np.sort(_scores(features[fitted], unset))
        thresholds.append(scores[int(FALSE_REFUSALS * len(scores))])
    return replace(unset, threshold=float(np.floor(min(thresholds) * 1000) / 1000))


def refused(sets: Sets, calibration: Calibration) -> dict[str, tuple[int, int]]:
    """For each set how many of the questions outside the fitted half are refused, and how many there are."""
    found = {}
    for name, (features, fitted) in sets.items():
        scores = _scores(features[~fitted], calibration)
        found[name] = (int((scores < calibration.threshold).sum()), len(scores))
    return found


def _features(
    bench: Workbench, collection: str, asked: Sequence[Asked]
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    rows = []
    for one in asked:
        hits = search(bench.kit, ADMIN, collection, one.question, PASSAGES).hits
        rows.append(astuple(gate.features(one.question, hits)))
    half = [hashlib.sha256(one.question.encode()).digest()[0] % 2 == 0 for one in asked]
    return np.array(rows), np.array(half)


def _logistic(x: Floats, y: Floats, weight: Floats) -> Floats:
    """Weighted logistic regression with a small ridge, by Newton's method."""
    beta = np.zeros(x.shape[1])
    ridge = RIDGE * np.eye(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ beta))
        gradient = x.T @ (weight * (p - y)) + ridge @ beta
        hessian = (x * (weight * p * (1 - p))[:, None]).T @ x + ridge
        beta -= np.linalg.solve(hessian, gradient)
    return beta


def _scores(features: Floats, calibration: Calibration) -> Floats:
    return np.array([gate.probability(gate.Features(*row), calibration) for row in features])


def _write(by_encoder: Calibration, otherwise: Calibration, lines: Sequence[str]) -> None:
    """Replace everything after the class with the new constants and where they came from."""
    head = TARGET.read_text().partition("\n\nBY_ENCODER")[0].partition("\n\n# ")[0].rstrip()
    comment = "\n".join(f"# {line}".rstrip() for line in lines)
    # One for both forms of the bundled model, whose vectors are nearly the same.
    forms = "".join(
        f"    {json.dumps(name)}: {by_encoder!r},\n" for name in (BUNDLED_EMBEDDER, DEFAULT_EMBEDDER)
    )
    TARGET.write_text(
        f"{head}\n\n\n{comment}\nBY_ENCODER: Final = {{\n{forms}}}\nOTHERWISE: Final = {otherwise!r}\n"
    )


def main() -> None:
    """Gather, fit, report and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to keep the knowledge base for the next time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, Workbench(options.folder or Path(temporary)) as bench:
        sets = gather(bench)
    by_encoder, otherwise = fit(sets, (0, 1, 2)), fit(sets, (1, 2))
    lines = [
        f"Fitted {datetime.now(UTC):%Y-%m-%d} on one half of the questions of Contoso and SQuAD 2.0, each asked of its own",
        "and of the other collection. Refused in the other half:",
    ]
    for name, calibration in ((DEFAULT_EMBEDDER, by_encoder), ("any other encoder", otherwise)):
        for kind, (count, total) in refused(sets, calibration).items():
            lines.append(f"  {name}: {kind}: {count} of {total}")
    print("\n".join(lines))
    _write(by_encoder, otherwise, lines)


if __name__ == "__main__":
    main()
