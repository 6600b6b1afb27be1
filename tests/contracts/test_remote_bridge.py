"""The bridge between processes: who may call, what arrives when something breaks, and what is left behind."""

import multiprocessing
import os
import pickle
import signal
import socket
import stat
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ibid.errors import IbidError, Limited
from ibid.types import SparseVector
from ibid.vectors.errors import Fenced, GenerationMissing, StoreUnavailable
from ibid.vectors.memory import MemoryVectorStore
from ibid.vectors.names import GenerationInvalid
from ibid.vectors.port import Fence, Point, PointPayload
from ibid.vectors.remote import RemoteVectorStore, StoreServer, new_address, new_authkey

KEY = b"k" * 32


class FaultyStore(MemoryVectorStore):
    """Fails in ways of its own."""

    def count(self, generation: str, **_: object) -> int:
        if generation == "gen_limited":
            raise Limited("Too much at once.", retry_after=7.0)
        raise ZeroDivisionError("the text of a stranger")


def make_point(number: int) -> Point:
    return Point(
        str(uuid.UUID(int=number)),
        np.ones(4, dtype=np.float32),
        SparseVector((1,), (1.0,)),
        PointPayload("doc_1", "ver_1", ("*",), 0.0, None),
        number,
        of=1000,
    )


def serve(address: Path, store: MemoryVectorStore | None = None) -> StoreServer:
    return StoreServer(store or MemoryVectorStore(), address, KEY, may_write=lambda _: True)


def threads_of_ours() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("vector-store")]


@pytest.fixture
def address(tmp_path: Path) -> Path:
    return new_address(tmp_path)


@pytest.fixture
def server(address):
    server = serve(address)
    yield server
    server.close()


@pytest.fixture
def remote(address, server):
    remote = RemoteVectorStore(address, KEY, timeout=10)
    yield remote
    remote.close()


class TestAddress:
    def test_only_this_user_reaches_the_socket(self, address, server):
        assert stat.S_IMODE(address.stat().st_mode) == 0o600
        assert stat.S_IMODE(address.parent.stat().st_mode) == 0o700

    def test_a_path_that_is_too_long_is_replaced(self, tmp_path):
        address = new_address(tmp_path / ("deep" * 30))
        assert len(os.fsencode(address)) < 100
        assert stat.S_IMODE(address.parent.stat().st_mode) == 0o700
        serve(address).close()
        assert not address.parent.exists()

    def test_a_socket_left_by_a_crash_is_replaced(self, address):
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(address))
        server = serve(address)
        assert RemoteVectorStore(address, KEY).generations() == set()
        server.close()


class TestAuthentication:
    def test_a_wrong_key_is_refused(self, address, server):
        with pytest.raises(StoreUnavailable):
            RemoteVectorStore(address, new_authkey()).generations()

    def test_a_silent_caller_delays_nobody(self, address, remote):
        with socket.socket(socket.AF_UNIX) as silent:
            silent.connect(str(address))
            assert remote.generations() == set()

    def test_nothing_is_unpickled_before_the_key_is_proved(self, address, server, tmp_path):
        class Bomb:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "exploded"),)

        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(str(address))
            connection = multiprocessing.connection.Connection(os.dup(stranger.fileno()))
            connection.recv_bytes()  # the challenge
            connection.send_bytes(pickle.dumps(Bomb()))
            assert connection.recv_bytes() == b"#FAILURE#"
            connection.close()
        assert not (tmp_path / "exploded").exists()


class TestErrors:
    def test_ours_arrive_as_they_are(self, remote):
        with pytest.raises(GenerationMissing, match="gen_1"):
            remote.count("gen_1")
        with pytest.raises(GenerationMissing):
            list(remote.scan("gen_1"))
        with pytest.raises(GenerationInvalid):
            remote.count("../etc")

    def test_with_their_values(self, address):
        server = serve(address, FaultyStore())
        with pytest.raises(Limited) as caught:
            RemoteVectorStore(address, KEY).count("gen_limited")
        assert caught.value.retry_after == 7.0
        server.close()

    def test_a_strangers_arrives_as_unavailable_with_its_text(self, address, caplog):
        server = serve(address, FaultyStore())
        with pytest.raises(StoreUnavailable, match="the text of a stranger"):
            RemoteVectorStore(address, KEY).count("gen_1")
        assert "ZeroDivisionError" in caplog.text
        server.close()

    def test_every_error_of_the_tree_can_travel(self):
        def below(error: type[IbidError]) -> list[type[IbidError]]:
            return [error, *(leaf for child in error.__subclasses__() for leaf in below(child))]

        # Other tests may have loaded the errors of the doors; a store raises those of the ground.
        for error in (error for error in below(IbidError) if error.__module__.startswith("ibid.")):
            back = pickle.loads(pickle.dumps(error("A sentence.")))
            assert (type(back), str(back), back.message) == (error, "A sentence.", "A sentence.")

    def test_only_the_port_can_be_called(self, remote):
        for name in ("close", "_upsert", "__init__", "flush"):
            with pytest.raises(StoreUnavailable, match="not asked"):
                remote._call(name)

    def test_a_fence_is_asked_for_each_write(self, address):
        over: set[Fence] = set()
        server = StoreServer(MemoryVectorStore(), address, KEY, may_write=lambda fence: fence not in over)
        remote, fence = RemoteVectorStore(address, KEY), Fence("job_1", 1)
        remote.create("gen_1", 4)
        remote.upsert("gen_1", [make_point(1)], fence=fence)
        over.add(fence)
        with pytest.raises(Fenced):
            remote.upsert("gen_1", [make_point(2)], fence=fence)
        assert remote.count("gen_1") == 1
        server.close()


class TestConnection:
    def test_nobody_there(self, tmp_path):
        remote = RemoteVectorStore(tmp_path / "none.sock", KEY)
        with pytest.raises(StoreUnavailable):
            remote.generations()
        with pytest.raises(StoreUnavailable):
            list(remote.scan("gen_1"))

    def test_an_owner_that_came_back_is_found_at_once(self, address):
        store = MemoryVectorStore()
        store.create("gen_1", 4)
        first = serve(address, store)
        remote = RemoteVectorStore(address, KEY)
        assert remote.count("gen_1") == 0
        first.close()
        with pytest.raises(StoreUnavailable):
            remote.count("gen_1")
        second = serve(address, store)
        assert remote.count("gen_1") == 0
        second.close()
        third = serve(address, store)  # the connection to the second is dead, and is replaced within the call
        remote.upsert("gen_1", [make_point(1)])
        assert remote.count("gen_1") == 1
        third.close()

    def test_an_owner_that_hangs_is_given_up(self, address):
        program = (
            "import sys, time; from pathlib import Path\n"
            "from ibid.vectors.memory import MemoryVectorStore as M\n"
            "from ibid.vectors.remote import StoreServer as S\n"
            "s = S(M(), Path(sys.argv[1]), b'k' * 32, lambda _: True); print('up', flush=True); time.sleep(60)"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program, str(address)], stdout=subprocess.PIPE, text=True
        ) as owner:
            try:
                assert owner.stdout.readline() == "up\n"
                remote = RemoteVectorStore(address, KEY, timeout=1)
                assert remote.generations() == set()
                owner.send_signal(signal.SIGSTOP)
                assert os.WIFSTOPPED(os.waitpid(owner.pid, os.WUNTRACED)[1])
                with pytest.raises(StoreUnavailable, match="in time"):
                    remote.generations()
                with pytest.raises(StoreUnavailable, match="in time"):
                    RemoteVectorStore(address, KEY, timeout=1).generations()
                owner.send_signal(signal.SIGCONT)
                assert remote.generations() == set()
            finally:
                owner.kill()

    def test_a_connection_per_thread(self, remote, server):
        remote.create("gen_1", 4)
        barrier = threading.Barrier(4)

        def work(number: int) -> int:
            barrier.wait()
            for i in range(20):
                remote.upsert("gen_1", [make_point(number * 100 + i)])
            return remote.count("gen_1", document_id="doc_1")

        with ThreadPoolExecutor(4) as pool:
            assert max(pool.map(work, range(4))) == 80

    def test_a_fork_makes_its_own(self, remote):
        remote.create("gen_1", 4)
        child = os.fork()
        if child == 0:
            remote.upsert("gen_1", [make_point(1)])
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert remote.count("gen_1") == 1

    def test_nothing_is_left_after_close(self, address):
        server = serve(address)
        stores = [RemoteVectorStore(address, KEY) for _ in range(5)]
        for store in stores:
            store.generations()
        assert len(threads_of_ours()) == 6
        server.close()
        server.close()
        assert threads_of_ours() == []
        assert not address.exists()

    def test_a_scan_that_is_left_frees_its_thread(self, remote):
        remote.create("gen_1", 4)
        remote.upsert("gen_1", [make_point(number) for number in range(50)])
        before = len(threads_of_ours())
        scan = remote.scan("gen_1", batch=1)
        assert len(next(scan)) == 1
        scan.close()
        waiting = threading.Event()
        while len(threads_of_ours()) > before:
            waiting.wait(0.01)
        assert remote.count("gen_1") == 50
