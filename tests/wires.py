"""A wire to a service that a test can cut and mend: what a server notices when a machine or network is gone."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit


class Wire:
    """Forwards TCP connections to a port of this machine while it is whole."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener: socket.socket | None = None
        self._lock = threading.Lock()
        self.port = 0
        self.mend()

    def mend(self) -> None:
        """Take connections, at the same port as ever."""
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        """Break every connection and refuse new ones."""
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for a connection
            self._listener.close()
            self._listener = None
        self.shake()

    def shake(self) -> None:
        """Break every connection; new ones are taken."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for end in (end for pair in pairs for end in pair):
            with contextlib.suppress(OSError):  # it was closed by its owner
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # cut
            while True:
                near, _ = listener.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near, contextlib.suppress(OSError), socket.create_connection(self._target) as far:
            with self._lock:
                self._pairs.append((near, far))
            back = threading.Thread(target=_pump, args=(far, near), daemon=True)
            back.start()
            _pump(near, far)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):  # cut
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def wired(url: str) -> Iterator[tuple[Wire, str]]:
    """A wire to the URL's port, and the URL by which it is reached."""
    parts = urlsplit(url)
    wire = Wire(parts.port or 0)
    try:
        account, at, _ = parts.netloc.rpartition("@")
        yield wire, urlunsplit(parts._replace(netloc=f"{account}{at}127.0.0.1:{wire.port}"))
    finally:
        wire.cut()
