"""Chat models by their entries, each made when first asked for and kept while its entry stays as it is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from threading import Lock
from typing import Final

from pybreaker import CircuitBreaker, CircuitBreakerError

from ibid.catalogue import LAST_RESORT, Entry, Provider
from ibid.chat.port import ChatModel, ModelFailed
from ibid.embedding.port import Embedder
from ibid.errors import Unavailable
from ibid.settings import Settings

# Each is made by its classmethod `of`, from the entry, the settings, and what gives the encoder.
MODELS: Final[dict[Provider, str]] = {
    "extractive": "ibid.chat.extractive:ExtractiveModel",
    "openai": "ibid.chat.provider:ProviderModel",
    "anthropic": "ibid.chat.provider:ProviderModel",
    "google": "ibid.chat.provider:ProviderModel",
    "local": "ibid.chat.local:LocalModel",
}
FAILURES: Final = 3
"""In a row, after which a model is not asked for a while."""


class CircuitOpen(Unavailable):
    """A model failed so often that it is left alone for a while."""

    code = "circuit_open"


class ChatModels:
    """The models of a process. `embedder` is called when a model needs an encoder."""

    def __init__(self, embedder: Callable[[], Embedder], settings: Settings) -> None:
        self._embedder = embedder
        self._settings = settings
        self._made: dict[Entry, ChatModel] = {}
        self._breakers: dict[str, CircuitBreaker] = {}
        self._lock = Lock()

    def get(self, entry: Entry) -> ChatModel:
        """The model; raises `ModelUnusable`."""
        with self._lock:
            had = self._made.get(entry)
            if had is None:
                self._made[entry] = had = self._make(entry)
            return had

    @contextmanager
    def guarded(self, entry: Entry) -> Iterator[None]:
        """A block that asks the model; raises `CircuitOpen` instead while it fails again and again.

        Each process learns by itself. The last resort has no fuse: there is nothing behind it.
        """
        if entry.name == LAST_RESORT:
            yield
            return
        try:
            with self._breaker(entry.name).calling():
                yield
        except CircuitBreakerError as error:
            raise CircuitOpen(f"The model {entry.name!r} failed {FAILURES} times in a row.") from error

    async def close(self) -> None:
        """Release what the models hold, at the end."""
        for model in self._made.values():
            await model.close()

    def _breaker(self, name: str) -> CircuitBreaker:
        with self._lock:
            if name not in self._breakers:
                self._breakers[name] = CircuitBreaker(
                    fail_max=FAILURES,
                    reset_timeout=self._settings.model_pause_seconds,
                    exclude=[_not_its_fault],
                    throw_new_error_on_trip=False,
                    name=name,
                )
            return self._breakers[name]

    def _make(self, entry: Entry) -> ChatModel:
        module, attribute = MODELS[entry.provider].split(":")
        made: ChatModel = getattr(import_module(module), attribute).of(entry, self._settings, self._embedder)
        return made


def _not_its_fault(error: BaseException) -> bool:
    return not isinstance(error, ModelFailed)
