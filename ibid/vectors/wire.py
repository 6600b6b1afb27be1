"""The wire between the owner of a store and its borrowers: where the socket is, and what travels on it."""

import logging
import os
import pickle
import secrets
import socket
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import numpy as np

from ibid.errors import IbidError
from ibid.types import SparseVector
from ibid.vectors.errors import StoreUnavailable
from ibid.vectors.port import Point, PointPayload, Vector

# The kernel's limit is 108 bytes with the final zero, macOS has 104.
_LONGEST_ADDRESS = 100
_BACKLOG = 64
_TEMPORARY = "ibid-vectors-"

# Points as columns: ids, dense vectors as one matrix, sparse vectors, payloads, places in their versions and of how many.
Columns = tuple[
    list[str], Vector | list[Vector], list[tuple[Any, ...]], list[tuple[Any, ...]], list[tuple[int, int]]
]

logger = logging.getLogger(__name__)


def new_address(data_dir: Path) -> Path:
    """A path for the socket in a folder of mode 0700: below the data directory, or temporary if that is too long."""
    folder = data_dir.absolute() / "run"
    name = f"vectors-{os.getpid()}.sock"
    if len(os.fsencode(folder / name)) > _LONGEST_ADDRESS:
        return Path(tempfile.mkdtemp(prefix=_TEMPORARY)) / name
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder / name


def new_authkey() -> bytes:
    """A random key for one server and its borrowers."""
    return secrets.token_bytes(32)


def listen(address: Path) -> socket.socket:
    """A listening socket of mode 0600 at the address, in place of one left there."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        address.unlink(missing_ok=True)  # left by a process that was killed
        listener.bind(os.fspath(address))
        address.chmod(0o600)  # until here its folder keeps others out
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def wake(address: Path) -> None:
    """Make a waiting accept return."""
    with socket.socket(socket.AF_UNIX) as caller, suppress(OSError):
        caller.connect(os.fspath(address))


def remove(address: Path) -> None:
    """Delete the socket, and its folder if it is one that `new_address` made for it alone."""
    address.unlink(missing_ok=True)
    if address.parent.name.startswith(_TEMPORARY):
        with suppress(OSError):  # somebody put something into it
            address.parent.rmdir()


def hang_up(connection: Connection) -> None:
    """End a conversation that another thread may be in; that thread closes the descriptor, lest it be reused."""
    if not connection.closed:
        with socket.socket(fileno=os.dup(connection.fileno())) as connected, suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)


def send(connection: Connection, kind: str, value: object) -> None:
    """Send a method with its arguments, or a kind of reply with its value."""
    connection.send_bytes(pickle.dumps((kind, value), pickle.HIGHEST_PROTOCOL))


def received(connection: Connection) -> tuple[str, Any]:
    """What `send` sent at the other end. Raises `EOFError` when that hung up."""
    kind, value = pickle.loads(connection.recv_bytes())  # noqa: S301 - the other side proved that it knows the key
    return kind, value


def reply(connection: Connection) -> tuple[str, Any]:
    """The next reply; raises the error that it carries."""
    kind, value = received(connection)
    if kind == "error":
        raise cast(IbidError, value)
    return kind, value


def portable(error: Exception, method: str) -> IbidError:
    """The error itself if it is one of ours and survives the journey, else its text as `StoreUnavailable`."""
    if isinstance(error, IbidError):
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301 - what was pickled in the same line
        except (TypeError, AttributeError, pickle.PickleError):
            logger.exception("%s cannot travel between processes", type(error).__name__)
        else:
            return error
    else:
        logger.error("the vector store failed at %s for another process", method, exc_info=error)
    return StoreUnavailable(
        f"The vector store failed at {method} ({type(error).__name__}: {error}). Look at its log."
    )


def lost(error: Exception) -> StoreUnavailable:
    """The error of a call whose connection could not be made or broke."""
    reason = "no answer in time" if isinstance(error, BlockingIOError) else str(error) or type(error).__name__
    return StoreUnavailable(
        f"The process that owns the vector store does not answer ({reason}). It may be starting again; try later."
    )


def to_columns(points: Sequence[Point]) -> Columns:
    """Columns travel several times faster than objects: one array, and tuples instead of classes."""
    dense = [point.dense for point in points]
    alike = len({vector.shape for vector in dense}) == 1  # if not, the store says what is wrong
    return (
        [point.id for point in points],
        np.stack(dense) if alike else dense,
        [(point.sparse.indices, point.sparse.values) for point in points],
        [
            (p.document_id, p.version_id, p.access, p.live_from, p.live_to, p.marks)
            for p in (point.payload for point in points)
        ],
        [(point.ordinal, point.of) for point in points],
    )


def from_columns(columns: Columns) -> list[Point]:
    """Points again; each dense vector is a row of the one array."""
    return [
        Point(point_id, dense, SparseVector(*sparse), PointPayload(*payload), *place)
        for point_id, dense, sparse, payload, place in zip(*columns, strict=True)
    ]
