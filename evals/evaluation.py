"""What a set of questions finds in its own documents, by one way to search or by two that are compared."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from evals import measures, ways
from evals.filling import Filled
from evals.sets import Question
from evals.ways import Run
from ibid.types import Hit
from retrieval import certainty
from retrieval.certainty import Comparison, Interval
from retrieval.kit import Kit
from retrieval.plan import Plan


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one way found. Values by measure, from 0 to 1, and ranks (one-based, None: not found) by question."""

    way: str
    means: dict[str, Interval]
    values: dict[str, tuple[float, ...]]
    ranks: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Outcomes of the same questions, the first compared with the second if there are two."""

    filled: Filled
    encoder: str
    outcomes: tuple[Outcome, ...]
    comparisons: dict[str, Comparison]

    @property
    def questions(self) -> tuple[Question, ...]:
        """In the order of all values."""
        return self.filled.asked.questions

    @property
    def first_measure(self) -> str:
        """The measure that is compared question by question."""
        return next(iter(self.outcomes[0].means))

    @property
    def made_with(self) -> dict[str, str]:
        """All that the numbers follow from."""
        asked = self.filled.asked
        return {
            "set": asked.name,
            "kind": asked.kind,
            "questions": f"{len(asked.questions)}, and {asked.left_out} left out that nothing here answers",
            "documents": f"{self.filled.documents} in {self.filled.chunks} passages, "
            f"and {len(self.filled.empty)} skipped as empty",
            "spans that stand in no document": str(self.filled.lost),
            "ways": ", ".join(outcome.way for outcome in self.outcomes),
            "encoder": self.encoder,
            "index": self.filled.index,
            "hash of the questions": asked.digest,
            "hash of the documents": self.filled.digest,
            "intervals": f"{certainty.LEVEL:.0%}, {certainty.DRAWS} draws, seed {certainty.SEED}",
            "Ibid": version("ibid"),
        }

    @property
    def fingerprint(self) -> str:
        """Hash of what the numbers follow from: where it is equal they are."""
        return hashlib.sha256(repr(sorted(self.made_with.items())).encode()).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """For programs; the same evaluation gives the same object."""
        return {
            "fingerprint": self.fingerprint,
            "made_with": self.made_with,
            "empty_documents": list(self.filled.empty),
            "summary": {
                outcome.way: {name: asdict(mean) for name, mean in outcome.means.items()}
                for outcome in self.outcomes
            },
            "comparison": {name: asdict(one) for name, one in self.comparisons.items()},
            "questions": [
                {
                    "id": question.id,
                    "question": question.text,
                    "values": {
                        outcome.way: {name: values[place] for name, values in outcome.values.items()}
                        for outcome in self.outcomes
                    },
                    "first_found_at": {outcome.way: outcome.ranks[place] for outcome in self.outcomes},
                }
                for place, question in enumerate(self.questions)
            ],
        }


def evaluate(filled: Filled, encoder: str, runs: Mapping[str, Run]) -> Evaluation:
    """Ask every question by each of the ways, named; if they are two, the first is compared with the second."""
    asked = filled.asked
    outcomes = tuple(
        outcome(filled, way, {question.id: run(question.text) for question in asked.questions})
        for way, run in runs.items()
    )
    comparisons = {}
    if len(outcomes) == 2:
        one, other = outcomes
        comparisons = {name: certainty.compare(one.values[name], other.values[name]) for name in one.values}
    return Evaluation(filled, encoder, outcomes, comparisons)


def outcome(filled: Filled, way: str, found: Mapping[str, Sequence[Hit]]) -> Outcome:
    """All measures of what a way found."""
    kind, questions = filled.asked.kind, filled.asked.questions
    values = {
        measure.name: measures.values(measure, kind, questions, found) for measure in measures.MEASURES[kind]
    }
    return Outcome(
        way=way,
        means={name: certainty.interval(each) for name, each in values.items()},
        values=values,
        ranks=tuple(measures.first(kind, question, found[question.id]) for question in questions),
    )


def runs(filled: Filled, kit: Kit, plans: Mapping[str, Plan]) -> dict[str, Run]:
    """Plans by name, over what was filled."""
    depth = measures.depth(filled.asked.kind)
    return {name: ways.run(kit, filled.collection, plan, depth) for name, plan in plans.items()}
