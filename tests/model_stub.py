"""A stand-in for a provider of models: it speaks OpenAI's streamed chat completions and plays what it is told to.

What it was asked is kept. A play is what one request gets; the last one is played again for every further request.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Self

from ibid.catalogue import Entry
from tests.listening import Handler, listening

USAGE = {"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050}


@dataclass(frozen=True)
class Play:
    """What a request gets: a status other than 200, or a stream of these pieces.

    `end` is how the stream is over: with a reason and the usage, by a closed connection, or not at all until the test is.
    """

    pieces: tuple[str, ...] = ()
    status: int = 200
    end: str = "stop"
    before: Callable[[int], None] | None = None
    retry_after: str | None = None


def says(text: str, **how: Any) -> Play:
    """The text, a word a piece."""
    return Play(tuple(f"{word} " for word in text.split(" ")), **how)


def quotes(*sentences: tuple[str, int, str], answered: bool = True) -> Play:
    """JSON with sentences, each with the number of its passage and a quote from it."""
    found = [
        {"text": text, "evidence": [{"passage": passage, "quote": quote}]}
        for text, passage, quote in sentences
    ]
    written = json.dumps({"answered": answered, "sentences": found})
    return Play(tuple(written[at : at + 7] for at in range(0, len(written), 7)))


@dataclass
class Stub:
    """`plays` by the name of the model that is asked for."""

    port: int = 0
    plays: dict[str, list[Play]] = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def asked(self, model: str) -> list[dict[str, Any]]:
        return [request for request in self.requests if request["model"] == model]

    def next(self, model: str) -> Play:
        plays = self.plays[model]
        return plays.pop(0) if len(plays) > 1 else plays[0]


class Alone:
    """To be inherited by a model in the test's own process: it is asked whatever the catalogue says."""

    def get(self, _entry: Entry) -> Self:
        return self

    def guarded(self, _entry: Entry) -> AbstractContextManager[None]:
        return nullcontext()

    async def close(self) -> None:
        pass


class _Provider(Handler):
    """What answers; `stub` is set by the server that is made of it."""

    protocol_version = "HTTP/1.1"
    stub: Stub

    def reply(self) -> None:
        asked = json.loads(self.sent())
        self.stub.requests.append(asked)
        self.stub.keys.append(self.named().get("authorization", ""))
        play = self.stub.next(asked["model"])
        if play.status != 200:
            self.whole(play)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            self.stream(asked["model"], play)
        except OSError:
            self.stub.left.append(asked["model"])
        self.close_connection = True

    def whole(self, play: Play) -> None:
        body = json.dumps({"error": {"message": "as it was told", "code": "played"}}).encode()
        self.send_response(play.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if play.retry_after is not None:
            self.send_header("Retry-After", play.retry_after)
        self.end_headers()
        self.wfile.write(body)

    def stream(self, model: str, play: Play) -> None:
        for number, piece in enumerate(play.pieces):
            if play.before:
                play.before(number)
            self.event(model, {"role": "assistant", "content": piece}, None)
        if play.end == "hang":
            self.hang()
        elif play.end != "cut":
            self.event(model, {}, play.end)
            self.data({**_head(model), "choices": [], "usage": USAGE})
            self.wfile.write(b"data: [DONE]\n\n")

    def hang(self) -> None:
        while not self.stub.over.wait(0.05):
            self.wfile.write(b": still there\n\n")
            self.wfile.flush()

    def event(self, model: str, delta: dict[str, str], reason: str | None) -> None:
        self.data({**_head(model), "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})

    def data(self, value: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(value)}\n\n".encode())
        self.wfile.flush()


@contextmanager
def model_server() -> Iterator[Stub]:
    """A stub on loopback, for the length of the block."""
    made = Stub()

    class Provider(_Provider):
        stub = made

    with listening(Provider) as made.port:
        try:
            yield made
        finally:
            made.over.set()


def _head(model: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": model}
