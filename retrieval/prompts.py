"""What a chat model is given: a question, and numbered passages that are marked as data."""

from collections.abc import Sequence
from typing import Final

from ibid.chat.port import Passage, Prompt
from ibid.types import Hit

VERSION: Final = "answer-1"
MOST_SENTENCES: Final = 4


def build(question: str, hits: Sequence[Hit]) -> Prompt:
    """The prompt for a question; passages keep the hits' order and are numbered from one."""
    passages = tuple(Passage(n, _title(hit), hit.text) for n, hit in enumerate(hits, start=1))
    return Prompt(question=question, passages=passages, version=VERSION, max_sentences=MOST_SENTENCES)


def _title(hit: Hit) -> str:
    return " \u203a ".join((hit.document, *hit.heading))
