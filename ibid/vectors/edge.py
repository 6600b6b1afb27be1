"""Qdrant Edge: the engine inside this process, one shard in a folder per generation.

A shard belongs to one process. Its calls hold Python's GIL, so searches queue whatever locks there are; the lock of
each shard only keeps it from being closed under a caller. `optimize()` is never called here: it would hold the GIL for
its whole run. A child process does it on a copy (`edge_compaction`), and until then all vectors are read.
"""

import shutil
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import qdrant_edge as edge

from ibid.disk import sync_folder
from ibid.marks import Mark
from ibid.settings import Settings
from ibid.vectors import edge_search
from ibid.vectors.conditions import visible
from ibid.vectors.edge_compaction import compact
from ibid.vectors.edge_filters import filter_of
from ibid.vectors.edge_shards import (
    MANIFEST,
    SHARD,
    Manifest,
    Shard,
    clear_unnamed,
    make_shard,
    settled,
    translated,
    write_manifest,
)
from ibid.vectors.layout import DENSE, SPARSE, described, following, loaded, stored
from ibid.vectors.names import check_points, check_same, checked, is_name, missing
from ibid.vectors.port import (
    Candidate,
    Fence,
    HybridQuery,
    Point,
    PointRef,
)
from ibid.vectors.union import sees_nothing

# An open shard costs 8 threads and a file-backed reserve, so the least recently used are closed.
MOST_OPEN = 8

_NEW, _TRASH = ".new-", ".trash-"


class EdgeVectorStore:
    """Generations below one folder, opened when first used. Thread-safe.

    Writes are on disk when they return, points with the next `sync`.

    Raises `StoreUnavailable` when another process holds a shard or the disk fails.
    """

    def __init__(self, root: Path, *, most_open: int = MOST_OPEN) -> None:
        self._root = root
        self._most_open = most_open
        self._table = threading.Lock()
        self._shards: dict[str, Shard] = {}
        self._uses = 0
        root.mkdir(parents=True, exist_ok=True)
        self._clear_leftovers()

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The store below the data directory."""
        return cls(settings.data_dir / "vectors")

    def candidates(self, generation: str, query: HybridQuery) -> list[Candidate]:
        """What either leg has among its best, in the order of ids."""
        if sees_nothing(query):
            self._expect(generation)
            return []
        seen = filter_of(visible(query.filter))
        with self._opened(generation) as entry:
            return edge_search.candidates(entry.open(), query, seen, graph=entry.graph)

    def count(self, generation: str, *, version_id: str | None = None, document_id: str | None = None) -> int:
        """Exact number of points, all or those of one version or document."""
        wanted = (("version_id", version_id), ("document_id", document_id))
        both: list[edge.ConditionType] = [_is(key, value) for key, value in wanted if value is not None]
        request = edge.CountRequest(exact=True, filter=edge.Filter(must=both))
        with self._open(generation) as shard:
            return shard.count(request)

    def scan(
        self, generation: str, *, batch: int = 1000, after: str | None = None
    ) -> Iterator[list[PointRef]]:
        """Every stored point once, or those after one, in the order of ids; other calls may come between two batches."""
        offset: str | int | uuid.UUID | None = following(after)
        while True:
            request = edge.ScrollRequest(offset=offset, limit=batch, with_payload=True, with_vector=False)
            with self._open(generation) as shard:
                records, offset = shard.scroll(request)
            if records:
                yield [PointRef(str(record.id), loaded(record.payload)) for record in records]
            if offset is None:
                return

    def generations(self) -> set[str]:
        """The generations that exist in the store."""
        return {
            folder.name
            for folder in self._root.iterdir()
            if is_name(folder.name) and (folder / MANIFEST).is_file()
        }

    def create(self, generation: str, dimensions: int) -> None:
        """Make the generation's folder, whole or not at all; nothing happens if it exists with these dimensions."""
        entry = self._entry(generation)
        with entry.lock:
            if entry.exists():
                check_same(generation, entry.manifest().dimensions, dimensions)
                return
            building = self._root / f"{_NEW}{uuid.uuid4().hex}"
            with translated(generation):
                building.mkdir()
                make_shard(building / SHARD, dimensions)
                write_manifest(building, Manifest(dimensions))
                sync_folder(building)
                if entry.folder.exists():  # without a manifest it is not one of ours that was ever finished
                    self._discard(entry.folder)
                building.rename(entry.folder)
                sync_folder(self._root)

    def upsert(self, generation: str, points: Sequence[Point], *, fence: Fence | None = None) -> None:  # noqa: ARG002 - the port's signature
        """Write points. Whoever lends the store to others (`remote`) checks the fence."""
        entry = self._expect(generation)
        if not points:
            return
        check_points(generation, points, entry.manifest().dimensions)
        with translated(generation):
            operation = edge.UpdateOperation.upsert_points([_theirs(point) for point in points])
        with self._opened(generation) as entry:
            entry.update(operation, len(points))

    def sync(self, generation: str) -> None:
        """Make durable what was written to the generation's shard."""
        self._write(generation)

    def supersede(self, generation: str, version_id: str, live_to: float) -> None:
        """Give all points of a version an end (epoch seconds)."""
        self._set_payload(generation, _is("version_id", version_id), {"live_to": live_to})

    def describe(
        self,
        generation: str,
        document_id: str,
        access: tuple[str, ...],
        marks: tuple[Mark, ...],
        *,
        fence: Fence | None = None,  # noqa: ARG002 - the port's signature
    ) -> None:
        """Replace the access list and the marks of all points of a document."""
        self._set_payload(generation, _is("document_id", document_id), described(access, marks))

    def delete(
        self,
        generation: str,
        *,
        point_ids: Sequence[str] = (),
        version_id: str | None = None,
        document_id: str | None = None,
        fence: Fence | None = None,  # noqa: ARG002 - the port's signature
    ) -> None:
        """Remove points by id, and all of a version, and all of a document, as far as given."""
        operations = []
        with translated(generation):
            if point_ids:
                operations.append(edge.UpdateOperation.delete_points(list(point_ids)))
        for key, value in (("version_id", version_id), ("document_id", document_id)):
            if value is not None:
                all_of = edge.Filter(must=[_is(key, value)])
                operations.append(edge.UpdateOperation.delete_points_by_filter(all_of))
        self._write(generation, *operations)

    def drop(self, generation: str) -> None:
        """Remove the generation's folder, even one that cannot be opened; nothing happens if there is none."""
        entry = self._entry(generation)
        with entry.lock:
            entry.cancel()
        with entry.installing, entry.lock, translated(generation):
            entry.close()
            if entry.folder.exists():
                self._discard(entry.folder)

    def flush(self) -> None:
        """Flush every open shard, for a backup of the folder."""
        for entry in self._entries():
            with entry.lock, translated(entry.folder.name):
                if entry.engine is not None:
                    entry.engine.flush()

    def close(self) -> None:
        """Close every shard, waiting for calls that are in one."""
        for entry in self._entries():
            with entry.lock, translated(entry.folder.name):
                entry.cancel()
                entry.close()

    def due(self, after: int) -> list[str]:
        """Generations in use of whose points so many were written or removed since their compaction."""
        due = []
        for entry in self._entries():
            with entry.lock, translated(entry.folder.name):
                if entry.engine is not None and entry.exists():
                    moved = abs(entry.engine.info().points_count - entry.manifest().compacted)
                    due += [entry.folder.name] * (max(moved, entry.changed) >= after)
        return due

    def compact(self, generation: str) -> bool:
        """Put a compacted copy in place of the generation's shard, which serves meanwhile; whether that was done.

        It is given up when the generation is dropped, the store closed, or very much is written during it.
        """
        entry = self._expect(generation)
        with translated(generation):
            return compact(entry, self._root / f"{_NEW}{uuid.uuid4().hex}")

    def stop_compacting(self) -> None:
        """Give up compactions that are in progress."""
        for entry in self._entries():
            with entry.lock:
                entry.cancel()

    def _set_payload(self, generation: str, those: edge.FieldCondition, payload: dict[str, object]) -> None:
        operation = edge.UpdateOperation.set_payload_by_filter(edge.Filter(must=[those]), payload)
        self._write(generation, operation)

    def _write(self, generation: str, *operations: edge.UpdateOperation) -> None:
        """Make the changes, durably, and whatever was written before them."""
        with self._opened(generation) as entry:
            for operation in operations:
                entry.update(operation)
            log = entry.settle()
        with translated(generation):
            settled(log)

    @contextmanager
    def _open(self, generation: str) -> Iterator[edge.EdgeShard]:
        """The generation's shard, ours until the block ends."""
        with self._opened(generation) as entry:
            yield entry.open()

    @contextmanager
    def _opened(self, generation: str) -> Iterator[Shard]:
        """The generation's entry with its shard open, ours until the block ends."""
        entry = self._entry(generation)
        with entry.lock:
            if not entry.exists():
                raise missing(generation)
            with translated(generation):
                entry.open()
                self._close_surplus(entry)
                yield entry

    def _expect(self, generation: str) -> Shard:
        entry = self._entry(generation)
        if not entry.exists():
            raise missing(generation)
        return entry

    def _entry(self, generation: str) -> Shard:
        """The one entry of this name. It stays for good, so that two threads never hold two locks for one folder."""
        with self._table:
            entry = self._shards.setdefault(checked(generation), Shard(self._root / generation))
            self._uses += 1
            entry.last_use = self._uses
            return entry

    def _entries(self) -> list[Shard]:
        with self._table:
            return sorted(self._shards.values(), key=lambda entry: entry.last_use)

    def _close_surplus(self, keep: Shard) -> None:
        """Close the least recently used shards that nobody is in, down to the limit."""
        opened = [entry for entry in self._entries() if entry.engine is not None]
        surplus = len(opened) - self._most_open
        for entry in opened:
            if surplus > 0 and entry is not keep and entry.lock.acquire(blocking=False):
                try:
                    entry.close()
                finally:
                    entry.lock.release()
                surplus -= 1

    def _discard(self, folder: Path) -> None:
        """Out of the way in one step, then deleted; a crash in between leaves only what the next start deletes."""
        trash = self._root / f"{_TRASH}{uuid.uuid4().hex}"
        folder.rename(trash)
        sync_folder(self._root)
        shutil.rmtree(trash)

    def _clear_leftovers(self) -> None:
        for folder in self._root.iterdir():
            if folder.name.startswith(_TRASH):
                shutil.rmtree(folder)
            elif folder.name.startswith(_NEW):
                self._discard(folder)  # renamed first: a child that is just dying may still write there
            elif is_name(folder.name):
                clear_unnamed(folder)


def _theirs(point: Point) -> edge.Point:
    words = edge.SparseVector(list(point.sparse.indices), list(point.sparse.values))
    return edge.Point(point.id, {DENSE: point.dense.tolist(), SPARSE: words}, stored(point))


def _is(key: str, value: str) -> edge.FieldCondition:
    return edge.FieldCondition(key, match=edge.MatchValue(value))
