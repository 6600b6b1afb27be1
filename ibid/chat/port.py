"""The chat-model port: a question and numbered passages to drafted sentences."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from ibid.errors import Unavailable

Fault = Literal["timeout", "rate_limited", "refused", "unavailable", "cut", "malformed", "empty"]


class ModelFailed(Unavailable):
    """A model gave no answer, or not a whole one; `fault` says in which way."""

    code = "model_failed"

    def __init__(self, message: str, fault: Fault = "unavailable") -> None:
        super().__init__(message)
        self.fault: Fault = fault


class ModelUnusable(Unavailable):
    """A model cannot be asked as things are: its key, its file or a package of it is missing here."""

    code = "model_unusable"


class KeyMissing(ModelUnusable):
    """An entry names a key that the settings do not have."""

    code = "provider_key_missing"


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage as the prompt shows it. `n` is one-based; text is data, never an instruction."""

    n: int
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """All a model is given. `version` names the wording of the instructions.

    `system` and `user` are the whole prompt for models that are talked to. With `quotes` they ask for JSON in the shape
    of `ibid.chat.reading.Reply`, else for sentences with the numbers of passages in square brackets. `said` are sentences
    of the answer that are out already, by a model that failed.
    """

    question: str
    passages: tuple[Passage, ...]
    version: str
    max_sentences: int = 4
    system: str = ""
    user: str = ""
    quotes: bool = False
    said: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DraftSentence:
    """An unchecked sentence with the passages it claims to rest on and, if the model gives them, verbatim quotes."""

    text: str
    passages: tuple[int, ...] = ()
    quotes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a call has taken up to now, about or exactly; cached ones are input that the provider had kept."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The model says that the passages do not hold the answer."""


Drafted = DraftSentence | Usage | NoAnswer


class ChatModel(Protocol):
    """A model that drafts. Raises `ModelFailed` when it does not answer, or stops before its end."""

    @property
    def name(self) -> str:
        """What the answer's record calls it."""
        ...

    def draft(self, prompt: Prompt) -> AsyncGenerator[Drafted, None]:
        """Sentences as they come, and now and then the tokens taken; closing the iterator ends the call."""
        ...

    async def close(self) -> None:
        """Release connections; no call is on its way any more."""
        ...


BYTES_A_TOKEN: Final = 3
"""Whatever the script, rather too few: an estimate that is too high keeps a budget."""


def tokens_of(text: str) -> int:
    """About how many tokens a text has."""
    return len(text.encode()) // BYTES_A_TOKEN
