"""How fast `verify` compares the rows of a collection with its points, both ways, and makes the points anew."""

import random
import time
import tracemalloc
from collections.abc import Iterator

from sqlalchemy import insert

from benchmarks.bench import Bench, Row
from ibid import collections, fingerprints, integrity
from ibid.bootstrap import Parts, open_parts
from ibid.clock import new_id, now
from ibid.db.tables import Base, Blob, ChunkRow, Collection, Document, Indexing, Version
from ibid.nudge.memory import MemoryNudge
from ibid.settings import Settings
from ibid.types import Scope

ADMIN = Scope(key_id="key_bench", role="admin")
CHUNKS = 100
MIB = 1024 * 1024


def measure(bench: Bench) -> list[Row]:
    """Chunks of random words with vectors of the hashing encoder: what the words mean plays no part here."""
    settings = Settings(data_dir=bench.scratch / "verified", embedder="hashing", sample=False)
    parts = open_parts(settings, nudge=MemoryNudge())
    try:
        size = _fill(parts, bench.some(1000, 3))
        filling, _ = _timed(parts, repair=True)
        comparing, peak = _timed(parts, repair=False)
    finally:
        parts.close()
    note = f"{size:,} points, SQLite and Qdrant Edge"
    return [
        Row("verify", "compare SQL and points both ways", size / comparing, "points/s", note=note),
        Row("verify", "make lost points anew", size / filling, "points/s", note=f"{note}, vectors too"),
        Row("verify", "peak of Python's memory while comparing", peak / MIB, "MiB", note=note),
    ]


def _timed(parts: Parts, *, repair: bool) -> tuple[float, int]:
    """Seconds of a comparison, and then the bytes it held at most, in a run of its own."""
    begin = time.perf_counter()
    integrity.verify(parts, ADMIN, "verified", repair=repair)
    seconds = time.perf_counter() - begin
    if repair:
        return seconds, 0
    tracemalloc.start()
    (found,) = integrity.verify(parts, ADMIN, "verified", repair=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    if found.gaps or found.orphans or found.stale or found.points != found.chunks:
        raise AssertionError(f"the store does not agree after its repair: {found}")
    return seconds, peak


def _fill(parts: Parts, documents: int) -> int:
    """Documents of so many chunks each, in SQL alone; gives how many chunks."""
    Base.metadata.create_all(parts.db.engine)
    with parts.db.begin() as session:
        made = collections.create(
            session, name="verified", description="", grants=None, recipe=parts.recipe()
        )
        session.add(Blob(id="blob", sha256="", size=0, key="none", touched_at=now()))
        session.flush()
        for number in range(documents):
            document = _document(made, f"{number}.txt")
            version = _version(document)
            session.add(document)
            session.flush()
            session.add(version)
            session.flush()
            counts = dict.fromkeys(("made", "embedded", "chunks"), CHUNKS)
            generation_id = made.active_generation_id
            session.add(
                Indexing(generation_id=generation_id, version_id=version.id, created_at=now(), **counts)
            )
            session.execute(insert(ChunkRow), list(_chunks(generation_id, version.id, number)))
    return documents * CHUNKS


def _document(collection: Collection, name: str) -> Document:
    return Document(
        id=new_id("doc"),
        collection_id=collection.id,
        identity=f"name:{name}",
        name=name,
        meta={},
        created_at=now(),
        updated_at=now(),
    )


def _version(document: Document) -> Version:
    return Version(
        id=new_id("ver"),
        document_id=document.id,
        number=1,
        blob_id="blob",
        sha256="",
        filename=document.name,
        media_type="",
        size=0,
        job_id="",
        receipt={},
        live_from=now(),
        created_at=now(),
    )


def _chunks(generation_id: str, version_id: str, number: int) -> Iterator[dict[str, object]]:
    words = random.Random(number)  # noqa: S311 - the same words in every run
    for ordinal in range(CHUNKS):
        yield {
            "id": fingerprints.point_id(generation_id, version_id, ordinal),
            "generation_id": generation_id,
            "version_id": version_id,
            "ordinal": ordinal,
            "start": 0,
            "end": 0,
            "heading": [],
            "tokens": 60,
            "text": " ".join(f"word{words.randrange(20_000)}" for _ in range(60)),
            "embedding_key": f"{version_id}:{ordinal}",
        }
