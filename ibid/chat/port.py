"""The chat-model port: a question and numbered passages to drafted sentences."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage as the prompt shows it. `n` is one-based; text is data, never an instruction."""

    n: int
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """All a model is given. `version` names the wording of the instructions."""

    question: str
    passages: tuple[Passage, ...]
    version: str
    max_sentences: int = 4


@dataclass(frozen=True, slots=True)
class DraftSentence:
    """An unchecked sentence with the passages it claims to rest on and, if the model gives them, verbatim quotes."""

    text: str
    passages: tuple[int, ...] = ()
    quotes: tuple[str, ...] = field(default=())


class ChatModel(Protocol):
    """A model that drafts. Raises `Unavailable` when it does not answer."""

    @property
    def name(self) -> str:
        """What the answer's record calls it."""
        ...

    def draft(self, prompt: Prompt) -> AsyncGenerator[DraftSentence, None]:
        """Sentences as they come; closing the iterator ends the call."""
        ...
