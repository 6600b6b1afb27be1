"""Uploads in parts: the real client of tus against a real server that is killed, and the rules at the door."""

import base64
import hashlib
import io
import random
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import requests
from sqlalchemy import select
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError

from api.routes import resumable as routes
from api.routes.resumable import PART
from ibid import resumable
from ibid.clock import now
from ibid.db.tables import UploadPart
from tests.door import LEAVE, Door
from tests.running import ADMIN_KEY, await_jobs, eventually, new_collection, serving

OCTETS = {"Content-Type": "application/offset+octet-stream", "Tus-Resumable": "1.0.0"}


def announced(length: int, **metadata: str) -> dict[str, str]:
    pairs = (f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in metadata.items())
    return {"Upload-Length": str(length), "Upload-Metadata": ",".join(pairs), "Tus-Resumable": "1.0.0"}


def begun(door: Door, collection: str, length: int, key: str = "", **metadata: str) -> str:
    made = door.post(f"/v1/collections/{collection}/uploads", key=key, headers=announced(length, **metadata))
    assert made.status_code == 201, made.text
    assert made.headers["location"] == f"/v1/uploads/{made.json()['id']}"
    return str(made.headers["location"])


def patch(door: Door, location: str, offset: int, content: bytes, key: str = ""):
    headers = OCTETS | {"Upload-Offset": str(offset)}
    return door.call("PATCH", location, key=key, content=content, headers=headers)


def offset_of(door: Door, location: str) -> int:
    return int(door.call("HEAD", location).headers["upload-offset"])


class TestParts:
    def test_become_a_document_that_is_a_no_op_the_second_time(self, door: Door) -> None:
        collection = door.collection("parts")
        content = LEAVE.encode()
        for outcome in ("created", "unchanged"):
            location = begun(
                door, collection, len(content), filename="leave.txt", external_id="l-1", metadata='{"a": 1}'
            )
            assert patch(door, location, 0, content[:30]).headers["upload-offset"] == "30"
            assert offset_of(door, location) == 30
            done = patch(door, location, 30, content[30:])
            assert done.status_code == 204
            became = door.get(location).json()["outcome"]
            assert (became["outcome"], became["id"]) == (outcome, done.headers["ibid-document-id"])
        (document,) = door.get(f"/v1/collections/{collection}/documents").json()["data"]
        assert (document["external_id"], document["metadata"], document["version"]) == ("l-1", {"a": 1}, 1)
        assert document["sha256"] == hashlib.sha256(content).hexdigest()

    def test_wrong_offset_changes_nothing(self, door: Door) -> None:
        location = begun(door, door.collection("offsets"), 20, filename="a.txt")
        patch(door, location, 0, b"0123456789")
        for offset in (0, 9, 11):
            assert door.code(patch(door, location, offset, b"x")) == (409, "offset_mismatch")
        assert offset_of(door, location) == 10

    def test_more_than_announced_is_refused(self, door: Door) -> None:
        location = begun(door, door.collection("longer"), 5, filename="a.txt")
        assert door.code(patch(door, location, 0, b"0123456789")) == (413, "too_large")
        assert offset_of(door, location) == 0

    def test_what_is_no_pdf_is_refused_at_its_end(self, door: Door) -> None:
        collection = door.collection("liars")
        location = begun(door, collection, 4, filename="a.pdf")
        assert door.code(patch(door, location, 0, b"none")) == (415, "unsupported_type")
        assert door.get(f"/v1/collections/{collection}/documents").json()["data"] == []

    @pytest.mark.parametrize(
        ("length", "name", "status", "code"),
        [
            (0, "a.txt", 422, "empty_file"),
            (2**40, "a.txt", 413, "too_large"),
            (5, "a.xyz", 415, "unsupported_type"),
            (5, "../a.txt", 422, "bad_name"),
        ],
    )
    def test_refused_before_a_byte_is_sent(
        self, door: Door, length: int, name: str, status: int, code: str
    ) -> None:
        headers = announced(length, filename=name)
        assert door.code(door.post(f"/v1/collections/{_shared(door)}/uploads", headers=headers)) == (
            status,
            code,
        )

    def test_metadata_that_is_no_base64(self, door: Door) -> None:
        headers = {"Upload-Length": "5", "Upload-Metadata": "filename ***"}
        made = door.post(f"/v1/collections/{_shared(door)}/uploads", headers=headers)
        assert door.code(made) == (400, "bad_upload_metadata")

    def test_nobody_sees_another_keys_upload(self, door: Door) -> None:
        mine, theirs = door.key("editor"), door.key("editor")
        location = begun(door, _shared(door), 5, mine, filename="a.txt")
        for key in (theirs, ""):
            assert door.code(door.get(location, key=key)) == (404, "upload_not_found")
            assert door.call("HEAD", location, key=key).status_code == 404
            assert door.code(patch(door, location, 0, b"x", key)) == (404, "upload_not_found")
            assert door.code(door.delete(location, key=key)) == (404, "upload_not_found")
        assert door.call("HEAD", location, key=None).status_code == 401
        assert patch(door, location, 0, b"x", mine).status_code == 204

    def test_given_up_or_expired_is_gone_with_its_bytes(self, door: Door) -> None:
        given_up = begun(door, _shared(door), 5, filename="a.txt")
        expired = begun(door, _shared(door), 5, filename="b.txt")
        for location in (given_up, expired):
            patch(door, location, 0, b"x")
        assert door.delete(given_up).status_code == 204
        assert door.call("HEAD", given_up).status_code == 404
        resumable.remove_expired(door.parts.db, door.parts.blobs, now())
        assert door.call("HEAD", expired).status_code == 200
        resumable.remove_expired(door.parts.db, door.parts.blobs, now() + timedelta(hours=25))
        assert door.call("HEAD", expired).status_code == 404
        with door.parts.db.read() as session:
            assert session.scalars(select(UploadPart.id)).all() == []
        assert [key for key in door.parts.blobs.keys() if key.startswith("parts/")] == []  # noqa: SIM118 - the port's


class TestProtocol:
    """What tus 1.0 asks of a server beside the bytes."""

    def test_options_tell_what_is_offered(self, door: Door) -> None:
        for path in (f"/v1/collections/{_shared(door)}/uploads", "/v1/uploads/any"):
            told = door.call("OPTIONS", path, key=None, headers={"Tus-Resumable": "9.9"})
            assert told.status_code == 204
            assert (told.headers["tus-resumable"], told.headers["tus-version"]) == ("1.0.0", "1.0.0")
            assert told.headers["tus-max-size"] == str(door.parts.settings.max_resumable_bytes)
            offered = {"creation", "creation-with-upload", "expiration", "termination", "checksum"}
            assert set(told.headers["tus-extension"].split(",")) == offered
            assert "sha1" in told.headers["tus-checksum-algorithm"].split(",")

    def test_another_version_is_not_processed(self, door: Door) -> None:
        location = begun(door, _shared(door), 5, filename="a.txt")
        headers = OCTETS | {"Upload-Offset": "0", "Tus-Resumable": "0.2.2"}
        refused = door.call("PATCH", location, content=b"12345", headers=headers)
        assert door.code(refused) == (412, "tus_version_unsupported")
        assert refused.headers["tus-version"] == "1.0.0"
        assert offset_of(door, location) == 0

    def test_every_reply_names_the_protocol(self, door: Door) -> None:
        location = begun(door, _shared(door), 5, filename="a.txt")
        for reply in (
            door.call("HEAD", location),
            patch(door, location, 3, b"x"),
            door.post(f"/v1/collections/{_shared(door)}/uploads"),
            door.call("HEAD", "/v1/uploads/none"),
            door.call("HEAD", location, key=None),
            door.delete(location),
        ):
            assert reply.headers["tus-resumable"] == "1.0.0"

    @pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
    def test_checksum_that_is_right(self, door: Door, algorithm: str) -> None:
        location = begun(door, _shared(door), 20, filename="a.txt")
        assert summed(door, location, b"0123456789", algorithm, b"0123456789").status_code == 204
        assert offset_of(door, location) == 10

    def test_bytes_of_a_wrong_checksum_are_not_kept(self, door: Door) -> None:
        location = begun(door, _shared(door), 2 * PART, filename="a.txt")
        refused = summed(door, location, b"x" * (PART + 1), "sha1", b"others")
        assert door.code(refused) == (460, "checksum_mismatch")
        assert offset_of(door, location) == 0

    def test_full_disk_that_takes_what_has_a_checksum(
        self, door: Door, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        location = begun(door, _shared(door), 20, filename="a.txt")
        with monkeypatch.context() as patched:
            patched.setattr(routes, "TemporaryFile", partial(Path("/dev/full").open, "w+b"))
            refused = summed(door, location, b"0123456789", "sha1", b"0123456789")
        assert door.code(refused) == (507, "no_room")
        assert offset_of(door, location) == 0
        assert summed(door, location, b"0123456789", "sha1", b"0123456789").status_code == 204

    def test_more_than_announced_is_not_taken_in_before_it_is_refused(
        self, door: Door, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        location = begun(door, _shared(door), 20, filename="a.txt")
        assert patch(door, location, 0, b"0123456789").status_code == 204
        came = tmp_path / "came"
        monkeypatch.setattr(routes, "TemporaryFile", lambda: came.open("w+b"))
        refused = summed(door, location, b"x" * 1_000_000, "sha1", b"x" * 1_000_000, offset=10)
        assert door.code(refused) == (413, "too_large")
        assert came.stat().st_size <= 10
        assert offset_of(door, location) == 10

    @pytest.mark.parametrize("header", ["crc32 AAAA", "sha1", "sha1 ***", ""])
    def test_checksum_that_nobody_knows(self, door: Door, header: str) -> None:
        location = begun(door, _shared(door), 5, filename="a.txt")
        headers = OCTETS | {"Upload-Offset": "0", "Upload-Checksum": header}
        refused = door.call("PATCH", location, content=b"12345", headers=headers)
        assert door.code(refused) == (400, "bad_upload_checksum")
        assert offset_of(door, location) == 0

    def test_creation_may_bring_the_first_bytes(self, door: Door) -> None:
        content = LEAVE.encode()
        made = created_with(door, content[:30], len(content))
        assert (made.status_code, made.headers["upload-offset"]) == (201, "30")
        done = patch(door, str(made.headers["location"]), 30, content[30:])
        assert done.headers["upload-offset"] == str(len(content))
        assert door.get(f"/v1/documents/{done.headers['ibid-document-id']}").json()["name"] == "leave.txt"

    def test_creation_may_bring_all_bytes(self, door: Door) -> None:
        content = LEAVE.encode()
        made = created_with(door, content, len(content), "again-and-again")
        assert made.headers["upload-offset"] == str(len(content))
        again = created_with(door, content, len(content), "again-and-again")
        for name in ("location", "upload-offset", "ibid-document-id"):
            assert again.headers[name] == made.headers[name]

    def test_creation_whose_bytes_are_refused_gives_its_key_back(self, door: Door) -> None:
        content = LEAVE.encode()
        once = {"Upload-Checksum": checksum(content)}
        refused = created_with(door, content[::-1], len(content), "once", **once)
        assert door.code(refused) == (460, "checksum_mismatch")
        left = str(refused.headers["location"])
        assert offset_of(door, left) == 0
        made = created_with(door, content, len(content), "once", **once)
        assert (made.status_code, made.headers["upload-offset"]) == (201, str(len(content)))
        again = created_with(door, content, len(content), "once", **once)
        assert again.headers["location"] == made.headers["location"] != left
        assert summed(door, left, content, "sha1", content).status_code == 204

    def test_a_repetition_that_is_refused_leaves_the_first_reply(self, door: Door) -> None:
        content = LEAVE.encode()[:30]
        first = created_with(door, b"", 30, "twice", **{"Content-Type": "text/plain"})
        assert first.status_code == 201
        wrong = {"Upload-Checksum": checksum(content)}
        refused = created_with(door, b"", 30, "twice", **wrong)
        assert door.code(refused) == (460, "checksum_mismatch")
        assert refused.headers["location"] == first.headers["location"]
        again = created_with(door, b"", 30, "twice")
        assert again.headers["location"] == first.headers["location"]

    def test_creation_says_how_it_may_be_refused(self, door: Door) -> None:
        paths = door.get("/openapi.json").json()["paths"]
        told = paths["/v1/collections/{collection}/uploads"]["post"]["responses"]
        assert {"409", "460", "503", "507"} <= told.keys()


def summed(door: Door, location: str, content: bytes, algorithm: str, of: bytes, offset: int = 0):
    headers = OCTETS | {"Upload-Offset": str(offset), "Upload-Checksum": checksum(of, algorithm)}
    return door.call("PATCH", location, content=content, headers=headers)


def checksum(of: bytes, algorithm: str = "sha1") -> str:
    return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, of).digest()).decode()}"


def created_with(door: Door, content: bytes, length: int, key: str = "", **more: str):
    headers = OCTETS | announced(length, filename="leave.txt") | ({"Idempotency-Key": key} if key else {})
    headers |= more
    return door.post(f"/v1/collections/{_shared(door)}/uploads", content=content, headers=headers)


def _shared(door: Door) -> str:
    names = {each["name"] for each in door.get("/v1/collections").json()["data"]}
    return "shared" if "shared" in names else door.collection("shared")


@pytest.mark.slow
def test_survives_kills_of_the_server(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    content = "\n\n".join(
        f"Paragraph {n} of the long report, {chance.random()}." for n in range(9000)
    ).encode()
    stream = io.BytesIO(content)
    with serving(tmp_path / "server", IBID_EMBEDDER="hashing") as server:
        with server.client() as client:
            new_collection(client, "long")
        tus = TusClient(f"{server.url}/v1/collections/long/uploads", {"Authorization": f"Bearer {ADMIN_KEY}"})
        uploader = tus.uploader(
            file_stream=stream,
            chunk_size=chance.randrange(9_000, 20_000),
            metadata={"filename": "report.txt"},
            upload_checksum=True,
        )
        for _ in range(2):
            for _ in range(chance.randrange(1, 5)):
                uploader.upload_chunk()
            server.kill()
            with pytest.raises((TusCommunicationError, requests.ConnectionError)):
                uploader.upload_chunk()
            server.start()
            uploader.offset = uploader.get_offset()
            assert 0 < uploader.offset < len(content), seed
        uploader.upload()
        with server.client() as client:
            became = client.get(uploader.url).json()["outcome"]
            await_jobs(client, [became["job_id"]])
            original = client.get(f"/v1/documents/{became['id']}/versions/1/original").content
            assert hashlib.sha256(original).digest() == hashlib.sha256(content).digest(), seed


@pytest.mark.slow
def test_parts_of_a_request_that_broke_are_kept(tmp_path: Path) -> None:
    with serving(tmp_path / "server", IBID_EMBEDDER="hashing") as server, server.client() as client:
        new_collection(client, "broken")
        length = 3 * PART
        made = client.post("/v1/collections/broken/uploads", headers=announced(length, filename="a.txt"))
        location = made.headers["location"]

        def offset() -> int:
            with server.client() as another:
                return int(another.head(location).headers["upload-offset"])

        def breaking() -> Iterator[bytes]:
            yield b"x" * (PART + 1000)
            eventually(offset)
            raise ConnectionResetError

        headers = OCTETS | {"Upload-Offset": "0", "Content-Length": str(length)}
        with pytest.raises(ConnectionResetError):
            client.patch(location, content=breaking(), headers=headers)
        stands = offset()
        assert PART <= stands <= PART + 1000
