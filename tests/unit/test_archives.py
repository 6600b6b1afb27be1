"""Archives that somebody sent: what is in them, which entries become documents, and what an attack costs."""

import bz2
import gzip
import io
import lzma
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ibid.media import UnsupportedType
from ingest.archives import tars
from ingest.archives.bounds import Bounds, TooManyFiles
from ingest.archives.cautious import XzFile
from ingest.archives.entries import Entry, survey
from ingest.archives.opening import opened
from ingest.parsing.errors import TooLargeWhenUnpacked, Unreadable

MIB = 1024 * 1024
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "a.tar": bytes,
    "a.tar.gz": gzip.compress,
    "a.tgz": gzip.compress,
    "a.tar.bz2": bz2.compress,
    "a.tar.xz": lzma.compress,
}


def zipped(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return made.getvalue()


def tarred(*files: tuple[str, bytes], **options: object) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, **{"mode": "w"} | options) as archive:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return made.getvalue()


class Opened:
    """What an archive lists, and the bytes of what is wanted of it."""

    def __init__(self, folder: Path, content: bytes, name: str = "a.zip", **bounds: int) -> None:
        path = folder / "archive"
        path.write_bytes(content)
        given = {"packed": len(content), "unpacked": 200 * MIB, "file": 10 * MIB, "files": 1000} | bounds
        with opened(path, name, Bounds(**given)) as archive:
            self.entries: list[Entry] = survey(archive, Bounds(**given))
            wanted = frozenset(entry.place for entry in self.entries if entry.wanted)
            self.contents: dict[str, bytes] = {}
            self.damaged: list[str] = []
            for place, pieces in archive.contents(wanted):
                try:
                    self.contents[self.entries[place].path] = b"".join(pieces)
                except Unreadable:
                    self.damaged.append(self.entries[place].path)

    @property
    def refused(self) -> dict[str, str]:
        return {entry.path: entry.refusal.code for entry in self.entries if entry.refusal}

    @property
    def left_out(self) -> list[str]:
        return [entry.path for entry in self.entries if entry.left_out]


class TestFormats:
    FILES = (("a.txt", b"one"), ("deep/er/b.md", b"# two\n" * 5000))

    def test_zip(self, tmp_path: Path) -> None:
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            assert Opened(tmp_path, zipped(*self.FILES, method=method)).contents == dict(self.FILES)

    @pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_zip_that_would_be_unpacked_without_bounds(self, tmp_path: Path, method: int) -> None:
        found = Opened(tmp_path, zipped(*self.FILES, method=method))
        assert (set(found.refused), found.contents) == (dict(self.FILES).keys(), {})

    @pytest.mark.parametrize("name", PACKERS)
    @pytest.mark.parametrize("dialect", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    def test_tar(self, tmp_path: Path, name: str, dialect: int) -> None:
        found = Opened(tmp_path, PACKERS[name](tarred(*self.FILES, format=dialect)), name)
        assert found.contents == dict(self.FILES)

    @pytest.mark.parametrize("name", ["a.tar.gz", "a.tar.bz2", "a.tar.xz"])
    def test_streams_in_a_row_are_one(self, tmp_path: Path, name: str) -> None:
        """As pigz, pbzip2 and pixz pack."""
        whole = tarred(*self.FILES)
        content = PACKERS[name](whole[:700]) + PACKERS[name](whole[700:])
        assert Opened(tmp_path, content, name).contents == dict(self.FILES)

    def test_long_names_of_tar(self, tmp_path: Path) -> None:
        name = "/".join(["folder" * 10] * 4) + "/a.txt"
        for dialect in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
            assert list(Opened(tmp_path, tarred((name, b"x"), format=dialect), "a.tar").contents) == [name]

    def test_nothing_in_it(self, tmp_path: Path) -> None:
        assert Opened(tmp_path, zipped()).entries == []
        assert Opened(tmp_path, tarred(), "a.tar").entries == []

    def test_other_names_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UnsupportedType):
            Opened(tmp_path, zipped(), "a.rar")


class TestPaths:
    @pytest.mark.parametrize(
        ("written", "path"),
        [
            ("./a//b.txt", "a/b.txt"),
            ("a/./b.txt", "a/b.txt"),
            ("a\\b.txt", "a/b.txt"),
            ("u\N{COMBINING DIAERESIS}ber.txt", "über.txt"),
        ],
    )
    def test_are_written_one_way(self, tmp_path: Path, written: str, path: str) -> None:
        assert list(Opened(tmp_path, zipped((written, b"x"))).contents) == [path]
        assert list(Opened(tmp_path, tarred((written, b"x")), "a.tar").contents) == [path]

    @pytest.mark.parametrize(
        "written",
        ["/etc/a.txt", "../a.txt", "a/../../b.txt", "a/../b.txt", "\\a.txt", "C:\\a.txt", "c:a.txt"],
    )
    def test_that_lead_out_are_refused(self, tmp_path: Path, written: str) -> None:
        for content, name in ((zipped((written, b"x")), "a.zip"), (tarred((written, b"x")), "a.tar")):
            found = Opened(tmp_path, content, name)
            assert (found.contents, found.refused) == ({}, {written: "unsafe_path"})

    @pytest.mark.parametrize(
        "written", ["a\nb.txt", "a\x1b[2J.txt", "x" * 300 + ".txt", "f/" * 300 + "a.txt", "\u202egpj.txt"]
    )
    def test_that_nobody_can_read_are_refused(self, tmp_path: Path, written: str) -> None:
        found = Opened(tmp_path, zipped((written, b"x")))
        assert set(found.refused.values()) == {"bad_name"}
        assert all(path.isprintable() and len(path) <= 512 for path in found.refused)

    def test_of_old_zips(self, tmp_path: Path) -> None:
        """Without the flag of UTF-8 a name is in code page 437, unless its bytes are UTF-8 as Unix's zip writes them."""
        for raw, path in (("ü.txt".encode("cp437"), "ü.txt"), ("日本.txt".encode(), "日本.txt")):
            plain = zipped(("x" * (len(raw) - 4) + ".txt", b"x"))
            content = plain.replace(b"x" * (len(raw) - 4) + b".txt", raw)
            assert list(Opened(tmp_path, content).contents) == [path]

    def test_of_tar_that_are_no_utf8_are_refused(self, tmp_path: Path) -> None:
        found = Opened(
            tmp_path, tarred(("ü.txt", b"x"), encoding="latin-1", format=tarfile.GNU_FORMAT), "a.tar"
        )
        assert found.refused == {"�.txt": "bad_name"}

    def test_that_come_twice_give_the_last(self, tmp_path: Path) -> None:
        with pytest.warns(UserWarning, match="Duplicate"):
            content = zipped(("a.txt", b"old"), ("./a.txt", b"older"), ("a.txt", b"new"))
        for found in (
            Opened(tmp_path, content),
            Opened(tmp_path, tarred(("a.txt", b"old"), ("a.txt", b"new")), "a.tar"),
        ):
            assert found.contents == {"a.txt": b"new"}
            assert {entry.refusal.code for entry in found.entries if entry.refusal} == {"duplicate_path"}


class TestEntries:
    def test_of_systems_and_folders_are_left_out(self, tmp_path: Path) -> None:
        names = ["__MACOSX/._a.txt", "f/.DS_Store", "f/._b.txt", "Thumbs.db", "f/", "__MACOSX/"]
        found = Opened(tmp_path, zipped(*((name, b"" if name.endswith("/") else b"x") for name in names)))
        assert (found.left_out, found.refused, found.contents) == (names, {}, {})

    def test_that_no_upload_may_be_are_refused(self, tmp_path: Path) -> None:
        files = [
            ("inner.zip", zipped(("a.txt", b"x"))),
            ("inner.tar.gz", b"x"),
            ("empty.txt", b""),
            ("movie.mp4", b"x"),
            ("none", b"x"),
            ("large.txt", b"x" * 11),
        ]
        found = Opened(tmp_path, zipped(*files), file=10)
        assert found.refused == {
            "inner.zip": "nested_archive",
            "inner.tar.gz": "nested_archive",
            "empty.txt": "empty_file",
            "movie.mp4": "unsupported_type",
            "none": "unsupported_type",
            "large.txt": "too_large",
        }

    @pytest.mark.parametrize(
        ("kind", "code"),
        [
            (tarfile.SYMTYPE, "link"),
            (tarfile.LNKTYPE, "link"),
            (tarfile.CHRTYPE, "not_a_file"),
            (tarfile.BLKTYPE, "not_a_file"),
            (tarfile.FIFOTYPE, "not_a_file"),
        ],
    )
    def test_that_are_no_files_of_tar(self, tmp_path: Path, kind: bytes, code: str) -> None:
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as archive:
            entry = tarfile.TarInfo("a.txt")
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
            archive.addfile(tarfile.TarInfo("folder"))
        found = Opened(tmp_path, made.getvalue(), "a.tar")
        assert found.refused["a.txt"] == code
        assert found.contents == {}

    @pytest.mark.parametrize(("kind", "code"), [(stat.S_IFLNK, "link"), (stat.S_IFIFO, "not_a_file")])
    def test_that_are_no_files_of_zip(self, tmp_path: Path, kind: int, code: str) -> None:
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive:
            entry = zipfile.ZipInfo("a.txt")
            entry.create_system, entry.external_attr = 3, (kind | 0o777) << 16
            archive.writestr(entry, "/etc/passwd")
        assert Opened(tmp_path, made.getvalue()).refused == {"a.txt": code}

    def test_with_a_password(self, tmp_path: Path) -> None:
        content = bytearray(zipped(("a.txt", b"x"), ("b.txt", b"y"), method=zipfile.ZIP_STORED))
        content[content.index(b"PK\x01\x02") + 8] |= 1
        found = Opened(tmp_path, bytes(content))
        assert (found.refused, found.contents) == ({"a.txt": "encrypted"}, {"b.txt": b"y"})

    def test_packed_in_a_way_that_takes_memory(self, tmp_path: Path) -> None:
        found = Opened(tmp_path, zipped(("a.txt", b"x"), method=zipfile.ZIP_LZMA))
        assert found.refused == {"a.txt": "unsupported_compression"}

    def test_that_is_damaged_costs_itself(self, tmp_path: Path) -> None:
        content = zipped(("a.txt", b"first"), ("b.txt", b"second"), method=zipfile.ZIP_STORED)
        found = Opened(tmp_path, content.replace(b"first", b"fIrst"))
        assert (found.damaged, found.contents) == (["a.txt"], {"b.txt": b"second"})


class TestDamage:
    @pytest.mark.parametrize("name", [*PACKERS, "a.zip"])
    def test_is_found_before_anything_is_taken(self, tmp_path: Path, name: str) -> None:
        files = [(f"{n}.txt", bytes(range(256)) * 20) for n in range(20)]
        whole = zipped(*files) if name == "a.zip" else PACKERS[name](tarred(*files))
        for cut in (len(whole) * 2 // 3, len(whole) // 7, 40):
            with pytest.raises(Unreadable):
                Opened(tmp_path, whole[:cut], name)

    @pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz", "a.zip"])
    def test_of_what_is_no_archive(self, tmp_path: Path, name: str) -> None:
        for content in (b"", b"x", b"no archive at all " * 100):
            with pytest.raises(Unreadable):
                Opened(tmp_path, content, name)

    def test_of_a_header_in_the_middle(self, tmp_path: Path) -> None:
        """There tarfile ends as if the archive did."""
        content = bytearray(tarred(("a.txt", b"x"), ("b.txt", b"y")))
        content[1024 + 150] ^= 1
        with pytest.raises(Unreadable, match="breaks off"):
            Opened(tmp_path, bytes(content), "a.tar")

    def test_of_a_checksum(self, tmp_path: Path) -> None:
        content = bytearray(gzip.compress(tarred(("a.txt", b"x"))))
        content[-6] ^= 1
        with pytest.raises(Unreadable):
            Opened(tmp_path, bytes(content), "a.tar.gz")


class TestBounds:
    @pytest.mark.parametrize("name", ["a.zip", "a.tar"])
    def test_on_entries(self, tmp_path: Path, name: str) -> None:
        files = [(f"{n}.txt", b"x") for n in range(11)]
        content = zipped(*files) if name == "a.zip" else tarred(*files)
        assert len(Opened(tmp_path, content, name, files=11).contents) == 11
        with pytest.raises(TooManyFiles):
            Opened(tmp_path, content, name, files=10)

    @pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
    def test_on_all_that_is_unpacked(self, tmp_path: Path, name: str) -> None:
        files = [(f"{n}.txt", bytes(range(256)) * 40) for n in range(10)]
        content = zipped(*files) if name == "a.zip" else PACKERS[name](tarred(*files))
        assert len(Opened(tmp_path, content, name, unpacked=200_000).contents) == 10
        with pytest.raises(TooLargeWhenUnpacked):
            Opened(tmp_path, content, name, unpacked=100_000)

    @pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tar.bz2", "a.tar.xz"])
    def test_on_the_ratio(self, tmp_path: Path, name: str) -> None:
        files = [(f"{n}.txt", bytes(9 * MIB)) for n in range(9)]
        content = zipped(*files) if name == "a.zip" else PACKERS[name](tarred(*files))
        with pytest.raises(TooLargeWhenUnpacked):
            Opened(tmp_path, content, name)

    def test_what_is_not_wanted_of_a_zip_costs_nothing(self, tmp_path: Path) -> None:
        found = Opened(tmp_path, zipped(("a.txt", b"x"), ("b.mp4", bytes(80 * MIB))))
        assert found.contents == {"a.txt": b"x"}

    def test_entries_of_a_zip_may_not_share_bytes(self, tmp_path: Path) -> None:
        """A bomb of Fifield's kind: many directory entries, one body."""
        content = zipped(("a.txt", b"x" * 1000), method=zipfile.ZIP_STORED)
        begin, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
        entry = content[begin:end]
        count, size = struct.pack("<H", 50), struct.pack("<L", 50 * len(entry))
        tail = content[end : end + 8] + count + count + size + content[end + 16 :]
        with pytest.raises(TooLargeWhenUnpacked, match="share their bytes"):
            Opened(tmp_path, content[:begin] + entry * 50 + tail)

    def test_quoted_entries_of_a_zip_are_found(self, tmp_path: Path) -> None:
        """The other kind: a body that begins with the next entry's header and holds it whole."""
        inner = zipped(("b.txt", b"y" * 100), method=zipfile.ZIP_STORED)
        content = bytearray(zipped(("a.txt", inner), method=zipfile.ZIP_STORED))
        begin = content.rindex(b"PK\x01\x02")
        second = bytearray(content[begin : content.rindex(b"PK\x05\x06")])
        second[42:46] = struct.pack("<L", content.index(b"b.txt") - 30)
        end = content.rindex(b"PK\x05\x06")
        count, size = struct.pack("<H", 2), struct.pack("<L", 2 * len(second))
        tail = content[end : end + 8] + count + count + size + content[end + 16 :]
        with pytest.raises(TooLargeWhenUnpacked, match="share their bytes"):
            Opened(tmp_path, bytes(content[:end]) + bytes(second) + bytes(tail))

    def test_zip_entry_that_gives_more_than_it_says(self, tmp_path: Path) -> None:
        content = bytearray(zipped(("a.txt", bytes(5 * MIB))))
        begin = content.index(b"PK\x01\x02")
        content[begin + 24 : begin + 28] = struct.pack("<L", 10)
        found = Opened(tmp_path, bytes(content))
        assert (found.damaged, found.contents) == (["a.txt"], {})

    def test_directory_of_a_zip_that_would_fill_the_memory(self, tmp_path: Path) -> None:
        filler = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *[0] * 16)[:46] * 100_000
        end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, len(filler), 0, 0)
        with pytest.raises(Unreadable):
            Opened(tmp_path, filler + end)

    @pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
    def test_header_of_a_tar_that_would_fill_the_memory(self, tmp_path: Path, kind: bytes) -> None:
        """tarfile would hold these bytes whole; here they are refused before they are read."""
        made = io.BytesIO()
        entry = tarfile.TarInfo("x")
        entry.type, entry.size = kind, 50 * MIB
        made.write(entry.tobuf(tarfile.USTAR_FORMAT) + bytes(50 * MIB))
        with pytest.raises(Unreadable):
            Opened(tmp_path, gzip.compress(made.getvalue()), "a.tar.gz")

    @pytest.mark.parametrize("dialect", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    def test_name_in_a_tar_that_is_as_long_as_a_book(self, tmp_path: Path, dialect: int) -> None:
        content = tarred(("a/" * 100_000 + "b.txt", b"x"), format=dialect)
        with pytest.raises(Unreadable):
            Opened(tmp_path, content, "a.tar")

    def test_what_is_not_wanted_of_a_tar_is_unpacked_and_counted(self, tmp_path: Path) -> None:
        for files in ((("b.mp4", bytes(80 * MIB)),), ()):
            content = gzip.compress(tarred(("a.txt", b"x"), *files) + bytes(0 if files else 80 * MIB))
            with pytest.raises(TooLargeWhenUnpacked):
                Opened(tmp_path, content, "a.tar.gz")

    def test_headers_of_a_tar_that_follow_each_other_without_end(self, tmp_path: Path) -> None:
        """Each calls tarfile again from within."""
        entry = tarfile.TarInfo("x")
        entry.type = tarfile.XGLTYPE
        with pytest.raises(Unreadable):
            Opened(tmp_path, entry.tobuf(tarfile.USTAR_FORMAT) * 5000, "a.tar")

    def test_memory_of_xz(self) -> None:
        """A dictionary of a gibibyte is the sender's wish, not ours."""
        filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]
        packed = lzma.compress(b"x" * 100, lzma.FORMAT_XZ, filters=filters)
        with pytest.raises(lzma.LZMAError, match="limit"):
            XzFile(io.BytesIO(packed)).read(10)

    def test_bytes_of_an_entry_come_in_pieces(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(tarred(("a.txt", bytes(5 * MIB))))
        bounds = Bounds(packed=6 * MIB, unpacked=10 * MIB, file=10 * MIB, files=10)
        with opened(tmp_path / "a", "a.tar", bounds) as archive:
            sizes = [len(piece) for _, pieces in archive.contents(frozenset({0})) for piece in pieces]
        assert sum(sizes) == 5 * MIB
        assert max(sizes) <= tars.PIECE
