"""The inherited pipe between a server and its worker: it hands over the store's key, and its end is the server's end.

Every process of the worker holds the reading side. When the server dies, however it dies, the pipe ends and they exit:
an orphan could no longer reach the store, and its leases will be taken over.
"""

import json
import os
import threading
from dataclasses import dataclass
from functools import lru_cache

from ibid.errors import Unavailable

VARIABLE = "IBID_LIFELINE_FD"


class NoServer(Unavailable):
    """A standalone worker was started by hand; the vector store lives in the server, which starts its own worker."""

    code = "no_server"


@dataclass(frozen=True, slots=True)
class Handed:
    """Where the server's store listens, and the key to it."""

    address: str
    key: bytes


def message(address: str, key: bytes) -> bytes:
    """What the server writes into the pipe."""
    return json.dumps({"address": address, "key": key.hex()}).encode() + b"\n"


@lru_cache(maxsize=1)
def handed() -> Handed:
    """What the server wrote; read once by the first process, before it forks others."""
    fd = descriptor()
    if fd is None:
        raise NoServer(
            "In standalone mode the server starts its own worker: run `ibid serve`. "
            "To run workers of your own, set IBID_QDRANT_URL, IBID_BROKER_URL and IBID_DATABASE_URL."
        )
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(fd, 1)
        if not piece:
            raise NoServer("The server ended before it handed over the key to its store.")
        line += piece
    values = json.loads(line)
    return Handed(values["address"], bytes.fromhex(values["key"]))


def descriptor() -> int | None:
    """The pipe's reading side, if a server started this worker."""
    value = os.environ.get(VARIABLE)
    return int(value) if value else None


def hold() -> None:
    """Exit as soon as the server is gone. Call in every process of the worker, after `handed`."""
    fd = descriptor()
    if fd is not None:
        threading.Thread(target=_wait, args=(fd,), name="lifeline", daemon=True).start()


def _wait(fd: int) -> None:
    while os.read(fd, 64):
        pass
    os._exit(75)
