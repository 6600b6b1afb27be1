"""A stand-in for a Qdrant server: it speaks enough of its HTTP to a client, and keeps what it was asked.

It stores no points and finds what it is told to find: what a server would do with a request is not its to say.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.listening import Handler, listening

OPTIMIZERS = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 0,
    "flush_interval_sec": 5,
}
GRAPH = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000}


@dataclass(frozen=True)
class Request:
    """One request: the path below the server, its query and its body."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: Any


@dataclass
class Stub:
    """`found` are the points of the next searches, in turn, then none; collections are as they were last made."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    found: list[list[dict[str, Any]]] = field(default_factory=list)
    collections: dict[str, dict[str, Any]] = field(default_factory=dict)
    indexes: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def bodies(self, method: str, ending: str) -> list[Any]:
        """What was sent so, in order."""
        asked = [each for each in self.requests if each.method == method]
        return [each.body for each in asked if each.path.endswith(ending)]

    def answer(self, asked: Request) -> Any:
        """The result that the client is given, or None if there is nothing at this path."""
        match asked.method, asked.path.strip("/").split("/"):
            case "GET", ["collections", name, "exists"]:
                return {"exists": name in self.collections}
            case "GET", ["collections", name] if name in self.collections:
                return self.described(name)
            case "PUT", ["collections", name]:
                self.collections[name] = asked.body
                return True
            case "PUT", ["collections", name, "index"]:
                self.indexes.setdefault(name, {})[asked.body["field_name"]] = asked.body["field_schema"]
                return {"operation_id": 1, "status": "completed"}
            case "POST", ["collections", name, "points", "query", "batch"] if name in self.collections:
                return [{"points": self.found.pop(0) if self.found else []} for _ in asked.body["searches"]]
        return None

    def described(self, name: str) -> dict[str, Any]:
        """A collection as the server tells of it."""
        made = self.collections[name]
        return {
            "status": "green",
            "optimizer_status": "ok",
            "segments_count": 1,
            "config": {
                "params": {"vectors": made["vectors"], "sparse_vectors": made["sparse_vectors"]},
                "hnsw_config": GRAPH,
                "optimizer_config": OPTIMIZERS,
            },
            "payload_schema": {
                field: {"data_type": schema if isinstance(schema, str) else schema["type"], "points": 0}
                for field, schema in self.indexes.get(name, {}).items()
            },
        }


@contextmanager
def stub_server() -> Iterator[Stub]:
    """A stub on loopback, for the length of the block."""
    stub = Stub()

    class Server(Handler):
        protocol_version = "HTTP/1.1"

        def reply(self) -> None:
            where, sent = urlsplit(self.path), self.sent()
            asked = Request(
                self.command, where.path, parse_qs(where.query), json.loads(sent) if sent else None
            )
            stub.requests.append(asked)
            result = stub.answer(asked)
            body = json.dumps({"result": result, "status": "ok", "time": 0.0}).encode()
            self.send_response(404 if result is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with listening(Server) as stub.port:
        yield stub
