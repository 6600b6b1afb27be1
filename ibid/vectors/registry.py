"""Which class keeps the vectors."""

from collections.abc import Callable
from pkgutil import resolve_name

from ibid.settings import Settings
from ibid.vectors.errors import StoreUnavailable
from ibid.vectors.port import VectorStore

VECTOR_STORES = {
    "edge": "ibid.vectors.edge:EdgeVectorStore",
    "qdrant": "ibid.vectors.qdrant:QdrantVectorStore",
}


def open_store(settings: Settings) -> VectorStore:
    """The Qdrant server that the settings name, else the engine in this process over the data directory."""
    name = "qdrant" if settings.qdrant_url else "edge"
    try:
        opener: Callable[[Settings], VectorStore] = resolve_name(f"{VECTOR_STORES[name]}.from_settings")
    except ModuleNotFoundError as error:
        raise StoreUnavailable(
            f"The vector store {name} needs the package {error.name}. Install it and start again."
        ) from error
    return opener(settings)
