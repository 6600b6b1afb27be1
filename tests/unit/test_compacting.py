"""The compactor: what is due is compacted, what fails waits, and stopping ends it."""

import threading

import pytest

from ibid.errors import IbidError
from ibid.vectors import compacting
from ibid.vectors.compacting import Compactor
from ibid.vectors.errors import StoreUnavailable
from ibid.vectors.memory import MemoryVectorStore


class Store:
    """Says that these are due until they are compacted; `fails` are not, and one waits until it is stopped."""

    def __init__(self, *due: str, fails: str = "", waits: str = "") -> None:
        self.left = list(due)
        self.asked: list[str] = []
        self.fails, self.waits = fails, waits
        self.begun, self.stopped = threading.Event(), threading.Event()

    def due(self, after: int) -> list[str]:
        return [each for each in self.left if after]

    def compact(self, generation: str) -> bool:
        self.asked.append(generation)
        self.begun.set()
        if generation == self.waits:
            self.stopped.wait()
            return False
        if generation == self.fails:
            raise StoreUnavailable("The disk is full.")
        self.left.remove(generation)
        return True

    def stop_compacting(self) -> None:
        self.stopped.set()


class TestLook:
    def test_what_is_due_is_compacted(self):
        store = Store("gen_1", "gen_2")
        assert Compactor(store, 10).look() == ["gen_1", "gen_2"]
        assert Compactor(store, 10).look() == []

    def test_what_failed_is_not_tried_again_at_once_and_holds_up_nothing(self):
        store = Store("gen_1", "gen_2", fails="gen_1")
        compactor = Compactor(store, 10)
        assert compactor.look() == ["gen_2"]
        assert compactor.look() == []
        assert store.asked == ["gen_1", "gen_2"]

    def test_it_is_tried_again_later(self, monkeypatch):
        monkeypatch.setattr(compacting, "AFTER_FAILURE_SECONDS", 0.0)
        store = Store("gen_1", fails="gen_1")
        compactor = Compactor(store, 10)
        compactor.look()
        compactor.look()
        assert store.asked == ["gen_1", "gen_1"]

    @pytest.mark.parametrize("store", [Store("gen_1"), MemoryVectorStore()])
    def test_nothing_where_it_is_turned_off_or_cannot_be(self, store):
        assert Compactor(store, 0 if isinstance(store, Store) else 10).look() == []


class TestThread:
    def test_it_looks_by_itself_and_ends_in_the_middle(self, monkeypatch):
        monkeypatch.setattr(compacting, "LOOK_SECONDS", 0.0)
        store = Store("gen_1", waits="gen_1")
        compactor = Compactor(store, 10)
        compactor.start()
        assert store.begun.wait(60)
        compactor.stop()
        assert not compactor._thread.is_alive()

    def test_a_store_that_cannot_be_asked_is_asked_again(self, monkeypatch):
        monkeypatch.setattr(compacting, "LOOK_SECONDS", 0.0)
        again = threading.Event()

        class Broken(Store):
            def due(self, after: int) -> list[str]:
                self.asked.append("due")
                if len(self.asked) > 1:
                    again.set()
                raise error

        error: IbidError = StoreUnavailable("The disk is broken.")
        compactor = Compactor(Broken(), 10)
        compactor.start()
        assert again.wait(60)
        compactor.stop()

    def test_stopping_what_was_never_started(self):
        Compactor(Store(), 10).stop()
        Compactor(MemoryVectorStore(), 10).stop()
