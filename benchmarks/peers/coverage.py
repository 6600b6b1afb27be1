"""How much of a text an encoder was ever given: it reads so many tokens of a chunk and drops the rest in silence."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from benchmarks.peers.driver import Chunk

MARKS = 2
"""Tokens that a model of this family puts around every text."""
Reader = Callable[[Chunk], str]
"""The beginning of a chunk's text that the encoder reads."""


class ChunkNotFound(RuntimeError):
    """A chunk does not stand in the text it is said to be of, so that nothing can be counted."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """Characters that are not white space: those of the texts, and those of them that the encoder read in some chunk."""

    characters: int
    embedded: int

    @property
    def left_out(self) -> float:
        """The share that was never embedded, from 0 to 1."""
        return 1 - self.embedded / self.characters if self.characters else 0.0


def reader(weights: Path, tokens: int) -> Reader:
    """What an encoder that takes so many tokens, its marks included, reads of a chunk."""
    tokenizer = Tokenizer.from_file(str(weights / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def read(chunk: Chunk) -> str:
        given = tokenizer.encode(chunk.prefix + chunk.text, add_special_tokens=False)
        if len(given) <= tokens - MARKS:
            return chunk.text
        return chunk.text[: max(0, given.offsets[tokens - MARKS - 1][1] - len(chunk.prefix))]

    return read


def coverage(sources: Mapping[str, str], chunks: Sequence[Chunk], read: Reader) -> Coverage:
    """Counts each character once, in however many chunks it stands.

    White space is left out of everything, since splitters strip and clean it. Chunks of a source come in its order.
    Raises `ChunkNotFound`.
    """
    bare = {name: _bare(text) for name, text in sources.items()}
    marks = {name: bytearray(len(text)) for name, text in bare.items()}
    latest = dict.fromkeys(sources, -1)
    for chunk in chunks:
        start = bare[chunk.source].find(_bare(chunk.text), latest[chunk.source] + 1)
        if start < 0:
            raise ChunkNotFound(f"A chunk is not in the text of {chunk.source}: {chunk.text[:80]!r}")
        latest[chunk.source] = start
        seen = len(_bare(read(chunk)))
        marks[chunk.source][start : start + seen] = b"\x01" * seen
    return Coverage(sum(map(len, marks.values())), sum(map(sum, marks.values())))


def _bare(text: str) -> str:
    return "".join(text.split())
