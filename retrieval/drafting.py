"""Drafting along a route: the first model that is there writes, and the next goes on where one stops.

What was let out stays: the next model is told the sentences, and those that it repeats are dropped. A call is put into
the ledger before it is made, and every model that was asked or passed over is kept with the answer.
"""

import logging
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
from ibid.chat.fuses import CircuitOpen
from ibid.chat.port import (
    ChatModel,
    DraftSentence,
    ModelFailed,
    ModelUnusable,
    NoAnswer,
    Prompt,
    Usage,
    tokens_of,
)
from ibid.db.session import Database
from ibid.routing import Choice
from ibid.spending import BudgetSpent, Spender, Spent
from retrieval.kit import ChatModels
from retrieval.quotes import same

log = logging.getLogger(__name__)

SCHEMA_TOKENS: Final = 300
"""What the shape of a reply in JSON takes beside the prompt, about."""


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
    usage: Usage | None = None
    no_answer: bool = False

    def ended(
        self, outcome: Literal["answered", "no_answer", "failed", "stopped"], reason: str | None = None
    ) -> Attempt:
        """What came of it. One that was silent until its time was over may have read its prompt all the same."""
        silent = Usage(tokens(self.prompt), 0) if reason == "timeout" else Usage(0, 0)
        used = self.usage or silent
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

    `heard` is what was drafted so far, by whichever model.
    """

    db: Database
    models: ChatModels
    spender: Spender
    prompt: Callable[[Entry], Prompt]
    keep: Callable[[Session, Attempt], None]
    heard: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Written:
    """A sentence that a model drafted, unchecked."""

    model: str
    sentence: DraftSentence


async def drafts(journey: Journey, choices: Sequence[Choice]) -> AsyncGenerator[Written, None]:
    """The sentences of whichever models write them; ends when one has ended, or said that there is no answer."""
    for choice in choices:
        async with aclosing(_of(journey, choice)) as drafted:
            async for each in drafted:
                if isinstance(each, Written):
                    yield each
                elif each.outcome in {"answered", "no_answer"}:
                    return


async def _of(journey: Journey, choice: Choice) -> AsyncGenerator[Written | Attempt, None]:
    """The sentences of one model, and what came of it, which is kept."""
    entry = choice.entry
    prompt = journey.prompt(entry)
    try:
        model = await run_sync(_ready, journey, choice)
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
            async with aclosing(_said(model, call, journey.heard)) as sentences:
                async for sentence in sentences:
                    yield Written(entry.name, sentence)
        became = call.ended("no_answer" if call.no_answer else "answered")
    except CircuitOpen as error:
        became = Attempt(entry.name, "passed", error.code)
    except ModelFailed as error:
        log.warning("a model failed (%s): %s", error.fault, error.message)
        became = call.ended("failed", error.fault)
    except Exception:  # a mistake of ours, which the door logs
        became = call.ended("failed", "internal")
        raise
    finally:
        with anyio.CancelScope(shield=True):
            became = call.ended("stopped") if became is None else became
            await run_sync(_keep, journey, became, ledger)
    yield became


async def _said(model: ChatModel, call: _Call, heard: list[str]) -> AsyncGenerator[DraftSentence, None]:
    """What the model drafts that no model did before."""
    async with aclosing(model.draft(call.prompt)) as drafted:
        async for each in drafted:
            if isinstance(each, Usage):
                call.usage = each
            elif isinstance(each, NoAnswer):
                call.no_answer = True
            elif not any(same(each.text, before) for before in heard):
                heard.append(each.text)
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
    """About how many tokens a prompt has, rather too many: an estimate that is too high keeps a budget."""
    return tokens_of(f"{prompt.system}{prompt.user}") + (SCHEMA_TOKENS if prompt.quotes else 0)
