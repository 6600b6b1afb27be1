"""Tar archives, plain or in gzip, bzip2 or xz: read from front to back, once to list them and once to take them."""

import bz2
import gzip
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, BinaryIO, Final, cast

from ingest.archives.bounds import Bounds
from ingest.archives.cautious import PIECE, ForwardFile, Source, XzFile, damage
from ingest.archives.entries import LINK, SPARSE, SPECIAL, Found, Refusal
from ingest.parsing.errors import Unreadable

_HEADER: Final = 64 * 1024
"""What one entry's header may have, long names and all."""
_HEADERS: Final = 64 * 1024 * 1024
UNPACKERS: Final[dict[str, Callable[[BinaryIO], Source]]] = {
    "application/x-tar": lambda file: file,
    "application/gzip": lambda file: gzip.GzipFile(fileobj=file),
    "application/x-bzip2": bz2.BZ2File,
    "application/x-xz": XzFile,
}
"""What gives the bytes of the tar file, by the media type of what was sent."""


class TarArchive:
    """A tar file; each pass begins at its front, since none of the packed ones can be read elsewhere."""

    def __init__(self, file: BinaryIO, media_type: str, bounds: Bounds) -> None:
        self._file, self._bounds, self._unpacker = file, bounds, UNPACKERS[media_type]

    def entries(self) -> Iterator[Found]:
        """Every entry; and then to the end of the file, so that one that was cut off is found now."""
        stream = self._stream()
        for member in _members(stream):
            yield Found(member.name, member.size, member.isdir(), _refusal(member))
        with damage(zlib.error):
            if stream.last_block.strip(b"\x00"):
                raise Unreadable(
                    "The archive's list of entries breaks off. Pack it again and send the new one."
                )
            stream.drain()

    def contents(self, wanted: frozenset[int]) -> Iterator[tuple[int, Iterator[bytes]]]:
        """The wanted entries, as they come by."""
        last = max(wanted, default=-1)
        stream = self._stream()
        for place, member in enumerate(_members(stream)):
            if place in wanted:
                yield place, _pieces(stream, member)
            if place == last:
                return

    def _stream(self) -> ForwardFile:
        self._file.seek(0)
        return ForwardFile(self._unpacker(self._file), self._bounds, header=_HEADER, headers=_HEADERS)


def _members(stream: ForwardFile) -> Iterator[tarfile.TarInfo]:
    """The entries of the stream, none of which is remembered."""
    with damage(tarfile.TarError, zlib.error, struct.error):
        tar = tarfile.TarFile(fileobj=cast("IO[bytes]", stream), encoding="utf-8")
    while True:
        with damage(tarfile.TarError, zlib.error, struct.error):
            stream.next_header()
            member = tar.next()
        if member is None:
            return
        tar.members = []  # type: ignore[attr-defined] # the stubs do not know it
        yield member


def _pieces(stream: ForwardFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    stream.in_header = False
    left = member.size
    with damage(zlib.error):
        stream.seek(member.offset_data)
    while left:
        with damage(zlib.error):
            piece = stream.read(min(PIECE, left))
            if not piece:
                raise EOFError("the stream is shorter than it says")
        left -= len(piece)
        yield piece


def _refusal(member: tarfile.TarInfo) -> Refusal | None:
    if member.issym() or member.islnk():
        return LINK
    if member.issparse():
        return SPARSE
    return None if member.isreg() or member.isdir() else SPECIAL
