"""Ready means that a search is answered; a collection that cannot be searched does not hold back the others."""

import threading
from pathlib import Path

from fastapi.testclient import TestClient

from api.app import create_app
from ibid.bootstrap import Parts
from ibid.embedding.hashing import HashingEmbedder
from ibid.embedding.registry import EmbedderPool
from ibid.vectors.errors import StoreUnavailable
from ibid.vectors.memory import MemoryVectorStore
from tests.door import made, opened
from tests.running import eventually


class AwayStore(MemoryVectorStore):
    """A store that can be away."""

    away = False

    def generations(self) -> set[str]:
        if self.away:
            raise StoreUnavailable("The vector store did not answer.")
        return super().generations()


def client_of(parts: Parts) -> TestClient:
    return TestClient(create_app(parts.settings, parts), base_url="http://localhost")


def with_parts(parts: Parts, **others: object) -> Parts:
    values = {name: getattr(parts, name) for name in Parts.__slots__}
    return Parts(**(values | others))


class TestReady:
    def test_waits_for_the_encoder(self, parts: Parts) -> None:
        loaded = threading.Event()

        def load(_name: str) -> HashingEmbedder:
            assert loaded.wait(20)
            return HashingEmbedder()

        with client_of(with_parts(parts, encoders=EmbedderPool(load))) as client:
            waiting = client.get("/readyz")
            assert (waiting.status_code, waiting.json()["code"]) == (503, "not_ready")
            assert waiting.headers["retry-after"]
            assert client.get("/healthz").status_code == 200
            loaded.set()
            eventually(lambda: client.get("/readyz").status_code == 200, what="ready")

    def test_says_what_is_away(self, parts: Parts) -> None:
        store = AwayStore()
        with opened(with_parts(parts, store=store)) as door:
            store.away = True
            assert door.code(door.get("/readyz", key=None)) == (503, "vector_store_unavailable")
            store.away = False
            assert door.get("/readyz", key=None).status_code == 200

    def test_does_not_wait_for_a_lost_index(self, tmp_path: Path) -> None:
        with made(tmp_path) as door:
            collection = door.collection()
            door.text(collection)
            door.work()
            for generation in door.parts.store.generations():
                door.parts.store.drop(generation)
            with client_of(door.parts) as again:
                eventually(lambda: again.get("/readyz").status_code == 200, what="ready")
            search = door.post("/v1/search", json={"collection": collection, "query": "leave"})
            assert door.code(search) == (503, "index_missing")


class TestBeforeTheStart:
    def test_nothing_is_ready(self, parts: Parts) -> None:
        assert client_of(parts).get("/readyz").json()["code"] == "not_ready"
