"""The reranker port, which class loads the one that the settings name, and what its scores do to an order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from pkgutil import resolve_name
from typing import Final, Protocol

from ibid.errors import Invalid
from ibid.settings import Settings
from retrieval.fusion import Ranked, stretched
from retrieval.plan import Plan

ENTRY_POINTS: Final = "ibid.rerankers"
RERANKERS: Final = {"words": "ibid.reranking.words:WordsReranker"}
# Every other name is that of a cross-encoder, or its folder.
OTHERWISE: Final = "ibid.reranking.cross_encoder:CrossEncoderReranker"


class RerankerMissing(Invalid):
    """A search is to rerank, and nothing is configured that could."""

    code = "reranker_missing"


class Reranker(Protocol):
    """A model that reads a question together with a text."""

    @property
    def name(self) -> str:
        """What the setting calls it."""
        ...

    def scores(self, question: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers, the higher the better; comparable among all texts of a question, thread-safe."""
        ...


def load_reranker(settings: Settings) -> Reranker | None:
    """The reranker that the settings name, if they do; what takes seconds to load does so when it is first asked."""
    name = settings.reranker
    if not name:
        return None
    plugins = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
    target = RERANKERS.get(name) or plugins.get(name) or OTHERWISE
    loader: Callable[[str, Settings], Reranker] = resolve_name(f"{target}.from_settings")
    return loader(name, settings)


def mixed(ranked: Sequence[Ranked], scores: Mapping[str, float], plan: Plan) -> list[Ranked]:
    """The candidates with the scores of some of them, by id, mixed in; stretched like those of the legs.

    The others stay below what they were by the reranker's part, as if it had given them its worst.
    """
    given = dict(zip(scores, stretched(list(scores.values())), strict=True))
    weighed = [
        replace(
            each,
            score=(1 - plan.rerank_weight) * each.score
            + plan.rerank_weight * given.get(each.candidate.id, 0.0),
        )
        for each in ranked
    ]
    return sorted(weighed, key=lambda each: (-each.score, each.candidate.id))
