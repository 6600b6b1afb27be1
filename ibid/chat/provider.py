"""Models of providers, through pydantic-ai: OpenAI's API and whatever speaks it, Anthropic's and Google's."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Final, Self

import anyio
import httpx2
from anthropic import AnthropicError, AsyncAnthropic
from google.genai.errors import APIError as GoogleError
from openai import AsyncOpenAI, OpenAIError
from pydantic_ai.direct import model_request_stream
from pydantic_ai.exceptions import ModelAPIError, ModelHTTPError, UnexpectedModelBehavior, UserError
from pydantic_ai.messages import (
    ModelRequest,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    SystemPromptPart,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.anthropic import AnthropicModel, AnthropicModelSettings
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings, merge_model_settings
from pydantic_ai.usage import RequestUsage
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential_jitter,
)

from ibid.catalogue import Entry, Provider
from ibid.chat.port import (
    BYTES_A_TOKEN,
    Drafted,
    Fault,
    KeyMissing,
    ModelFailed,
    ModelUnusable,
    Prompt,
    Usage,
    tokens_of,
)
from ibid.chat.reading import MarkedReader, QuotedReader, Reader, Reply
from ibid.settings import ProviderKey, Settings

RETRIES: Final = 2
"""Of a request that was refused for a moment, before its first token."""
LONGEST_PAUSE: Final = 2.0
"""Seconds."""
_BACKOFF: Final = wait_exponential_jitter(initial=0.1, max=LONGEST_PAUSE, jitter=0.1)
OPENAI: Final = "https://api.openai.com/v1"
ANTHROPIC: Final = "https://api.anthropic.com"
Client = tuple[Model, Callable[[], Awaitable[None]]]
"""A model, and what releases its connections."""

_NO_KEY: Final = "none"
"""Clients ask for a key even where a server of one's own wants none."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """What came next: of the reply, or of the thoughts before it."""

    text: str
    said: bool


class ProviderModel:
    """A model behind a provider's API. `seconds` is how long it may stay silent."""

    def __init__(self, entry: Entry, key: str | None, seconds: float) -> None:
        self.name = entry.name
        self._entry = entry
        self._seconds = seconds
        try:
            self._model, self._release = _MAKERS[entry.provider](entry, key or _NO_KEY, seconds)
        except (httpx2.InvalidURL, OpenAIError, AnthropicError, UserError, ValueError) as error:
            raise ModelUnusable(f"The model {entry.name!r} cannot be asked so: {error}") from error

    @classmethod
    def of(cls, entry: Entry, settings: Settings, _embedder: object) -> Self:
        """The model with the key that its entry names; raises `KeyMissing`."""
        return cls(entry, _key(entry, settings), settings.model_seconds)

    async def draft(self, prompt: Prompt) -> AsyncGenerator[Drafted, None]:
        """Sentences as they come, and the tokens taken up to then; raises `ModelFailed`."""
        reader: Reader = QuotedReader() if prompt.quotes else MarkedReader()
        read, written, said = tokens_of(f"{prompt.system}{prompt.user}"), 0, False
        with self._translated():
            async with AsyncExitStack() as stack:
                with anyio.fail_after(self._seconds):
                    stream = await self._request(stack, prompt)
                events = aiter(stream)
                while (piece := await self._next(events)) is not None:
                    written += len(piece.text.encode())
                    yield Usage(read, written // BYTES_A_TOKEN)
                    for drafted in reader.read(piece.text if piece.said else ""):
                        said = True
                        yield drafted
                if stream.usage.has_values():
                    yield _usage(stream.usage)
                self._check_whole(stream)
                # What its limit of tokens cuts off in the middle may mean the opposite of the whole sentence.
                rest = () if stream.finish_reason == "length" else reader.end()
        for drafted in rest:
            said = True
            yield drafted
        if not said:
            raise ModelFailed(f"The model {self.name!r} wrote no sentence.", "empty")

    async def close(self) -> None:
        """Close the connections to the provider."""
        await self._release()

    async def _next(self, events: AsyncIterator[ModelResponseStreamEvent]) -> _Piece | None:
        """The next piece; None at the end."""
        with anyio.fail_after(self._seconds):
            event = await anext(events, None)
        if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart | ThinkingPart):
            return _Piece(event.part.content, said=isinstance(event.part, TextPart))
        if isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta | ThinkingPartDelta):
            return _Piece(event.delta.content_delta or "", said=isinstance(event.delta, TextPartDelta))
        return None if event is None else _Piece("", said=False)

    async def _request(self, stack: AsyncExitStack, prompt: Prompt) -> StreamedResponse:
        """The stream, once it has begun; what refuses for a moment is asked again, with jitter between."""
        said = ModelRequest([SystemPromptPart(prompt.system), UserPromptPart(prompt.user)])
        shape = OutputObjectDefinition(json_schema=Reply.model_json_schema(), name="answer", strict=True)
        asked = ModelRequestParameters(output_mode="native", output_object=shape) if prompt.quotes else None
        again = AsyncRetrying(
            stop=stop_after_attempt(RETRIES + 1), wait=_pause, retry=retry_if_exception(_passes), reraise=True
        )
        async for attempt in again:
            with attempt:
                return await stack.enter_async_context(
                    model_request_stream(
                        self._model,
                        [said],
                        model_settings=self._settings(),
                        model_request_parameters=asked,
                    )
                )
        raise AssertionError  # the last attempt gives or raises

    def _settings(self) -> ModelSettings:
        settings = ModelSettings(max_tokens=self._entry.output_tokens, timeout=self._seconds)
        if self._entry.effort is not None:
            settings["thinking"] = self._entry.effort
        if "reasoning" not in self._entry.capabilities:
            settings["temperature"] = 0.0  # models that reason refuse it
        if self._entry.provider != "anthropic":
            return settings
        cached = AnthropicModelSettings(anthropic_cache_instructions=True)
        return merge_model_settings(cached, settings) or settings

    def _check_whole(self, stream: StreamedResponse) -> None:
        """A stream that is cut ends like one that is over, but the provider gave no reason for it."""
        if stream.finish_reason == "content_filter":
            raise ModelFailed(f"The provider of {self.name!r} does not want to answer this.", "refused")
        if not (stream.provider_details or {}).get("finish_reason"):
            raise ModelFailed(f"The model {self.name!r} stopped in the middle of its answer.", "cut")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            message = f"The model {self.name!r} was silent for {self._seconds:g} s."
            raise ModelFailed(message, "timeout") from error
        except ModelHTTPError as error:
            fault = _fault(error.status_code)
            raise ModelFailed(
                f"The provider of {self.name!r} answered {error.status_code}.", fault
            ) from error
        except ModelAPIError as error:
            raise ModelFailed(f"The provider of {self.name!r} cannot be reached.", "unavailable") from error
        except (UnexpectedModelBehavior, UserError) as error:
            # Without their words, which may be those of documents: this is logged.
            kind = type(error).__name__
            raise ModelFailed(f"The model {self.name!r} cannot be asked so ({kind}).", "malformed") from error
        except (httpx2.HTTPError, OpenAIError, AnthropicError, GoogleError) as error:
            kind = type(error).__name__
            raise ModelFailed(f"The stream of {self.name!r} broke ({kind}).", "cut") from error


def _key(entry: Entry, settings: Settings) -> str | None:
    """The key that the entry names; raises `KeyMissing`, also for an address to which the key does not belong."""
    if entry.key is None:
        return None
    found = settings.provider_keys.get(entry.key)
    if found is None:
        raise KeyMissing(
            f"The model {entry.name!r} wants the key {entry.key!r}. Set IBID_PROVIDER_KEYS to JSON that has it."
        )
    if not isinstance(found, ProviderKey) and entry.base_url is None:
        return found.get_secret_value()
    if isinstance(found, ProviderKey) and _below(entry.base_url or "", found.base_url):
        return found.key.get_secret_value()
    raise KeyMissing(
        f"The key {entry.key!r} is not for the address of the model {entry.name!r}. Name the address beside the key in "
        "IBID_PROVIDER_KEYS if it is."
    )


def _below(address: str, base: str) -> bool:
    """Whether the address is the other one, or below it."""
    return address.rstrip("/") == base.rstrip("/") or address.startswith(f"{base.rstrip('/')}/")


def _passes(error: BaseException) -> bool:
    """Whether asking again in a moment may work; a provider that wants a longer pause is left to the next model."""
    if isinstance(error, ModelHTTPError):
        passing = error.status_code == 429 or error.status_code >= 500
        return passing and _asked_pause(error) <= LONGEST_PAUSE
    return isinstance(error, ModelAPIError)


def _pause(state: RetryCallState) -> float:
    """Seconds until the next attempt: what the provider asks for, else twice as long each time."""
    error = state.outcome.exception() if state.outcome else None
    asked = _asked_pause(error) if isinstance(error, ModelHTTPError) else 0.0
    return max(asked, float(_BACKOFF(state)))


def _asked_pause(error: ModelHTTPError) -> float:
    """`Retry-After` in seconds; 0 if there is none, or it is a date."""
    given = next(
        (value for name, value in (error.headers or {}).items() if name.lower() == "retry-after"), ""
    )
    try:
        return float(given)
    except ValueError:
        return 0.0


def _fault(status: int) -> Fault:
    if status == 429:
        return "rate_limited"
    return "refused" if status < 500 else "unavailable"


def _usage(took: RequestUsage) -> Usage:
    return Usage(took.input_tokens, took.output_tokens, took.cache_read_tokens)


def _openai(entry: Entry, key: str, seconds: float) -> Client:
    client = AsyncOpenAI(api_key=key, base_url=entry.base_url or OPENAI, max_retries=0, timeout=seconds)
    return OpenAIChatModel(entry.model, provider=OpenAIProvider(openai_client=client)), client.close


def _anthropic(entry: Entry, key: str, seconds: float) -> Client:
    client = AsyncAnthropic(api_key=key, base_url=entry.base_url or ANTHROPIC, max_retries=0, timeout=seconds)
    return AnthropicModel(entry.model, provider=AnthropicProvider(anthropic_client=client)), client.close


def _google(entry: Entry, key: str, _seconds: float) -> Client:
    provider = GoogleProvider(api_key=key, base_url=entry.base_url)
    return GoogleModel(entry.model, provider=provider), provider.client.aio.aclose


_MAKERS: Final[Mapping[Provider, Callable[[Entry, str, float], Client]]] = {
    "openai": _openai,
    "anthropic": _anthropic,
    "google": _google,
}
