"""Opening the store that the settings name."""

import pytest

from ibid.settings import Settings
from ibid.vectors.edge import EdgeVectorStore
from ibid.vectors.errors import StoreUnavailable
from ibid.vectors.qdrant import QdrantVectorStore
from ibid.vectors.registry import VECTOR_STORES, open_store


class TestOpen:
    def test_the_engine_in_this_process_by_default(self, tmp_path):
        store = open_store(Settings(data_dir=tmp_path))
        assert isinstance(store, EdgeVectorStore)
        assert store.generations() == set()
        assert (tmp_path / "vectors").is_dir()
        store.close()

    def test_a_server(self):
        store = open_store(Settings(qdrant_url="http://127.0.0.1:9", qdrant_timeout=1))
        assert isinstance(store, QdrantVectorStore)
        with pytest.raises(StoreUnavailable, match="Check that it runs"):
            store.generations()
        with pytest.raises(StoreUnavailable, match="Check that it runs"):
            store.count("gen_1")
        store.close()

    def test_a_package_that_is_missing_is_named(self, tmp_path, monkeypatch):
        monkeypatch.setitem(VECTOR_STORES, "edge", "ibid_no_such_package:Store")
        with pytest.raises(StoreUnavailable, match="ibid_no_such_package"):
            open_store(Settings(data_dir=tmp_path))
