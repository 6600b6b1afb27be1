"""What every blob store does, and that each of ours does it."""

import errno
import hashlib
import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from ibid.blobs.directory import DirectoryBlobStore
from ibid.blobs.memory import MemoryBlobStore
from ibid.blobs.obstore import PART, ObjectBlobStore
from ibid.blobs.port import BlobMissing, BlobStore, BlobsUnavailable
from ibid.blobs.registry import open_blobs
from ibid.errors import Invalid
from ibid.settings import Settings
from tests.running import PATIENCE

BUCKET = "ibid-blobs"


class SourceFailed(Exception):
    """What the source of an upload raises."""


def failing_source(size: int) -> Iterator[bytes]:
    yield b"x" * size
    raise SourceFailed


def stored_by_an_earlier_version(root: Path, key: str) -> None:
    digest = hashlib.sha256(key.encode()).hexdigest()
    path = root / digest[:2] / digest[2:4] / key.replace("/", "+")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(key.encode())


class BlobStoreContract:
    """Subclasses give the fixture `store`."""

    @pytest.mark.parametrize("chunks", [[], [b""], [b"a"], [b"ab", b"", b"c"], [b"\x00\xff" * 50_000] * 3])
    def test_put_then_read(self, store: BlobStore, chunks: list[bytes]):
        whole = b"".join(chunks)
        assert store.put("ab/c-1_2", chunks) == len(whole)
        assert store.read("ab/c-1_2") == whole
        assert b"".join(store.open("ab/c-1_2")) == whole
        assert store.exists("ab/c-1_2")

    def test_put_from_a_generator_larger_than_one_part(self, store: BlobStore):
        piece, times = os.urandom(700_001), 30
        assert store.put("big", (piece for _ in range(times))) == times * len(piece) > 2 * PART
        expected = hashlib.sha256(piece * times).hexdigest()
        pieces = list(store.open("big"))
        assert hashlib.sha256(b"".join(pieces)).hexdigest() == expected
        assert hashlib.sha256(store.read("big")).hexdigest() == expected

    def test_put_replaces(self, store: BlobStore):
        store.put("key", [b"first and longer"])
        store.put("key", [b"second"])
        assert store.read("key") == b"second"

    @pytest.mark.parametrize("size", [10, PART + 1])
    def test_a_source_that_fails_leaves_what_was_there(self, store: BlobStore, size: int):
        with pytest.raises(SourceFailed):
            store.put("new", failing_source(size))
        assert not store.exists("new")
        store.put("old", [b"before"])
        with pytest.raises(SourceFailed):
            store.put("old", failing_source(size))
        assert store.read("old") == b"before"
        assert list(store.keys()) == ["old"]

    def test_missing(self, store: BlobStore):
        assert not store.exists("none")
        with pytest.raises(BlobMissing):
            store.read("none")
        with pytest.raises(BlobMissing):
            store.open("none")

    def test_delete_is_idempotent(self, store: BlobStore):
        store.put("key", [b"x"])
        store.delete("key")
        store.delete("key")
        assert not store.exists("key")
        with pytest.raises(BlobMissing):
            store.read("key")

    def test_keys(self, store: BlobStore):
        assert list(store.keys()) == []
        keys = {"a", "a/b", "a-b", "a/b/c_d", "0" * 200}
        for key in keys:
            store.put(key, [key.encode()])
        assert sorted(store.keys()) == sorted(keys)
        assert [store.read(key) for key in sorted(keys)] == [key.encode() for key in sorted(keys)]
        assert sorted(store.keys("a")) == ["a/b", "a/b/c_d"]
        assert list(store.keys("a/b")) == ["a/b/c_d"]
        assert list(store.keys("a/b/c")) == []

    @pytest.mark.parametrize(
        "key",
        [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "../a",
            "a/../b",
            ".",
            "A",
            "a.b",
            "ä",
            "a b",
            "a\n",
            "a\x00",
            "0" * 201,
        ],
    )
    def test_keys_that_are_not_ours_are_refused(self, store: BlobStore, key: str):
        for call in (store.read, store.open, store.exists, store.delete, lambda k: store.put(k, [b""])):
            with pytest.raises(Invalid):
                call(key)


class TestMemory(BlobStoreContract):
    @pytest.fixture
    def store(self):
        return MemoryBlobStore()


class TestDirectory(BlobStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path):
        return DirectoryBlobStore(tmp_path / "blobs")

    def test_a_full_disk_is_said(self, store, monkeypatch):
        class Full(io.BytesIO):
            def write(self, _):
                raise OSError(errno.ENOSPC, "No space left on device")

        # A disk cannot be filled here, so only the file is one that is full.
        monkeypatch.setattr(Path, "open", lambda *_: Full())
        with pytest.raises(BlobsUnavailable, match="is full"):
            store.put("key", [b"x"])

    def test_a_folder_that_is_not_one_is_said(self, tmp_path):
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(BlobsUnavailable, match="Check the disk"):
            DirectoryBlobStore(tmp_path / "file" / "blobs")

    def test_killed_while_writing_leaves_no_blob(self, store, tmp_path):
        program = (
            "import os, signal, sys\nfrom pathlib import Path\n"
            "from ibid.blobs.directory import DirectoryBlobStore\n"
            "def source():\n    yield b'x' * 5_000_000\n    os.kill(os.getpid(), signal.SIGKILL)\n"
            "DirectoryBlobStore(Path(sys.argv[1])).put('key', source())"
        )
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "blobs")], check=False, timeout=PATIENCE
        )
        (left,) = (tmp_path / "blobs" / ".incoming").iterdir()
        again = DirectoryBlobStore(tmp_path / "blobs")
        assert list(again.keys()) == []
        assert left.exists()  # it might belong to another process that is at work
        yesterday = time.time() - 2 * 24 * 3600
        os.utime(left, (yesterday, yesterday))
        DirectoryBlobStore(tmp_path / "blobs")
        assert not left.exists()

    def test_what_earlier_versions_stored_is_found(self, tmp_path):
        keys = ("key", "ab/cd/blob_1", "parts/up_1/part_1")
        for key in keys:
            stored_by_an_earlier_version(tmp_path / "blobs", key)
        for _ in range(2):
            store = DirectoryBlobStore(tmp_path / "blobs")
            assert sorted(store.keys()) == sorted(keys)
            assert list(store.keys("parts/up_1")) == ["parts/up_1/part_1"]
            assert all(store.read(key) == key.encode() for key in keys)

    @pytest.mark.parametrize("again", [False, True])
    def test_what_an_earlier_version_stores_later_is_found(self, store, tmp_path, again):
        """It runs beside a newer one for a while, or again after it."""
        keys = ["ab/cd/blob_2", "key", "parts/up_2/part_1"]
        for key in keys:
            stored_by_an_earlier_version(tmp_path / "blobs", key)
        if again:
            store = DirectoryBlobStore(tmp_path / "blobs")
        assert sorted(store.keys()) == keys
        assert list(store.keys("ab/cd")) == ["ab/cd/blob_2"]
        assert store.exists("ab/cd/blob_2")
        assert b"".join(store.open("key")) == b"key"
        assert store.read("parts/up_2/part_1") == b"parts/up_2/part_1"
        assert sorted(store.keys()) == keys

    def test_what_an_earlier_version_stores_later_is_replaced_and_deleted(self, store, tmp_path):
        stored_by_an_earlier_version(tmp_path / "blobs", "ab/cd/blob_2")
        store.put("ab/cd/blob_2", [b"new"])
        assert (list(store.keys()), store.read("ab/cd/blob_2")) == (["ab/cd/blob_2"], b"new")
        stored_by_an_earlier_version(tmp_path / "blobs", "ab/cd/blob_2")
        assert list(store.keys("ab/cd")) == ["ab/cd/blob_2"]
        store.delete("ab/cd/blob_2")
        assert list(store.keys()) == []
        assert not [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]

    def test_keys_of_a_prefix_are_looked_for_in_one_folder(self, store, monkeypatch):
        for n in range(50):
            store.put(f"ab/{n}/blob", [b"x"])
        seen = []
        listed = Path.iterdir
        monkeypatch.setattr(Path, "iterdir", lambda folder: seen.append(folder) or listed(folder))
        assert list(store.keys("ab/7")) == ["ab/7/blob"]
        assert len(seen) == 2  # the other is the root: whether an earlier version has stored something

    def test_two_processes_share_it(self, store, tmp_path):
        store.put("key", [b"x"])
        assert DirectoryBlobStore(tmp_path / "blobs").read("key") == b"x"


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    """An S3 server in this process, on a free port of the loopback."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def make_s3(endpoint: str, url: str = f"s3://{BUCKET}/some/prefix") -> ObjectBlobStore:
    return ObjectBlobStore(
        url, endpoint=endpoint, access_key_id="key", secret_access_key="secret", timeout=10
    )


class TestS3(BlobStoreContract):
    @pytest.fixture
    def client(self, s3_endpoint: str):
        client = boto3.client(
            "s3",
            endpoint_url=s3_endpoint,
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
        )
        client.create_bucket(Bucket=BUCKET)
        yield client
        for entry in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
            client.delete_object(Bucket=BUCKET, Key=entry["Key"])
        client.close()

    @pytest.fixture
    def store(self, s3_endpoint: str, client):
        return make_s3(s3_endpoint)

    def test_a_source_that_fails_leaves_no_parts(self, store, client):
        with pytest.raises(SourceFailed):
            store.put("new", failing_source(2 * PART))
        assert client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []

    def test_a_prefix_keeps_to_itself(self, store, client, s3_endpoint):
        store.put("key", [b"x"])
        assert [entry["Key"] for entry in client.list_objects_v2(Bucket=BUCKET)["Contents"]] == [
            "some/prefix/key"
        ]
        other = make_s3(s3_endpoint, f"s3://{BUCKET}/some/other/")
        assert list(other.keys()) == []
        assert not other.exists("key")

    def test_a_bucket_that_is_missing_is_said(self, s3_endpoint):
        store = make_s3(s3_endpoint, "s3://no-such-bucket")
        for call in (store.read, lambda key: store.put(key, [b"x"])):
            with pytest.raises(BlobsUnavailable, match="no bucket"):
                call("key")

    def test_nobody_there(self):
        store = ObjectBlobStore(
            "s3://bucket", endpoint="http://127.0.0.1:9", access_key_id="a", secret_access_key="b", timeout=2
        )
        with pytest.raises(BlobsUnavailable, match="did not answer"):
            store.read("key")
        with pytest.raises(BlobsUnavailable, match="did not answer"):
            list(store.keys())


class TestOpen:
    def test_a_folder_of_the_data_directory_by_default(self, tmp_path):
        store = open_blobs(Settings(data_dir=tmp_path))
        store.put("key", [b"x"])
        assert (tmp_path / "blobs").is_dir()

    def test_object_storage(self, s3_endpoint):
        settings = Settings(
            blobs_url="s3://bucket/prefix",
            s3_endpoint=s3_endpoint,
            s3_access_key_id="key",
            s3_secret_access_key="secret",
        )
        assert isinstance(open_blobs(settings), ObjectBlobStore)

    @pytest.mark.parametrize("url", ["ftp://x", "bucket", "s3://", "s3:///x"])
    def test_an_address_that_is_none(self, url):
        with pytest.raises(Invalid):
            open_blobs(Settings(blobs_url=url))
