"""Zip archives. The directory at the end is the truth; entries that share bytes make a bomb and no archive."""

import stat
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, BinaryIO, Final, cast

from ingest.archives.bounds import ENCRYPTED, Bounds
from ingest.archives.cautious import PIECE, BoundedFile, damage
from ingest.archives.entries import LINK, LOCKED, PACKED_ODDLY, SPECIAL, Found, Refusal
from ingest.parsing.errors import TooLargeWhenUnpacked

_DIRECTORY_ENTRY: Final = 512
"""So many bytes an entry has in the directory at most, on an average: a name, a path, what systems add."""
_LOCAL_HEADER: Final = 30
_UNIX: Final = 3
_UTF8: Final = 0x800
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
"""Of the others `zipfile` unpacks all that was read at once, however much that becomes."""


class ZipArchive:
    """A zip file, whose entries can be read in any order."""

    def __init__(self, file: BinaryIO, bounds: Bounds) -> None:
        most = max(2 * PIECE, bounds.files * _DIRECTORY_ENTRY)
        with damage(zipfile.BadZipFile):
            self._zip = zipfile.ZipFile(cast("IO[bytes]", BoundedFile(file, most=most)))
        self._listed = self._zip.infolist()
        bounds.check_count(len(self._listed))
        self._check_overlaps()

    def entries(self) -> Iterator[Found]:
        """Every entry, as the directory has it."""
        for info in self._listed:
            yield Found(_name(info), info.file_size, info.is_dir(), _refusal(info))

    def contents(self, wanted: frozenset[int]) -> Iterator[tuple[int, Iterator[bytes]]]:
        """The wanted entries; no more of one is unpacked than the directory promises, and it has its checksum."""
        for place in sorted(wanted):
            yield place, self._pieces(self._listed[place])

    def _pieces(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        with damage(zipfile.BadZipFile, zlib.error):
            file = self._zip.open(info)
        with file:
            while True:
                with damage(zipfile.BadZipFile, zlib.error):
                    piece = file.read(PIECE)
                if not piece:
                    return
                yield piece

    def _check_overlaps(self) -> None:
        end = 0
        for info in sorted(self._listed, key=lambda info: info.header_offset):
            if info.header_offset < end:
                raise TooLargeWhenUnpacked(
                    "Entries of this archive share their bytes, as in a zip bomb, so nothing of it was taken. "
                    "Pack it again."
                )
            end = info.header_offset + _LOCAL_HEADER + info.compress_size


def _name(info: zipfile.ZipInfo) -> str:
    """The name in UTF-8 where the entry says so or its bytes are that, as of Unix's zip; else in the old code page."""
    if info.flag_bits & _UTF8:
        return info.orig_filename
    try:
        return info.orig_filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.orig_filename


def _refusal(info: zipfile.ZipInfo) -> Refusal | None:
    if info.flag_bits & ENCRYPTED:
        return LOCKED
    kind = stat.S_IFMT(info.external_attr >> 16) if info.create_system == _UNIX else 0
    if kind == stat.S_IFLNK:
        return LINK
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        return SPECIAL
    return None if info.compress_type in _METHODS else PACKED_ODDLY
