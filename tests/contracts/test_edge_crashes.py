"""What only the embedded engine has to fear: crashes, a second owner, broken folders, too many open shards."""

import signal
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest

from ibid.types import SparseVector
from ibid.vectors.edge import EdgeVectorStore
from ibid.vectors.errors import StoreUnavailable
from ibid.vectors.port import Point, PointPayload
from tests.running import PATIENCE

WRITER = """
import sys, uuid
from pathlib import Path
import numpy as np
from ibid.types import SparseVector
from ibid.vectors.edge import EdgeVectorStore
from ibid.vectors.port import Point, PointPayload

store = EdgeVectorStore(Path(sys.argv[1]))
store.create("gen_1", 4)
number = 0
while True:
    points = [
        Point(str(uuid.UUID(int=number + i)), np.ones(4, dtype=np.float32), SparseVector((1,), (1.0,)),
              PointPayload("doc_1", "ver_1", ("*",), 0.0, None), number + i, 1000)
        for i in range(10)
    ]
    store.upsert("gen_1", points)
    number += len(points)
    if number == 100:
        store.supersede("gen_1", "ver_1", 5.0)
        store.delete("gen_1", point_ids=[str(uuid.UUID(int=0))])
    print(number, flush=True)
"""

DIES_WHILE_CREATING = """
import os, signal, sys
from pathlib import Path
from ibid.vectors.edge import EdgeVectorStore

store = EdgeVectorStore(Path(sys.argv[1]))
store.create("gen_1", 4)
Path.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
store.create("gen_2", 4)
"""

DIES_WHILE_DROPPING = """
import os, shutil, signal, sys
from pathlib import Path
from ibid.vectors.edge import EdgeVectorStore

store = EdgeVectorStore(Path(sys.argv[1]))
store.create("gen_1", 4)
shutil.rmtree = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
store.drop("gen_1")
"""


def make_point(number: int, size: int = 4) -> Point:
    return Point(
        str(uuid.UUID(int=number)),
        np.ones(size, dtype=np.float32),
        SparseVector((1,), (1.0,)),
        PointPayload("doc_1", "ver_1", ("*",), 0.0, None),
        number,
        of=1000,
    )


def killed(program: str, root: Path) -> None:
    done = subprocess.run([sys.executable, "-c", program, str(root)], check=False, timeout=PATIENCE)
    assert done.returncode == -signal.SIGKILL


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "vectors"


@pytest.fixture
def store(root: Path):
    store = EdgeVectorStore(root)
    yield store
    store.close()


class TestCrash:
    def test_what_was_written_before_kill_9_is_there(self, root):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(root)], stdout=subprocess.PIPE, text=True
        ) as process:
            written = 0
            while written < 200:
                written = int(process.stdout.readline())
            process.kill()
            written = int((process.stdout.read().split() or [written])[-1])
        store = EdgeVectorStore(root)
        ids = [uuid.UUID(ref.id).int for refs in store.scan("gen_1") for ref in refs]
        assert set(range(1, written)) <= set(ids)
        assert 0 not in ids
        store.close()

    def test_killed_while_creating(self, root):
        killed(DIES_WHILE_CREATING, root)
        assert any(folder.name.startswith(".new-") for folder in root.iterdir())
        store = EdgeVectorStore(root)
        assert [folder.name for folder in root.iterdir()] == ["gen_1"]
        assert store.generations() == {"gen_1"}
        store.create("gen_2", 4)
        store.upsert("gen_2", [make_point(1)])
        store.close()

    def test_killed_while_dropping(self, root):
        killed(DIES_WHILE_DROPPING, root)
        store = EdgeVectorStore(root)
        assert list(root.iterdir()) == []
        store.create("gen_1", 4)
        assert store.count("gen_1") == 0
        store.close()


class TestOpen:
    def test_a_second_owner_is_refused_and_the_first_goes_on(self, root, store):
        store.create("gen_1", 4)
        store.upsert("gen_1", [make_point(1)])
        second = EdgeVectorStore(root)
        with pytest.raises(StoreUnavailable, match="Another process"):
            second.count("gen_1")
        assert store.count("gen_1") == 1

    def test_a_folder_without_its_manifest_is_no_generation(self, root, store):
        (root / "gen_1").mkdir()
        assert store.generations() == set()
        store.create("gen_1", 4)
        assert store.generations() == {"gen_1"}

    def test_a_broken_shard_is_said_and_can_be_replaced(self, root, store):
        store.create("gen_1", 4)
        for path in (root / "gen_1" / "shard").rglob("*.json"):
            path.write_text("broken")
        with pytest.raises(StoreUnavailable, match="ibid verify"):
            store.count("gen_1")
        store.drop("gen_1")
        store.create("gen_1", 4)
        assert store.count("gen_1") == 0

    def test_points_are_there_after_close_and_open(self, root, store):
        store.create("gen_1", 4)
        store.upsert("gen_1", [make_point(1)])
        store.flush()
        store.close()
        again = EdgeVectorStore(root)
        assert again.count("gen_1") == 1
        again.close()

    def test_the_least_recently_used_are_closed(self, root):
        store = EdgeVectorStore(root, most_open=2)
        for number in range(4):
            store.create(f"gen_{number}", 4)
            store.upsert(f"gen_{number}", [make_point(number)])
        assert [name for name, entry in store._shards.items() if entry.engine] == ["gen_2", "gen_3"]
        assert [store.count(f"gen_{number}") for number in range(4)] == [1, 1, 1, 1]
        assert sum(entry.engine is not None for entry in store._shards.values()) == 2
        store.close()

    def test_nothing_is_optimised(self, root, store):
        store.create("gen_1", 64)
        rng = np.random.default_rng(1)
        for first in range(0, 3000, 500):
            store.upsert("gen_1", [make_point(first + i, 64) for i in range(500)])
        store.delete(
            "gen_1", point_ids=[str(uuid.UUID(int=int(i))) for i in rng.choice(3000, 1500, replace=False)]
        )
        with store._open("gen_1") as shard:
            assert shard.info().segments_count == 1
        assert store.count("gen_1") == 1500
