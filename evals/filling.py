"""A set's documents in a knowledge base of this process, and where the spans of its questions stand in them."""

import hashlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from evals.reading import chunked, read
from evals.sets import Gold, QuestionSet
from evals.shelf import Cut, shelve
from evals.vectors import Vectors
from ibid.bootstrap import Parts, open_parts
from ibid.chat.registry import ChatModels
from ibid.embedding.port import Embedder
from ibid.nudge.memory import MemoryNudge
from ibid.settings import Settings
from ingest.parsing.errors import NoText
from retrieval.kit import Kit
from retrieval.reranking import load_reranker


@dataclass(frozen=True, slots=True)
class Filled:
    """A collection that holds a set's documents, and the set with its spans placed in their canonical text.

    `empty` names the documents without text, which are not in the collection; `lost` counts the spans that no
    document holds. `digest` is a hash of all names and texts, `index` the fingerprint of encoder, chunker and BM25.
    """

    collection: str
    asked: QuestionSet
    documents: int
    chunks: int
    empty: tuple[str, ...]
    lost: int
    digest: str
    index: str


@dataclass(frozen=True, slots=True)
class Index:
    """What is indexed with a chunk's own words: the headings above it, and its document's name."""

    headings: bool = True
    named: bool = True


WHOLE: Final = Index()
"""As the product does it."""


@contextmanager
def scratch(settings: Settings) -> Iterator[tuple[Parts, Kit]]:
    """A knowledge base of its own for the time of the block; whatever servers the settings name are left alone."""
    with tempfile.TemporaryDirectory(prefix="ibid-eval-") as folder:
        own = {
            "data_dir": Path(folder),
            "encoder_dir": str(settings.encoder_folder),
            "database_url": "",
            "qdrant_url": "",
            "blobs_url": "",
            "broker_url": "",
        }
        parts = open_parts(settings.model_copy(update=own), nudge=MemoryNudge())
        try:
            yield parts, kit_of(parts)
        finally:
            parts.close()


def kit_of(parts: Parts) -> Kit:
    """What searches work with."""
    models = ChatModels(lambda: parts.encoders.get(parts.settings.embedder), parts.settings)
    reranker = load_reranker(parts.settings)
    return Kit(parts.db, parts.store, parts.encoders, models, parts.settings, reranker)


def fill(
    parts: Parts,
    collection: str,
    asked: QuestionSet,
    encoder: Embedder,
    vectors: Vectors,
    indexed: Index = WHOLE,
) -> Filled:
    """Make the collection: read, cut and index the documents; only texts whose vector is not known yet are embedded."""
    texts: dict[str, str] = {}
    cuts: list[Cut] = []
    empty: list[str] = []
    for source in asked.sources:
        content = source.read()
        try:
            parsed = read(source.filename, content) if content.strip() else None
        except NoText:
            parsed = None
        chunks = chunked(encoder, parsed) if parsed else ()
        if parsed is None or not chunks:
            empty.append(source.name)
            continue
        texts[source.name] = parsed.text
        if not indexed.headings:
            chunks = tuple(replace(made, heading_path=()) for made in chunks)
        cuts.append((source.name, parsed.text, chunks))
    index = shelve(parts, collection, cuts, vectors, named=indexed.named)
    placed, lost = _placed(asked, texts)
    return Filled(
        collection=collection,
        asked=placed,
        documents=len(cuts),
        chunks=sum(len(chunks) for *_, chunks in cuts),
        empty=tuple(empty),
        lost=lost,
        digest=hashlib.sha256(repr(sorted(texts.items())).encode()).hexdigest(),
        index=index,
    )


def place(text: str, gold: Gold) -> tuple[int, int] | None:
    """Where the span stands in the text: its quote, whatever its white space, nearest to `start`; None if nowhere."""
    if not gold.quote:
        start, end = gold.start or 0, gold.end or 0
        return (start, end) if 0 <= start < end <= len(text) else None
    pattern = r"\s+".join(map(re.escape, gold.quote.split()))
    found = [match.span() for match in re.finditer(pattern, text)]
    return min(found, key=lambda span: abs(span[0] - (gold.start or 0)), default=None)


def _placed(asked: QuestionSet, texts: Mapping[str, str]) -> tuple[QuestionSet, int]:
    """The set with each span where it stands, and how many stand nowhere; a question without any is left out."""
    if asked.kind != "spans":
        return asked, 0
    questions, lost = [], 0
    for question in asked.questions:
        spans = [(gold, place(texts.get(gold.document, ""), gold)) for gold in question.gold]
        golds = tuple(replace(gold, start=span[0], end=span[1]) for gold, span in spans if span)
        lost += len(spans) - len(golds)
        if golds:
            questions.append(replace(question, gold=golds))
    left_out = asked.left_out + len(asked.questions) - len(questions)
    return replace(asked, questions=tuple(questions), left_out=left_out), lost
