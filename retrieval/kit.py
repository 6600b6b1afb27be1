"""What searching and answering work with; each door makes one."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from ibid.catalogue import Entry
from ibid.chat.port import ChatModel
from ibid.db.session import Database
from ibid.embedding.port import Encoders
from ibid.settings import Settings
from ibid.vectors.port import VectorReader
from retrieval.reranking import Reranker


class ChatModels(Protocol):
    """Chat models by their entries in the catalogue."""

    def get(self, entry: Entry) -> ChatModel:
        """The model; raises `ModelUnusable`."""
        ...

    def guarded(self, entry: Entry) -> AbstractContextManager[None]:
        """A block that asks the model; raises `CircuitOpen` while it fails again and again."""
        ...


@dataclass(frozen=True, slots=True)
class Kit:
    """The database, the store, the models and the settings; the reranker if one is configured."""

    db: Database
    vectors: VectorReader
    encoders: Encoders
    models: ChatModels
    settings: Settings
    reranker: Reranker | None = None
