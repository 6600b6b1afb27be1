"""The embedder port: text to unit vectors."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ibid.errors import Invalid, Unavailable

Matrix = npt.NDArray[np.float32]


class EmbedderUnavailable(Unavailable):
    """The encoder's weights are not there or not the ones expected."""

    code = "embedder_unavailable"


class EmbedderUnknown(Invalid):
    """No encoder of this name can be loaded here."""

    code = "embedder_unknown"


class Encoders(Protocol):
    """Encoders by name, each loaded once."""

    def get(self, name: str) -> "Embedder":
        """The encoder, loaded; raises `EmbedderUnknown` or `EmbedderUnavailable`."""
        ...


class Embedder(Protocol):
    """An encoder. Equal fingerprints give equal vectors for equal text."""

    @property
    def name(self) -> str:
        """What the setting calls it."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of the weights and of every setting that changes a vector."""
        ...

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        ...

    @property
    def max_tokens(self) -> int:
        """Tokens of text it reads, special tokens excluded; what is beyond is cut."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, special tokens excluded, never cut."""
        ...

    def encode(self, texts: Sequence[str]) -> Matrix:
        """Unit vectors, shape (len(texts), dimensions), float32, in the order of the texts; thread-safe."""
        ...

    def encode_query(self, text: str) -> Matrix:
        """Unit vector of a question, shape (dimensions,)."""
        ...
