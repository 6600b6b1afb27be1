"""Chat models by their entries, each made when first asked for and kept while its entry stays as it is."""

from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from importlib import import_module
from threading import Lock
from typing import Final, Literal

from ibid.catalogue import LAST_RESORT, Entry, Provider
from ibid.chat.fuses import Fuse
from ibid.chat.port import ChatModel, ModelFailed, ModelUnusable
from ibid.embedding.port import Embedder
from ibid.settings import Settings

# Each is made by its classmethod `of`, from the entry, the settings, and what gives the encoder.
MODELS: Final[dict[Provider, str]] = {
    "extractive": "ibid.chat.extractive:ExtractiveModel",
    "openai": "ibid.chat.provider:ProviderModel",
    "anthropic": "ibid.chat.provider:ProviderModel",
    "google": "ibid.chat.provider:ProviderModel",
    "local": "ibid.chat.local:LocalModel",
}
_ITS_FAULTS: Final = frozenset({"timeout", "rate_limited", "unavailable", "cut"})
"""What says something of a model, and not of what it was asked."""


class ChatModels:
    """The models of a process. `embedder` is called when a model needs an encoder."""

    def __init__(self, embedder: Callable[[], Embedder], settings: Settings) -> None:
        self._embedder = embedder
        self._settings = settings
        self._made: dict[Entry, ChatModel] = {}
        self._fuses: dict[Entry, Fuse] = {}
        self._closed = False
        self._lock = Lock()

    def get(self, entry: Entry) -> ChatModel:
        """The model; raises `ModelUnusable`."""
        with self._lock:
            if self._closed:
                raise ModelUnusable("The service is ending. Ask again in a moment.")
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
        fuse = self._fuse(entry)
        fuse.ask()
        how: Literal["worked", "failed", "neither"] = "neither"
        try:
            yield
            how = "worked"
        except ModelFailed as error:
            how = "failed" if error.fault in _ITS_FAULTS else "neither"
            raise
        finally:
            fuse.note(how)

    async def close(self) -> None:
        """Release what the models hold, at the end; none is made any more."""
        with self._lock:
            made, self._made, self._closed = list(self._made.values()), {}, True
        async with AsyncExitStack() as stack:
            for model in made:
                stack.push_async_callback(model.close)

    def _fuse(self, entry: Entry) -> Fuse:
        """Of the model as it is: one that was changed has a new one."""
        with self._lock:
            if entry not in self._fuses:
                self._fuses[entry] = Fuse(self._settings.model_pause_seconds)
            return self._fuses[entry]

    def _make(self, entry: Entry) -> ChatModel:
        module, attribute = MODELS[entry.provider].split(":")
        made: ChatModel = getattr(import_module(module), attribute).of(entry, self._settings, self._embedder)
        return made
