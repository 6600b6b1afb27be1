"""A real HTTP server on loopback that remembers what it was sent and answers as it is told to."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.listening import Handler, listening


@dataclass
class Receiver:
    """`answers` are statuses for the next requests, in turn, then 204; a string is where to redirect to.

    `retry_after` goes with each answer that has no redirect.
    """

    port: int = 0
    retry_after: str = ""
    answers: list[int | str] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    let_go: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.let_go.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver, for the length of the block. While `let_go` is cleared it answers nobody."""
    receiver = Receiver()

    class Hook(Handler):
        def reply(self) -> None:
            receiver.requests.append((self.path, self.named(), self.sent()))
            receiver.let_go.wait(60)
            answer = receiver.answers.pop(0) if receiver.answers else 204
            self.send_response(answer if isinstance(answer, int) else 302)
            if isinstance(answer, str):
                self.send_header("Location", answer)
            elif receiver.retry_after:
                self.send_header("Retry-After", receiver.retry_after)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with listening(Hook) as receiver.port:
        try:
            yield receiver
        finally:
            receiver.let_go.set()


@contextmanager
def dripping(begin: bytes) -> Iterator[int]:
    """The port of a server that answers one request with these bytes, and then with one more at a time, for ever."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                try:
                    connection.sendall(begin)
                    while not over.wait(0.02):
                        connection.sendall(b"x")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            yield int(server.getsockname()[1])
        finally:
            over.set()
            thread.join()
