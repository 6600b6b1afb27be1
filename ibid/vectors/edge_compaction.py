"""A compacted copy takes a shard's place while the shard is searched and written to.

A child process builds the copy (`edge_compactor`), from points read a few at a time. Every write made meanwhile is kept
in a journal, in order, and made again on the copy before it is switched in. It does no harm that the copy may have seen
some of them already: what a point was written or deleted as a whole settles its state whatever was there before, and
as long as it is not, its document and version stay what they are, so that writes to those hit it each time alike.
"""

import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import qdrant_edge as edge

from ibid.disk import sync_folder
from ibid.vectors.edge_compactor import to_batch
from ibid.vectors.edge_shards import SHARD, Manifest, Shard, write_manifest
from ibid.vectors.errors import StoreUnavailable
from ibid.vectors.wire import received, send

# So many are read while searches wait: a few milliseconds.
_BATCH = 100
# Points of writes that are kept in memory until the copy is built, 3 KB each. Beyond it the copy is given up.
MOST_JOURNALLED = 50_000
# Writes that are made again while others wait.
_LAST = 4


class Stopped(Exception):
    """The shard went away, or so much was written to it that the copy is given up."""


class Journal:
    """Writes to a shard since its copy was begun. Seen and read under the shard's lock, but for `cancelled`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._points = 0
        self._operations: list[edge.UpdateOperation] = []
        self._replayed = 0
        self.cancelled = False
        self.child: subprocess.Popen[bytes] | None = None

    def see(self, operation: edge.UpdateOperation, points: int) -> None:
        """Keep one write, of about so many points."""
        self._points += points
        if self._points > self._limit:
            self.cancel()
        if not self.cancelled:
            self._operations.append(operation)

    def cancel(self) -> None:
        """Give the copy up, at once also where it is waited for."""
        self.cancelled = True
        self._operations.clear()
        child = self.child  # which the thread that waits for it may forget just now
        if child is not None:
            child.kill()

    def check(self) -> None:
        """Raise `Stopped` once the copy is given up."""
        if self.cancelled:
            raise Stopped

    def left(self) -> list[edge.UpdateOperation]:
        """The writes that were not yet given out, which they are from now on."""
        self.check()
        left = self._operations[self._replayed :]
        self._replayed += len(left)
        return left


def compact(entry: Shard, building: Path) -> bool:
    """Put a compacted copy in the shard's place; whether that was done, and not given up.

    The copy is built in the folder `building`. Raises `StoreUnavailable` when the child fails.
    """
    with entry.lock:
        if entry.witness is not None or not entry.exists():
            return False
        entry.witness = journal = Journal(MOST_JOURNALLED)
        manifest, changed = entry.manifest(), entry.changed
    try:
        points = _build(entry, journal, building / SHARD, manifest.dimensions)
        with entry.installing:
            _install(entry, journal, building / SHARD, replace(manifest, compacted=points))
        with entry.lock:
            entry.changed -= changed
    except Stopped:
        return False
    finally:
        with entry.lock:
            if entry.witness is journal:
                entry.witness = None
        if building.exists():
            shutil.rmtree(building)
    return True


def _build(entry: Shard, journal: Journal, folder: Path, dimensions: int) -> int:
    """Let a child build the copy; gives the number of points that it was given."""
    folder.parent.mkdir()
    with _child(journal, folder, dimensions) as connection:
        try:
            points = 0
            for records in _scrolled(entry, journal):
                send(connection, "points", to_batch(records))
                points += len(records)
            send(connection, "done", None)
            received(connection)
        except (EOFError, ConnectionError) as error:
            journal.check()
            raise StoreUnavailable(
                f"The compaction of {entry.folder.name} ended before its time; the log says why. It is tried again later."
            ) from error
    return points


def _scrolled(entry: Shard, journal: Journal) -> Iterator[list[edge.Record]]:
    offset: str | int | uuid.UUID | None = None
    while True:
        request = edge.ScrollRequest(offset=offset, limit=_BATCH, with_payload=True, with_vector=True)
        with entry.lock:
            journal.check()
            records, offset = entry.open().scroll(request)
        if records:
            yield records
        if offset is None:
            return


@contextmanager
def _child(journal: Journal, folder: Path, dimensions: int) -> Iterator[Connection]:
    """A connection to the child, which is gone when the block ends."""
    ours, theirs = socket.socketpair()
    program = [sys.executable, "-m", "ibid.vectors.edge_compactor"]
    arguments = [str(folder), str(dimensions), str(theirs.fileno())]
    with ours, theirs:
        journal.child = subprocess.Popen(  # noqa: S603 - our own module
            [*program, *arguments],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # a key that interrupts the server is for the server
        )
        connection = Connection(ours.detach())
    try:
        journal.check()
        yield connection
    finally:
        connection.close()
        journal.child.kill()
        journal.child.wait()
        journal.child = None


def _install(entry: Shard, journal: Journal, built: Path, manifest: Manifest) -> None:
    """Bring the copy up to date and switch to it. A crash leaves one of both, whole, and what the next start deletes."""
    former = entry.folder / manifest.shard
    folder = entry.folder / f"{SHARD}-{uuid.uuid4().hex}"
    with entry.lock:
        journal.check()
        built.rename(folder)
        sync_folder(entry.folder)
    try:
        engine = _switch(entry, journal, folder, replace(manifest, shard=folder.name))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # gone where the generation was dropped
        raise
    sync_folder(entry.folder)
    if engine is not None:
        engine.close()
    shutil.rmtree(former)


def _switch(entry: Shard, journal: Journal, folder: Path, manifest: Manifest) -> edge.EdgeShard | None:
    """Open the copy, write what it lacks, and let it be the shard; gives the former engine, if that is open."""
    engine = edge.EdgeShard.load(str(folder))
    try:
        left = _LAST + 1
        while left > _LAST:
            with entry.lock:
                operations = journal.left()
            left = len(operations)
            for operation in operations:
                engine.update(operation)
        engine.flush()
        with entry.lock:
            for operation in journal.left():
                engine.update(operation)
            engine.flush()
            write_manifest(entry.folder, manifest)
            former, entry.engine = entry.engine, engine
            entry.graph = True
            entry.witness = None
    except BaseException:
        engine.close()
        raise
    return former
