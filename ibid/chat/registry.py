"""Chat models by name, loaded when first asked for."""

from collections.abc import Callable
from importlib import import_module
from threading import Lock
from typing import Final

from ibid.chat.port import ChatModel
from ibid.embedding.port import Embedder
from ibid.errors import Invalid

MODELS: Final = {"extractive": "ibid.chat.extractive:ExtractiveModel"}


class ModelUnknown(Invalid):
    """No chat model of this name is known here."""

    code = "model_unknown"


class ChatModels:
    """The models of a process; each is made once. `embedder` is called when a model needs an encoder."""

    def __init__(self, embedder: Callable[[], Embedder]) -> None:
        self._embedder = embedder
        self._made: dict[str, ChatModel] = {}
        self._lock = Lock()

    def get(self, name: str) -> ChatModel:
        """The model; raises `ModelUnknown`."""
        known(name)
        with self._lock:
            if name not in self._made:
                module, attribute = MODELS[name].split(":")
                self._made[name] = getattr(import_module(module), attribute)(self._embedder)
            return self._made[name]


def known(name: str) -> str:
    """The name, if there is such a model."""
    if name not in MODELS:
        raise ModelUnknown(f"There is no model {name!r}. Known: {', '.join(sorted(MODELS))}.", param="model")
    return name
