"""What searching and answering work with; each door makes one."""

from dataclasses import dataclass
from typing import Protocol

from ibid.chat.port import ChatModel
from ibid.db.session import Database
from ibid.embedding.port import Encoders
from ibid.settings import Settings
from ibid.vectors.port import VectorReader
from retrieval.reranking import Reranker


class ChatModels(Protocol):
    """Chat models by name."""

    def get(self, name: str) -> ChatModel:
        """The model; raises `ModelUnknown`."""
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
