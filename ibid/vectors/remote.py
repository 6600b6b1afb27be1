"""Lending an embedded store to another process: `StoreServer` in its owner, `RemoteVectorStore` in the borrower.

One call is one pickled request and its reply over a Unix socket that only this user can reach. Both sides prove
that they know a random key (HMAC, from `multiprocessing.connection`) before either unpickles a byte. What can be
called is exactly the port. `multiprocessing.managers`, a layer above, was left out: it also serves object creation,
reference counts and shutdown, and accepts no streams, which a scan is.
"""

import logging
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from pathlib import Path
from typing import Any, cast
from weakref import WeakSet

from ibid.marks import Mark
from ibid.vectors.errors import Fenced, StoreUnavailable
from ibid.vectors.port import Candidate, Fence, HybridQuery, Point, PointPayload, PointRef, VectorStore
from ibid.vectors.wire import (
    Columns,
    from_columns,
    hang_up,
    listen,
    lost,
    new_address,
    new_authkey,
    portable,
    received,
    remove,
    reply,
    send,
    to_columns,
    wake,
)

__all__ = ["RemoteVectorStore", "StoreServer", "new_address", "new_authkey"]

READS = frozenset({"candidates", "count", "generations"})
WRITES = frozenset({"create", "sync", "supersede", "describe", "delete", "drop"})
TIMEOUT = 60.0

_PAUSE = 0.1

MayWrite = Callable[[Fence], bool]

logger = logging.getLogger(__name__)


class StoreServer:
    """Serves a store until `close()`, one daemon thread per connection.

    `may_write` says whether an attempt is still the one that may write. It is asked under the lock that all lent
    writes share, so a delete that follows the end of an attempt never comes between its question and its write.
    """

    def __init__(self, store: VectorStore, address: Path, authkey: bytes, may_write: MayWrite) -> None:
        self._store = store
        self._address = address
        self._authkey = authkey
        self._may_write = may_write
        self._writing = threading.Lock()
        self._guard = threading.Lock()
        self._closing = threading.Event()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._listener = listen(address)
        self._accepter = threading.Thread(target=self._accept, name="vector-store-server", daemon=True)
        self._accepter.start()

    def close(self) -> None:
        """Stop accepting, end every connection, wait for the calls in progress; the store itself stays open."""
        if self._closing.is_set():
            return
        self._closing.set()
        wake(self._address)
        self._accepter.join()
        self._listener.close()
        remove(self._address)
        with self._guard:
            remaining = dict(self._open)
        for connected in remaining:
            with suppress(OSError):  # its borrower has already gone
                connected.shutdown(socket.SHUT_RDWR)
        for thread in remaining.values():
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self._listener.accept()
            except OSError:  # out of file descriptors, most likely
                logger.exception("the vector store could not take a connection")
                self._closing.wait(_PAUSE)
                continue
            if self._closing.is_set():
                connected.close()
                return
            thread = threading.Thread(
                target=self._converse, args=(connected,), name="vector-store-call", daemon=True
            )
            with self._guard:
                self._open[connected] = thread
            thread.start()

    def _converse(self, connected: socket.socket) -> None:
        """One borrower, until either side hangs up. Authentication is here, so that a silent caller delays nobody."""
        connection = Connection(os.dup(connected.fileno()))
        try:
            deliver_challenge(connection, self._authkey)
            answer_challenge(connection, self._authkey)
            while True:
                method, arguments = received(connection)
                for kind, value in self._replies(method, arguments):
                    send(connection, kind, value)
        except (EOFError, ConnectionError):
            logger.debug("a borrower of the vector store hung up")
        except AuthenticationError:
            logger.warning("somebody without the key tried to reach the vector store")
        finally:
            with self._guard:
                self._open.pop(connected, None)
            connection.close()
            connected.close()

    def _replies(self, method: str, arguments: dict[str, Any]) -> Iterator[tuple[str, object]]:
        """Any number of items and an end, or an error."""
        try:
            if method == "scan":
                for refs in self._store.scan(**arguments):
                    yield "item", [(ref.id, astuple(ref.payload)) for ref in refs]
                yield "done", None
            else:
                yield "done", self._call(method, arguments)
        except Exception as error:  # noqa: BLE001 - a door: whatever happened, the borrower must hear of it
            yield "error", portable(error, method)

    def _call(self, method: str, arguments: dict[str, Any]) -> object:
        if method in READS:
            return getattr(self._store, method)(**arguments)
        if method == "upsert":
            self._upsert(**arguments)
            return None
        if method in WRITES:
            with self._writing:
                self._check(arguments.get("fence"))
                return getattr(self._store, method)(**arguments)
        raise StoreUnavailable(f"The vector store is not asked {method!r} from another process.")

    def _upsert(self, generation: str, columns: Columns, fence: Fence | None) -> None:
        points = from_columns(columns)
        with self._writing:
            self._check(fence)
            self._store.upsert(generation, points, fence=fence)

    def _check(self, fence: Fence | None) -> None:
        if fence is not None and not self._may_write(fence):
            raise Fenced(
                f"Attempt {fence.attempt} of job {fence.job_id} is over, so it changed no points. "
                "Whoever holds the job now does."
            )


class RemoteVectorStore:
    """The store of another process. A connection per thread and process, made when needed and again when lost.

    Every call is idempotent, so one on a connection that turns out to be dead is made once more on a new one.
    Raises `StoreUnavailable` when nobody answers there.
    """

    def __init__(self, address: Path, authkey: bytes, *, timeout: float = TIMEOUT) -> None:
        self._address = address
        self._authkey = authkey
        self._timeout = timeout
        self._mine = threading.local()
        self._guard = threading.Lock()
        self._connections: WeakSet[Connection] = WeakSet()
        self._pid = os.getpid()

    def candidates(self, generation: str, query: HybridQuery) -> list[Candidate]:
        """What either leg has among its best, in the order of ids."""
        return cast(list[Candidate], self._call("candidates", generation=generation, query=query))

    def count(self, generation: str, *, version_id: str | None = None, document_id: str | None = None) -> int:
        """Exact number of points, all or those of one version or document."""
        count = self._call("count", generation=generation, version_id=version_id, document_id=document_id)
        return cast(int, count)

    def scan(
        self, generation: str, *, batch: int = 1000, after: str | None = None
    ) -> Iterator[list[PointRef]]:
        """Every stored point, or those after one, in the order of ids, over a connection that ends with the scan."""
        connection = self._connect()
        try:
            send(connection, "scan", {"generation": generation, "batch": batch, "after": after})
            while True:
                kind, value = reply(connection)
                if kind == "done":
                    return
                yield [PointRef(point_id, PointPayload(*payload)) for point_id, payload in value]
        except (EOFError, OSError) as error:
            raise lost(error) from error
        finally:
            connection.close()

    def generations(self) -> set[str]:
        """The generations that exist in the store."""
        return cast(set[str], self._call("generations"))

    def create(self, generation: str, dimensions: int) -> None:
        """Make the generation; nothing happens if it exists with these dimensions."""
        self._call("create", generation=generation, dimensions=dimensions)

    def upsert(self, generation: str, points: Sequence[Point], *, fence: Fence | None = None) -> None:
        """Write points; the owner raises `Fenced` and writes nothing once the fence's attempt is over."""
        self._call("upsert", generation=generation, columns=to_columns(points), fence=fence)

    def sync(self, generation: str) -> None:
        """Let the owner make all points durable that were written."""
        self._call("sync", generation=generation)

    def supersede(self, generation: str, version_id: str, live_to: float) -> None:
        """Give all points of a version an end (epoch seconds)."""
        self._call("supersede", generation=generation, version_id=version_id, live_to=live_to)

    def describe(
        self,
        generation: str,
        document_id: str,
        access: tuple[str, ...],
        marks: tuple[Mark, ...],
        *,
        fence: Fence | None = None,
    ) -> None:
        """Replace the access list and the marks of all points of a document; fenced as `upsert`."""
        self._call(
            "describe",
            generation=generation,
            document_id=document_id,
            access=access,
            marks=marks,
            fence=fence,
        )

    def delete(
        self,
        generation: str,
        *,
        point_ids: Sequence[str] = (),
        version_id: str | None = None,
        document_id: str | None = None,
        fence: Fence | None = None,
    ) -> None:
        """Remove points by id, and all of a version, and all of a document, as far as given; fenced as `upsert`."""
        self._call(
            "delete",
            generation=generation,
            point_ids=list(point_ids),
            version_id=version_id,
            document_id=document_id,
            fence=fence,
        )

    def drop(self, generation: str) -> None:
        """Remove the generation; nothing happens if there is none."""
        self._call("drop", generation=generation)

    def close(self) -> None:
        """Hang up, also on calls in progress; a later call would connect again."""
        with self._guard:
            for connection in list(self._connections):
                hang_up(connection)

    def _call(self, method: str, **arguments: object) -> object:
        connection, fresh = self._connection()
        try:
            return self._ask(connection, method, arguments)
        except (EOFError, OSError) as error:
            connection.close()
            if fresh or isinstance(error, BlockingIOError):  # nobody there, or no answer in time
                raise lost(error) from error
        connection, _ = self._connection()
        try:
            return self._ask(connection, method, arguments)
        except (EOFError, OSError) as error:
            connection.close()
            raise lost(error) from error

    def _ask(self, connection: Connection, method: str, arguments: dict[str, object]) -> object:
        send(connection, method, arguments)
        return reply(connection)[1]

    def _connection(self) -> tuple[Connection, bool]:
        """The connection of the calling thread, and whether it is new. One from before a fork is the parent's."""
        current: Connection | None = getattr(self._mine, "connection", None)
        if current is not None and not current.closed and self._mine.pid == os.getpid():
            return current, False
        self._mine.connection, self._mine.pid = self._connect(), os.getpid()
        return self._mine.connection, True

    def _connect(self) -> Connection:
        connected = socket.socket(socket.AF_UNIX)
        try:
            connected.connect(os.fspath(self._address))
            limit = struct.pack("ll", int(self._timeout), 0)
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        except OSError as error:
            connected.close()
            raise lost(error) from error
        connection = Connection(connected.detach())
        try:
            answer_challenge(connection, self._authkey)
            deliver_challenge(connection, self._authkey)
        except (EOFError, OSError, AuthenticationError) as error:
            connection.close()
            raise lost(error) from error
        self._remember(connection)
        return connection

    def _remember(self, connection: Connection) -> None:
        if self._pid != os.getpid():  # forked: the lock may be held by a thread that is not here
            self._pid, self._guard, self._connections = os.getpid(), threading.Lock(), WeakSet()
        with self._guard:
            self._connections.add(connection)
