"""The stages after parsing: chunks and their vectors, each step kept as it ends."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from ibid import claims, fingerprints, generations
from ibid.claims import Claim
from ibid.db.session import insert_missing
from ibid.db.tables import (
    ChunkRow,
    Embedding,
    Generation,
    GenerationLanguage,
    Parse,
)
from ibid.embedding.port import Embedder
from ibid.embedding.registry import encoder_for
from ibid.embedding.texts import encoder_text
from ibid.layout import decode_layout
from ibid.types import Chunk, JobKind, Parsed
from ingest import standing
from ingest.chunking import chunk
from ingest.parsing.languages import Told
from ingest.tools import Tools

ENCODE_BATCH = 128
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Target:
    """A version to be stored in a generation, under a claim."""

    held: Claim
    version_id: str
    generation: Generation


@dataclass(frozen=True, slots=True)
class Text:
    """An exact text given to the encoder, and the key of its vector."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Counts:
    """How many chunks the chunker made of a version, and how many of them had no vector from before."""

    made: int
    embedded: int


def cut(tools: Tools, target: Target) -> list[Text]:
    """Store the version's chunks for the generation; gives the texts to embed, one for each chunk, in their order."""
    embedder = encoder_for(tools.encoders, generations.recipe_of(target.generation))
    with tools.db.read() as session:
        parse = _parse(session, target.version_id)
    layout = decode_layout(parse.layout)
    parsed = Parsed(parse.text, layout.elements, (), layout.report)  # chunks do not look at boxes
    chunks = chunk(parsed, generations.recipe_of(target.generation).chunker, embedder.count_tokens)
    texts = [_text(embedder, made) for made in chunks]
    told = Told(layout.report.languages)
    with tools.db.begin(durable=False) as session:
        standing.living(session, target.version_id)
        standing.check_written(session, target.generation.id)
        _report(session, target.held, "chunking", len(chunks))
        session.execute(
            delete(ChunkRow).where(
                ChunkRow.generation_id == target.generation.id, ChunkRow.version_id == target.version_id
            )
        )
        rows = [_row(target, made, text.key, told) for made, text in zip(chunks, texts, strict=True)]
        session.add_all(rows)
        session.flush()
        _add_languages(session, target.generation.id, {row.language for row in rows if row.language})
    return texts


def count(texts: Sequence[Text], unknown: frozenset[str]) -> Counts:
    """Counts of what was cut, given the keys that had no vector."""
    return Counts(len(texts), sum(text.key in unknown for text in texts))


def embed(
    tools: Tools, generation: Generation, texts: Iterable[Text], held: Sequence[Claim]
) -> frozenset[str]:
    """Make sure that every text has its vector; gives the keys that had none.

    Batches are kept as they are made, longest texts first.
    """
    embedder = encoder_for(tools.encoders, generations.recipe_of(generation))
    wanted = {text.key: text.text for text in texts}
    unknown = frozenset(wanted.keys() - _known_keys(tools, wanted))
    lacking = sorted(unknown, key=lambda key: (-len(wanted[key]), key))
    done = 0
    for keys in batches(lacking, ENCODE_BATCH):
        if tools.stopping.is_set():  # what was embedded is kept, and the next step puts the job down
            break
        vectors = embedder.encode([wanted[key] for key in keys])
        done += len(keys)
        with tools.db.begin(durable=False) as session:
            going_on = claims.show(session, held, "embedding", done, len(lacking), "chunks")
            if held and not going_on:
                break
            _insert_embeddings(session, keys, vectors)
    return unknown


def _known_keys(tools: Tools, keys: Iterable[str]) -> set[str]:
    """Those of the keys that have a vector."""
    known: set[str] = set()
    with tools.db.read() as session:
        for some in batches(keys, 500):
            known.update(session.scalars(select(Embedding.key).where(Embedding.key.in_(some))))
    return known


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of at most `size`."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _parse(session: Session, version_id: str) -> Parse:
    version, _ = standing.found(session, version_id)
    return session.get_one(Parse, version.parse_key)


def _report(session: Session, held: Claim, stage: str, chunks: int) -> None:
    """Say how far an ingest is; a reindex counts documents, and does so itself."""
    if held.kind is JobKind.REINDEX:
        claims.check(session, held)
    else:
        claims.progress(session, held, stage, chunks, chunks, "chunks")


def _text(embedder: Embedder, made: Chunk) -> Text:
    text = encoder_text(made.heading_path, made.text)
    return Text(fingerprints.embedding_key(embedder.fingerprint, text), text)


def _add_languages(session: Session, generation_id: str, languages: set[str]) -> None:
    """In one order, so that two that add the same wait for each other in one direction only."""
    rows = [{"generation_id": generation_id, "language": language} for language in sorted(languages)]
    insert_missing(session, GenerationLanguage, rows)


def _row(target: Target, made: Chunk, key: str, told: Told) -> ChunkRow:
    return ChunkRow(
        id=fingerprints.point_id(target.generation.id, target.version_id, made.ordinal),
        generation_id=target.generation.id,
        version_id=target.version_id,
        ordinal=made.ordinal,
        start=made.start,
        end=made.end,
        page=made.page,
        heading=list(made.heading_path),
        tokens=made.tokens,
        language=told.of(made.text),
        text=made.text,
        embedding_key=key,
    )


def _insert_embeddings(session: Session, keys: Sequence[str], vectors: np.ndarray) -> None:
    """Insert vectors that a chunk needs still; another worker may have made the same ones a moment ago.

    The chunks are held: a purge that takes them waits, and takes their vectors with them.
    """
    needed = (
        select(ChunkRow.embedding_key)
        .where(ChunkRow.embedding_key.in_(keys))
        .order_by(ChunkRow.id)
        .with_for_update(read=True, key_share=True)
    )
    wanted = set(session.scalars(needed))
    rows = [
        {"key": key, "vector": vector.astype(np.float32).tobytes()}
        for key, vector in zip(keys, vectors, strict=True)
        if key in wanted
    ]
    insert_missing(session, Embedding, rows)
