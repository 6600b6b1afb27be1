"""Many documents at once in a database of this process: the product's rows, without a job and a commit for each.

Reading, cutting, encoding, the points and their store are the product's own; only the queue is left out, which
costs more for thousands of short texts than everything else together.
"""

from collections.abc import Iterable
from dataclasses import replace

from evals.vectors import Vectors
from ibid import collections, fingerprints, integrity
from ibid.bootstrap import Parts
from ibid.clock import new_id, now
from ibid.db.session import insert_missing
from ibid.db.tables import (
    Base,
    Blob,
    ChunkRow,
    Collection,
    Document,
    Embedding,
    Generation,
    GenerationLanguage,
    Indexing,
    Parse,
    Version,
)
from ibid.embedding.texts import encoder_text
from ibid.types import Chunk, Element, ElementKind, Scope
from ingest.parsing.languages import Told, languages_of

ADMIN = Scope(key_id="key_evals", role="admin")
Cut = tuple[str, str, tuple[Chunk, ...]]
"""Name, canonical text and chunks of a document."""


def shelve(
    parts: Parts, collection: str, documents: Iterable[Cut], vectors: Vectors, *, named: bool = True
) -> str:
    """A collection of live documents, given by what was read; gives the fingerprint of its index.

    Unless they are `named`, the words of their names are left out of the index.

    `verify` makes the store agree with the rows.
    """
    Base.metadata.create_all(parts.db.engine)
    listed = list(documents)
    known = vectors.of([_text(made) for *_, chunks in listed for made in chunks])
    recipe = parts.recipe()
    recipe = replace(recipe, sparse=replace(recipe.sparse, named=named and recipe.sparse.named))
    with parts.db.begin() as session:
        made = collections.create(session, name=collection, description="", grants=None, recipe=recipe)
        stored = [{"key": key, "vector": vector.tobytes()} for key, vector in known.items()]
        insert_missing(session, Embedding, stored)  # another collection may have the same texts
        blob = Blob(id=new_id("blob"), sha256="", size=0, key="", touched_at=now())
        session.add(blob)
        index = session.get_one(Generation, made.active_generation_id).fingerprint
        rows = [row for each in listed for row in _rows(made, blob.id, each, vectors)]
        spoken = {row.language for row in rows if isinstance(row, ChunkRow) and row.language}
        session.add_all(
            GenerationLanguage(generation_id=made.active_generation_id, language=language)
            for language in sorted(spoken)
        )
        for table in (Parse, Document, Version, Indexing, ChunkRow):  # each refers to those before it
            session.flush()
            session.add_all(row for row in rows if isinstance(row, table))
    integrity.verify(parts, ADMIN, collection, repair=True)
    return index


def _rows(collection: Collection, blob_id: str, read: Cut, vectors: Vectors) -> list[Base]:
    name, text, chunks = read
    moment, version_id, document_id = now(), new_id("ver"), new_id("doc")
    generation_id = collection.active_generation_id
    document = Document(
        id=document_id,
        collection_id=collection.id,
        identity=f"name:{name}",
        name=name,
        meta={},
        current_version_id=version_id,
        created_at=moment,
        updated_at=moment,
    )
    parse = Parse(key=fingerprints.of(version_id), text=text, layout=b"", seconds=0.0, created_at=moment)
    version = Version(
        id=version_id,
        document_id=document_id,
        number=1,
        blob_id=blob_id,
        sha256="",
        filename=name,
        media_type="",
        size=0,
        job_id="",
        receipt={},
        parse_key=parse.key,
        live_from=moment,
        created_at=moment,
    )
    cut = _chunks(collection, version_id, name, chunks, vectors)
    counts = dict.fromkeys(("made", "embedded", "chunks"), len(cut))
    stored = Indexing(generation_id=generation_id, version_id=version_id, created_at=moment, **counts)
    return [parse, document, version, stored, *cut]


def _chunks(
    collection: Collection, version_id: str, name: str, chunks: tuple[Chunk, ...], vectors: Vectors
) -> list[ChunkRow]:
    told = Told(_languages(chunks))
    return [
        ChunkRow(
            # By names, where the product has ids: what scores the same comes in the same order each time.
            id=fingerprints.point_id(collection.name, name, made.ordinal),
            generation_id=collection.active_generation_id,
            version_id=version_id,
            ordinal=made.ordinal,
            start=made.start,
            end=made.end,
            page=made.page,
            heading=list(made.heading_path),
            tokens=made.tokens,
            language=told.of(made.text),
            text=made.text,
            embedding_key=vectors.key(_text(made)),
        )
        for made in chunks
    ]


def _languages(chunks: tuple[Chunk, ...]) -> tuple[str, ...]:
    whole = "\n\n".join(made.text for made in chunks)
    return languages_of(whole, [Element(ElementKind.PARAGRAPH, 0, len(whole))])


def _text(made: Chunk) -> str:
    return encoder_text(made.heading_path, made.text)
