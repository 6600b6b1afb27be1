"""The child that builds a compacted shard: `python -m ibid.vectors.edge_compactor <folder> <dimensions> <descriptor>`.

It is a process of its own because `optimize()` holds the interpreter's lock for its whole run, minutes for a large shard.
Points come over the descriptor, a Unix socket; one word goes back when the shard is closed and on the disk. The
death of whoever sends them ends it, also in the middle of `optimize()`.
"""

import fcntl
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge

from ibid.disk import sync, sync_folder
from ibid.vectors.layout import (
    BUILD_EF,
    DENSE,
    FULL_SCAN,
    KEYWORDS,
    LINKS,
    NUMBERS,
    SPARSE,
    TOGETHER,
)
from ibid.vectors.port import Vector
from ibid.vectors.wire import received, send

# Ids, dense vectors as one matrix, sparse vectors, and what is kept beside each point.
Batch = tuple[list[str], Vector, list[tuple[list[int], list[float]]], list[dict[str, Any]]]

_POLITE = 10
_UNLIMITED = 1 << 31
_PIECE = 1 << 20


def main(folder: Path, dimensions: int, descriptor: int) -> None:
    """Take points until none are left, then compact them. Raises `EOFError` when the sender is gone."""
    os.nice(_POLITE)
    connection = Connection(descriptor)
    shard = edge.EdgeShard.create(str(folder), config(dimensions))
    for operation in _indexes():
        shard.update(operation)
    while True:
        kind, value = received(connection)
        if kind == "done":
            break
        shard.update(edge.UpdateOperation.upsert_points(_points(value)))
    with _dying_with_the_sender(connection):
        shard.optimize()
        shard.flush()
        shard.close()
        _sync(folder)
        _read(folder)
    send(connection, "built", None)


def config(dimensions: int) -> edge.EdgeConfig:
    """A compacted shard: one segment, a graph over 8-bit vectors, and nothing that `load` must read.

    Everything stays in files that are mapped. Pinned in memory, the 8-bit vectors alone make `load`, which holds the
    interpreter's lock, ten times longer (docs/decisions/0013-compaction.md).
    """
    mapped = edge.Memory.Cold
    return edge.EdgeConfig(
        vectors={DENSE: edge.EdgeVectorParams(size=dimensions, distance=edge.Distance.Cosine, memory=mapped)},
        sparse_vectors={SPARSE: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf, memory=mapped)},
        hnsw_config=edge.HnswIndexConfig(
            m=LINKS, ef_construct=BUILD_EF, full_scan_threshold=FULL_SCAN, memory=mapped
        ),
        quantization_config=edge.ScalarQuantizationConfig(edge.ScalarType.Int8, memory=mapped),
        payload_memory=mapped,
        id_tracker_memory=mapped,
        optimizers=edge.EdgeOptimizersConfig(
            default_segment_number=1, indexing_threshold=1, max_segment_size=_UNLIMITED
        ),
    )


def _indexes() -> list[edge.UpdateOperation]:
    index, mapped = edge.UpdateOperation.create_field_index, edge.Memory.Cold
    texts = [
        index(field, edge.KeywordIndexParams(memory=mapped, is_tenant=field == TOGETHER))
        for field in KEYWORDS
    ]
    return texts + [index(field, edge.FloatIndexParams(memory=mapped)) for field in NUMBERS]


def to_batch(records: Sequence[edge.Record]) -> Batch:
    """Points as they come from a shard, in a form that travels fast."""
    ids, dense, sparse, payloads = [], [], [], []
    for record in records:
        vectors: Any = record.vector
        ids.append(str(record.id))
        dense.append(vectors[DENSE])
        words = vectors.get(SPARSE)
        sparse.append((list(words.indices), list(words.values)) if words is not None else ([], []))
        payloads.append(dict(record.payload or {}))
    return ids, np.asarray(dense, dtype=np.float32), sparse, payloads


def _points(batch: Batch) -> list[edge.Point]:
    return [
        edge.Point(point_id, {DENSE: dense.tolist(), SPARSE: edge.SparseVector(*sparse)}, payload)
        for point_id, dense, sparse, payload in zip(*batch, strict=True)
    ]


@contextmanager
def _dying_with_the_sender(connection: Connection) -> Iterator[None]:
    """Let the kernel end this process when the other end is closed: no thread of ours runs while the engine optimises.

    Nothing more is sent, so the signal of something to read, which by default ends a process, can only be the end.
    """
    descriptor = connection.fileno()
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC)
    if connection.poll():  # closed before the kernel knew
        raise EOFError
    yield
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)


def _sync(folder: Path) -> None:
    """Make every file and every name below the folder durable, whatever the engine has done of that."""
    for inner, _, files in os.walk(folder):
        for file in files:
            sync(Path(inner, file))
        sync_folder(Path(inner))
    sync_folder(folder.parent)


def _read(folder: Path) -> None:
    """Have every file in the system's memory, as far as there is room: the engine takes out what it has written.

    Otherwise the first searches wait for the disk at each step through the graph, and hold the interpreter meanwhile.
    """
    for file in filter(Path.is_file, (folder / "segments").rglob("*")):
        with file.open("rb", buffering=0) as opened:
            while opened.read(_PIECE):
                pass


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
