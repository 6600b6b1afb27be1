"""What searches find, fused and by each leg alone: nDCG@10 on SciFact and Cranfield, gold pages of Contoso.

The sets, the measures and the ways to search are those of `ibid eval retrieval`.
"""

from typing import Final

from benchmarks.bench import Bench, Row, Target
from evals.datasets import DATA
from evals.evaluation import Outcome, evaluate, runs
from evals.filling import Filled, fill, kit_of
from evals.shapes import load
from evals.ways import WAYS
from ibid.bootstrap import Parts, open_parts
from ibid.embedding.registry import EmbedderPool
from ibid.nudge.memory import MemoryNudge

SETS: Final = {"scifact": "SciFact", "cranfield": "Cranfield", "contoso": "Contoso"}
# By set and measure, of what readers search with: both legs fused.
TARGETS: Final = {
    ("scifact", "nDCG@10"): Target(0.745, "more"),
    ("cranfield", "nDCG@10"): Target(0.440, "more"),
    ("contoso", "gold page first"): Target(0.65, "more"),
    ("contoso", "gold page in five"): Target(0.87, "more"),
    ("contoso", "gold page or next first"): Target(0.82, "more"),
    ("contoso", "gold page or next in five"): Target(0.955, "more"),
}
AS_READERS_SEARCH: Final = "fused"
NAMES: Final = {way: "both legs fused" if way == AS_READERS_SEARCH else f"{way} leg alone" for way in WAYS}


def measure(bench: Bench) -> list[Row]:
    """All sets in one store of this process, searched by the one function that every reader's search calls."""
    encoders = EmbedderPool(lambda _: bench.encoder)
    parts = open_parts(bench.settings, encoders=encoders, nudge=MemoryNudge())
    try:
        return [row for name in SETS for row in _set(bench, parts, name)]
    finally:
        parts.close()


def _set(bench: Bench, parts: Parts, name: str) -> list[Row]:
    asked = load(DATA / name)
    if bench.quick:
        asked = asked.sample(questions=5, others=0 if asked.kind == "pages" else 20)
    filled = fill(parts, name, asked, bench.encoder, bench.vectors)
    made = evaluate(filled, bench.encoder.name, runs(filled, kit_of(parts), list(WAYS)))
    return [
        _row(name, filled, measure_, outcome)
        for measure_ in made.outcomes[0].means
        if (name, measure_) in TARGETS
        for outcome in made.outcomes
    ]


def _row(name: str, filled: Filled, measure_: str, outcome: Outcome) -> Row:
    mean = outcome.means[measure_]
    return Row(
        "retrieval",
        f"{SETS[name]}, {NAMES[outcome.way]}",
        mean.mean,
        measure_,
        TARGETS[name, measure_] if outcome.way == AS_READERS_SEARCH else None,
        f"{filled.documents} documents, {mean.n} questions, 95 % from {mean.low:.3f} to {mean.high:.3f}",
    )
