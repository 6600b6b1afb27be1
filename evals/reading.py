"""Documents read and cut in this process, by the product's own stages."""

import tempfile
from pathlib import Path

from ibid.embedding.port import Embedder
from ibid.embedding.texts import encoder_text
from ibid.media import media_type
from ibid.types import Chunk, ChunkerConfig, Parsed
from ingest.chunking import chunk
from ingest.parsing.registry import parser_for


def read(name: str, content: bytes) -> Parsed:
    """The document as text."""
    kind = media_type(name).name
    with tempfile.TemporaryDirectory(prefix="ibid-read-") as folder:
        path = Path(folder) / f"document{Path(name).suffix}"
        path.write_bytes(content)
        return parser_for(kind).parse(path, name, kind)


def cut(encoder: Embedder, name: str, content: bytes) -> tuple[Chunk, ...]:
    """The document's chunks with the default settings."""
    return chunked(encoder, read(name, content))


def chunked(encoder: Embedder, parsed: Parsed) -> tuple[Chunk, ...]:
    """What was read, cut as `Parts.recipe` says for this encoder."""
    return chunk(parsed, ChunkerConfig().fitted(encoder.max_tokens), encoder.count_tokens)


def texts(encoder: Embedder, name: str, content: bytes) -> list[str]:
    """What the encoder is given for each chunk."""
    return [encoder_text(made.heading_path, made.text) for made in cut(encoder, name, content)]
