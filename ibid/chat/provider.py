"""Models of providers, through pydantic-ai: OpenAI's API and whatever speaks it, Anthropic's and Google's."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from typing import Final, Self

import anyio
import httpx2
from anthropic import AnthropicError, AsyncAnthropic
from google.genai.types import HttpRetryOptions
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

from ibid.catalogue import Entry, Provider
from ibid.chat.port import Drafted, Fault, KeyMissing, ModelFailed, Prompt, Usage
from ibid.chat.reading import MarkedReader, QuotedReader, Reader, Reply
from ibid.settings import Settings

RETRIES: Final = 2
"""Of a request that was refused for a moment, before its first token; each vendor's client waits with jitter between."""
Client = tuple[Model, Callable[[], Awaitable[None]]]
"""A model, and what releases its connections."""

_NO_KEY: Final = "none"
"""Clients ask for a key even where a server of one's own wants none."""


class ProviderModel:
    """A model behind a provider's API. `seconds` is how long it may stay silent."""

    def __init__(self, entry: Entry, key: str | None, seconds: float) -> None:
        self.name = entry.name
        self._entry = entry
        self._seconds = seconds
        self._model, self._release = _MAKERS[entry.provider](entry, key or _NO_KEY, seconds)

    @classmethod
    def of(cls, entry: Entry, settings: Settings, _embedder: object) -> Self:
        """The model with the key that its entry names; raises `KeyMissing`."""
        key = None if entry.key is None else settings.provider_keys.get(entry.key)
        if entry.key is not None and key is None:
            raise KeyMissing(
                f"The model {entry.name!r} wants the key {entry.key!r}. Set IBID_PROVIDER_KEYS to JSON that has it."
            )
        return cls(entry, key.get_secret_value() if key else None, settings.model_seconds)

    async def draft(self, prompt: Prompt) -> AsyncGenerator[Drafted, None]:
        """Sentences as they come, then the tokens taken; raises `ModelFailed`."""
        reader: Reader = QuotedReader() if prompt.quotes else MarkedReader()
        said = False
        with self._translated():
            async with AsyncExitStack() as stack:
                with anyio.fail_after(self._seconds):
                    stream = await stack.enter_async_context(self._request(prompt))
                events = aiter(stream)
                while (piece := await self._next(events)) is not None:
                    for drafted in reader.read(piece):
                        said = True
                        yield drafted
                if stream.usage.has_values():
                    yield _usage(stream.usage)
                self._check_whole(stream)
        for drafted in reader.end():
            said = True
            yield drafted
        if not said:
            raise ModelFailed(f"The model {self.name!r} wrote nothing.", "empty")

    async def close(self) -> None:
        """Close the connections to the provider."""
        await self._release()

    async def _next(self, events: AsyncIterator[ModelResponseStreamEvent]) -> str | None:
        """The next piece of text, empty for an event that is none; None at the end."""
        with anyio.fail_after(self._seconds):
            event = await anext(events, None)
        if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
            return event.part.content
        if isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
            return event.delta.content_delta
        return None if event is None else ""

    def _request(self, prompt: Prompt) -> AbstractAsyncContextManager[StreamedResponse]:
        said = ModelRequest([SystemPromptPart(prompt.system), UserPromptPart(prompt.user)])
        shape = OutputObjectDefinition(json_schema=Reply.model_json_schema(), name="answer", strict=True)
        asked = ModelRequestParameters(output_mode="native", output_object=shape) if prompt.quotes else None
        return model_request_stream(
            self._model,
            [said],
            model_settings=self._settings(),
            model_request_parameters=asked,
        )

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
            raise ModelFailed(f"The model {self.name!r} cannot be asked so: {error}", "malformed") from error
        except (httpx2.HTTPError, OpenAIError, AnthropicError) as error:
            raise ModelFailed(f"The stream of {self.name!r} broke: {error}", "cut") from error


def _fault(status: int) -> Fault:
    if status == 429:
        return "rate_limited"
    return "refused" if status < 500 else "unavailable"


def _usage(took: RequestUsage) -> Usage:
    return Usage(took.input_tokens, took.output_tokens, took.cache_read_tokens)


def _openai(entry: Entry, key: str, seconds: float) -> Client:
    client = AsyncOpenAI(api_key=key, base_url=entry.base_url, max_retries=RETRIES, timeout=seconds)
    return OpenAIChatModel(entry.model, provider=OpenAIProvider(openai_client=client)), client.close


def _anthropic(entry: Entry, key: str, seconds: float) -> Client:
    client = AsyncAnthropic(api_key=key, base_url=entry.base_url, max_retries=RETRIES, timeout=seconds)
    return AnthropicModel(entry.model, provider=AnthropicProvider(anthropic_client=client)), client.close


def _google(entry: Entry, key: str, _seconds: float) -> Client:
    retries = HttpRetryOptions(attempts=RETRIES + 1)
    provider = GoogleProvider(api_key=key, base_url=entry.base_url, retry_options=retries)
    return GoogleModel(entry.model, provider=provider), provider.client.aio.aclose


_MAKERS: Final[Mapping[Provider, Callable[[Entry, str, float], Client]]] = {
    "openai": _openai,
    "anthropic": _anthropic,
    "google": _google,
}
