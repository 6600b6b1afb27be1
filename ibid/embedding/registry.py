"""Which class loads an embedder of a given name, and a pool of the loaded ones."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from importlib.metadata import entry_points
from pkgutil import resolve_name

from ibid.embedding.port import Embedder, EmbedderUnavailable, EmbedderUnknown, Encoders
from ibid.settings import BUNDLED_EMBEDDER, Settings
from ibid.types import Recipe

ENTRY_POINTS = "ibid.embedders"
EMBEDDERS = {
    BUNDLED_EMBEDDER: "ibid.embedding.sentence_transformers:SentenceTransformersEmbedder",
    "hashing": "ibid.embedding.hashing:HashingEmbedder",
}
FORMS = {"int8": "ibid.embedding.int8:Int8Embedder"}
"""Other forms of sentence-transformers models, by what follows the last @ of a name."""
# Every other name is one of sentence-transformers, or a folder.
OTHERWISE = EMBEDDERS[BUNDLED_EMBEDDER]


def load_embedder(name: str, settings: Settings) -> Embedder:
    """Load the encoder; takes seconds. Raises `EmbedderUnknown` or `EmbedderUnavailable`."""
    plugins = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
    model, _, form = name.rpartition("@")
    target = EMBEDDERS.get(name) or plugins.get(name) or (FORMS.get(form) if model else None) or OTHERWISE
    try:
        loader: Callable[[str, Settings], Embedder] = resolve_name(f"{target}.from_settings")
        return loader(name, settings)
    except ModuleNotFoundError as error:
        msg = f"The embedder {name} needs the package {error.name}, which is not installed. Install it and try again."
        raise EmbedderUnavailable(msg) from error


def encoder_for(encoders: Encoders, recipe: Recipe) -> Embedder:
    """The encoder that a generation was made with; another one under the same name would mix what cannot be compared.

    Raises `EmbedderUnavailable`, also where the name means nothing any more: no document is to blame for that.
    """
    try:
        encoder = encoders.get(recipe.embedder)
    except EmbedderUnknown as error:
        raise EmbedderUnavailable(
            f"The encoder {recipe.embedder!r} that this collection was indexed with is gone. "
            "Put its files back, or reindex the collection."
        ) from error
    if encoder.fingerprint != recipe.embedder_fingerprint:
        raise EmbedderUnavailable(
            f"The encoder {recipe.embedder!r} has changed since this collection was indexed. "
            "Put the former files back, or reindex the collection."
        )
    return encoder


class EmbedderPool:
    """The encoders in memory, at most `limit`, the least recently used leaves; each is loaded once however many ask."""

    def __init__(self, load: Callable[[str], Embedder], *, limit: int = 2) -> None:
        self._load = load
        self._limit = limit
        self._lock = threading.Lock()
        self._places: OrderedDict[str, _Place] = OrderedDict()

    def get(self, name: str) -> Embedder:
        """The encoder of this name, loaded if need be; waits while another thread loads it."""
        with self._lock:
            place = self._places.setdefault(name, _Place())
            self._places.move_to_end(name)
            while len(self._places) > self._limit:
                self._places.popitem(last=False)
        with place.loading:
            if place.embedder is None:
                place.embedder = self._load(name)
            return place.embedder

    def names(self) -> list[str]:
        """Those in memory, the least recently used first."""
        with self._lock:
            return [name for name, place in self._places.items() if place.embedder is not None]


class _Place:
    """Where an encoder is put by the first thread that asks for it, or by the next if that one failed."""

    def __init__(self) -> None:
        self.loading = threading.Lock()
        self.embedder: Embedder | None = None
