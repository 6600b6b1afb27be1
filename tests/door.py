"""The API in this process: the real application over in-memory stores, with a worker that works when it is told to."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from httpx2 import Response

from api.app import create_app
from ibid import claims, keys
from ibid.blobs.memory import MemoryBlobStore
from ibid.bootstrap import Parts, open_parts
from ibid.db.session import Database
from ibid.db.tables import Base
from ibid.keys import NewKey
from ibid.nudge.memory import MemoryNudge
from ibid.settings import Settings
from ibid.types import Element, ElementKind, Parsed, ParseReport, Role
from ibid.vectors.memory import MemoryVectorStore
from ingest.parsing.registry import parser_for
from ingest.tools import Tools
from ingest.work import work
from tests.running import eventually
from worker.rooms import ROOMS

LEAVE = "Employees receive 20 days of paid leave each year.\n\nUnused leave is not paid out.\n"
QUESTION = "How many days of paid leave do employees receive?"


class PlainReader:
    """Reads UTF-8 text, a paragraph an element, and PDFs and mails as the product does."""

    def close(self) -> None:
        pass

    def parse_together(self, files: Sequence[tuple[Path, str]], media_type: str) -> list[None]:
        return [None] * len(files)  # each is read alone

    def parse(self, path: Path, filename: str, media_type: str) -> Parsed:
        if media_type in {"application/pdf", "message/rfc822"}:
            return parser_for(media_type).parse(path, filename, media_type)
        text = path.read_text(encoding="utf-8")
        elements, start = [], 0
        for paragraph in text.split("\n\n"):
            elements.append(Element(ElementKind.PARAGRAPH, start, start + len(paragraph)))
            start += len(paragraph) + 2
        return Parsed(text, tuple(elements), (), ParseReport("plain", elements=len(elements)))


class Door:
    """A running application and an administrator's client of it."""

    def __init__(self, parts: Parts, client: TestClient, admin: str) -> None:
        self.parts, self.client, self.admin = parts, client, admin

    def call(self, method: str, path: str, *, key: str | None = "", **request: Any) -> Response:
        """A request with the admin's key, another key, or (None) nobody's."""
        headers = dict(request.pop("headers", {}))
        if key is not None:
            headers["Authorization"] = f"Bearer {key or self.admin}"
        return self.client.request(method, path, headers=headers, **request)

    def get(self, path: str, **request: Any) -> Response:
        return self.call("GET", path, **request)

    def post(self, path: str, **request: Any) -> Response:
        return self.call("POST", path, **request)

    def delete(self, path: str, **request: Any) -> Response:
        return self.call("DELETE", path, **request)

    def collection(self, name: str = "handbook", **request: Any) -> str:
        made = self.post("/v1/collections", json={"name": name, **request})
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    def text(
        self, collection: str, text: str = LEAVE, name: str = "leave.txt", **more: Any
    ) -> dict[str, Any]:
        made = self.post(f"/v1/collections/{collection}/documents", json={"name": name, "text": text, **more})
        assert made.status_code == 202, made.text
        return dict(made.json()["documents"][0])

    def key(
        self, role: Role = "reader", collections: Sequence[str] | None = None, *, may_act_for: bool = False
    ) -> str:
        """The text of a new key."""
        with self.parts.db.begin() as session:
            maker = keys.holder(session, self.admin)
            wanted = NewKey(f"a {role}", role, collections, may_act_for=may_act_for)
            return keys.create(session, maker, wanted)[1]

    def work(self) -> None:
        """Do every job that is due."""
        made = self.parts
        tools = Tools(made.settings, made.db, made.store, made.blobs, made.encoders, PlainReader())
        while True:
            with made.db.begin() as session:
                batch = claims.claim(session, "w", lease=timedelta(seconds=20), limit=16)
            if not batch:
                return
            work(tools, batch, ROOMS)

    def code(self, response: Response) -> tuple[int, str]:
        """Status and code of a problem."""
        assert response.headers["content-type"] == "application/problem+json", response.text
        body = response.json()
        assert body["status"] == response.status_code
        assert body["request_id"] == response.headers["x-request-id"]
        return response.status_code, body["code"]


@contextmanager
def opened(parts: Parts) -> Iterator[Door]:
    """The application, ready."""
    with parts.db.begin() as session:
        admin = keys.ensure_admin(session, parts.settings)
    given = parts.settings.admin_key
    app = create_app(parts.settings, parts)
    with TestClient(app, base_url="http://localhost:8000", client=("127.0.0.1", 50000)) as client:
        door = Door(parts, client, admin or (given.get_secret_value() if given else ""))
        eventually(lambda: client.get("/readyz").status_code == 200, what="ready")
        yield door


@contextmanager
def made(folder: Path, url: str = "", **values: Any) -> Iterator[Door]:
    """The application over a database of its own, for fixtures that live longer than a test."""
    db = Database(url or f"sqlite:///{folder / 'door.db'}")
    Base.metadata.create_all(db.engine)
    settings = Settings(data_dir=folder, embedder="hashing", sample=False, **values)
    parts = open_parts(
        settings, db=db, store=MemoryVectorStore(), blobs=MemoryBlobStore(), nudge=MemoryNudge()
    )
    try:
        with opened(parts) as door:
            yield door
    finally:
        parts.close()
