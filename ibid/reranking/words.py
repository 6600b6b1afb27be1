"""A reranker without a model: how many of a question's words a text has."""

from collections.abc import Sequence
from typing import Self

from ibid.settings import Settings
from ibid.terms import terms


class WordsReranker:
    """The share of the question's distinct terms in a text. It tells little that the word search does not, at once."""

    name = "words"

    @classmethod
    def from_settings(cls, _name: str, _settings: Settings) -> Self:
        """There is one."""
        return cls()

    def scores(self, question: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers, 0 to 1."""
        asked = set(terms(question))
        return [len(asked & set(terms(text))) / max(1, len(asked)) for text in texts]
