"""Drafting along a route: the first model that is there writes, and the next goes on where one stops.

What was let out stays: the next model is told the sentences, and those that it repeats are dropped. A call is put into
the ledger before it is made, and every model that was asked or passed over is kept with the answer.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final, Literal

import anyio
from anyio.to_thread import run_sync
from sqlalchemy.orm import Session

from ibid import spending
from ibid.catalogue import Entry
from ibid.chat.port import ChatModel, DraftSentence, ModelFailed, ModelUnusable, NoAnswer, Prompt, Usage
from ibid.chat.registry import CircuitOpen
from ibid.db.session import Database
from ibid.routing import Choice
from ibid.spending import BudgetSpent, Spender, Spent
from retrieval.kit import ChatModels
from retrieval.quotes import same

LETTERS_A_TOKEN: Final = 3
"""What a token has at least, on average: an estimate that is rather too high keeps a budget."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A model of the route and what came of it: it `answered`, had `no_answer`, `failed`, was `stopped` or `passed` over.

    `reason` says why it failed or was passed over. Tokens, cost and milliseconds are 0 for one not asked.
    """

    model: str
    outcome: Literal["answered", "no_answer", "failed", "stopped", "passed"]
    reason: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: float = 0.0
    milliseconds: float = 0.0


@dataclass(slots=True)
class _Call:
    """A call on its way."""

    entry: Entry
    prompt: Prompt
    began: float = field(default_factory=perf_counter)
    letters: int = 0
    usage: Usage | None = None
    no_answer: bool = False

    def ended(
        self, outcome: Literal["answered", "no_answer", "failed", "stopped"], reason: str | None = None
    ) -> Attempt:
        """What came of it. Where the provider does not say what it took, a call that brought nothing took nothing."""
        used = self.usage or (
            Usage(tokens(self.prompt), self.letters // LETTERS_A_TOKEN) if self.letters else Usage(0, 0)
        )
        return Attempt(
            self.entry.name,
            outcome,
            reason,
            used.input_tokens,
            used.output_tokens,
            used.cached_tokens,
            self.entry.cost(used.input_tokens, used.output_tokens, used.cached_tokens),
            round((perf_counter() - self.began) * 1000, 1),
        )


@dataclass(frozen=True, slots=True)
class Journey:
    """What drafting works with. `prompt` builds one for an entry; `keep` writes an attempt in the transaction it is given.

    `said` is what was let out so far, which the caller adds to.
    """

    db: Database
    models: ChatModels
    spender: Spender
    prompt: Callable[[Entry], Prompt]
    keep: Callable[[Session, Attempt], None]
    said: Sequence[str]


async def drafts(journey: Journey, choices: Sequence[Choice]) -> AsyncGenerator[DraftSentence, None]:
    """The sentences of whichever models write them; ends when one has ended, or said that there is no answer."""
    for choice in choices:
        async with aclosing(_of(journey, choice)) as sentences:
            async for sentence in sentences:
                if isinstance(sentence, DraftSentence):
                    yield sentence
                elif sentence.outcome in {"answered", "no_answer"}:
                    return


async def _of(journey: Journey, choice: Choice) -> AsyncGenerator[DraftSentence | Attempt, None]:
    """The sentences of one model, and what came of it, which is kept."""
    entry = choice.entry
    prompt = journey.prompt(entry)
    try:
        model = _ready(journey, choice)
        ledger = await run_sync(_reserve, journey, entry, prompt)
    except _Passed as passed:
        attempt = Attempt(entry.name, "passed", passed.reason)
        await run_sync(_keep, journey, attempt, None)
        yield attempt
        return
    call = _Call(entry, prompt)
    became: Attempt | None = None
    try:
        with journey.models.guarded(entry):
            async with aclosing(_said(model, call, journey.said)) as sentences:
                async for sentence in sentences:
                    yield sentence
        became = call.ended("no_answer" if call.no_answer else "answered")
    except CircuitOpen as error:
        became = Attempt(entry.name, "passed", error.code)
    except ModelFailed as error:
        became = call.ended("failed", error.fault)
    finally:
        with anyio.CancelScope(shield=True):
            became = call.ended("stopped") if became is None else became
            await run_sync(_keep, journey, became, ledger)
    yield became


async def _said(model: ChatModel, call: _Call, said: Sequence[str]) -> AsyncGenerator[DraftSentence, None]:
    async with aclosing(model.draft(call.prompt)) as drafted:
        async for each in drafted:
            if isinstance(each, Usage):
                call.usage = each
            elif isinstance(each, NoAnswer):
                call.no_answer = True
            else:
                call.letters += len(each.text)
                if not any(same(each.text, before) for before in said):
                    yield each


class _Passed(Exception):
    """The model is not asked."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _ready(journey: Journey, choice: Choice) -> ChatModel:
    if choice.passed is not None:
        raise _Passed(choice.passed)
    try:
        return journey.models.get(choice.entry)
    except ModelUnusable as error:
        raise _Passed(error.code) from error


def _reserve(journey: Journey, entry: Entry, prompt: Prompt) -> str | None:
    """The ledger's id of the call; None for a model that takes nothing."""
    if entry.provider == "extractive":
        return None
    try:
        with journey.db.begin() as session:
            return spending.reserve(session, journey.spender, entry, tokens(prompt))
    except BudgetSpent as error:
        raise _Passed(error.code) from error


def _keep(journey: Journey, attempt: Attempt, ledger: str | None) -> None:
    with journey.db.begin() as session:
        if ledger is not None:
            spending.settle(
                session, ledger, Spent(attempt.input_tokens + attempt.output_tokens, attempt.cost_usd)
            )
        journey.keep(session, attempt)


def tokens(prompt: Prompt) -> int:
    """About how many tokens a prompt has, rather too many."""
    return (len(prompt.system) + len(prompt.user)) // LETTERS_A_TOKEN
