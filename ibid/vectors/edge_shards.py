"""The folders of Qdrant Edge: what a generation's holds, how a shard is made, and what its errors mean.

A generation's folder has a manifest, which names the folder of its shard. That name is the one switch by which a
compacted copy takes a shard's place.
"""

import json
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import qdrant_edge as edge

from ibid.vectors.errors import StoreUnavailable
from ibid.vectors.layout import DENSE, KEYWORDS, NUMBERS, SPARSE

MANIFEST = "generation.json"
SHARD = "shard"
# Of the engine, in a shard: where it notes each write before it makes it.
_LOG = "wal"
# A part of the log that is not in use yet.
_DRAFT = "tmp-"
# In kilobytes, and far beyond any shard: nothing is ever optimised on its own.
_NEVER = 1 << 31


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known of a generation's shard without opening it: its folder, and how many points its compaction found."""

    dimensions: int
    shard: str = SHARD
    compacted: int = 0


class Witness(Protocol):
    """Somebody who must know of every change to a shard, before it is made."""

    def see(self, operation: edge.UpdateOperation, points: int) -> None:
        """One change, and about how many points it writes."""
        ...

    def cancel(self) -> None:
        """The shard goes away."""
        ...


class Shard:
    """A generation's folder and, while it is open, its engine; everything but `exists` under the lock.

    `installing` is taken before the lock by whoever replaces or removes the folder of the shard. `graph` says whether
    the engine is a compacted one, `changed` how many points were written since the process began or it was compacted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        self.installing = threading.Lock()
        self.engine: edge.EdgeShard | None = None
        self.graph = False
        self.witness: Witness | None = None
        self.changed = 0
        self.last_use = 0

    def exists(self) -> bool:
        """Whether the generation does."""
        return (self.folder / MANIFEST).is_file()

    def manifest(self) -> Manifest:
        """What the folder says of itself."""
        return Manifest(**json.loads((self.folder / MANIFEST).read_text()))

    def open(self) -> edge.EdgeShard:
        """The engine, loaded if it is not."""
        if self.engine is None:
            manifest = self.manifest()
            self.engine = edge.EdgeShard.load(str(self.folder / manifest.shard))
            self.graph = manifest.shard != SHARD
        return self.engine

    def update(self, operation: edge.UpdateOperation, points: int = 1) -> None:
        """Change the shard, and let whoever copies it know."""
        shard = self.open()
        if self.witness is not None:
            self.witness.see(operation, points)
        self.changed += points
        shard.update(operation)

    def settle(self) -> list[int]:
        """Make what was written durable, or give the descriptors with which `settled` does so once the lock is free.

        `flush` holds the lock and the interpreter for as long as the disk takes. While a copy is built, the child
        that builds it keeps the disk busy, and the shard needs no flush: the copy is flushed, and the former shard
        deleted. Until then the engine's log of writes is enough, from which `load` makes them again.
        """
        if self.witness is None:
            self.open().flush()
            return []
        log = self.folder / self.manifest().shard / _LOG
        used = [file for file in log.iterdir() if not file.name.startswith(_DRAFT)]
        return [os.open(path, os.O_RDONLY) for path in (*used, log)]

    def close(self) -> None:
        """Put the engine away."""
        if self.engine is not None:
            engine, self.engine = self.engine, None
            engine.flush()
            engine.close()

    def cancel(self) -> None:
        """Give up a compaction in progress."""
        if self.witness is not None:
            self.witness.cancel()


def settled(log: Sequence[int]) -> None:
    """Wait until the files are on the disk, whatever their names are by now, and close their descriptors."""
    with ExitStack() as ends:
        for descriptor in log:
            ends.callback(os.close, descriptor)
        for descriptor in log:
            os.fsync(descriptor)


def make_shard(folder: Path, dimensions: int) -> None:
    """An empty shard that is searched by reading all of it, and takes writes."""
    config = edge.EdgeConfig(
        vectors={DENSE: edge.EdgeVectorParams(size=dimensions, distance=edge.Distance.Cosine)},
        sparse_vectors={SPARSE: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=_NEVER, vacuum_min_vector_number=_NEVER),
    )
    shard = edge.EdgeShard.create(str(folder), config)
    try:
        index = edge.UpdateOperation.create_field_index
        for field in KEYWORDS:
            shard.update(index(field, edge.PayloadSchemaType.Keyword))
        for field in NUMBERS:
            shard.update(index(field, edge.PayloadSchemaType.Float))
        shard.flush()
    finally:
        shard.close()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put the manifest in place of the former one; readers and crashes find one or the other.

    When it returns the new one is in force; `sync_folder` makes that durable.
    """
    draft = folder / f"{MANIFEST}.new"
    with draft.open("w") as file:
        json.dump(asdict(manifest), file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / MANIFEST)


def clear_unnamed(folder: Path) -> None:
    """Delete what a generation's folder holds beside its manifest and the shard that this names."""
    shard = Shard(folder)
    if not shard.exists():
        return
    for inner in folder.iterdir():
        if inner.is_dir() and inner.name != shard.manifest().shard:
            shutil.rmtree(inner)


@contextmanager
def translated(generation: str) -> Iterator[None]:
    """The engine raises nothing more special than `Exception` itself; everything else is not its own and passes."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(
            f"The vector store could not write to its folder ({error.strerror}). Check the disk and its space."
        ) from error
    except Exception as error:
        if type(error) is not Exception:
            raise
        raise _unavailable(generation, str(error)) from error


def _unavailable(generation: str, reason: str) -> StoreUnavailable:
    if "WouldBlock" in reason:
        return StoreUnavailable(
            f"Another process has {generation} open, and only one can. Stop the other `ibid serve` on this data directory."
        )
    return StoreUnavailable(
        f"The vector engine failed on {generation} ({reason}). If it stays so, run `ibid verify`: it rebuilds the vectors."
    )
