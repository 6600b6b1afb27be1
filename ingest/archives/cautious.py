"""Files as archives are read from: every read is bounded, since what a header promises is the sender's to choose."""

import lzma
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final, Protocol

from ingest.archives.bounds import Bounds
from ingest.parsing.errors import Unreadable

PIECE: Final = 1024 * 1024
XZ_MEMORY: Final = 256 * 1024 * 1024
"""What unpacking xz may need; `xz -9` needs 65 MiB."""
_TROUBLES: Final[tuple[type[Exception], ...]] = (
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
    OverflowError,
)


@contextmanager
def damage(*more: type[Exception]) -> Iterator[None]:
    """What the libraries raise on an archive that is broken, on purpose or not, as `Unreadable`."""
    try:
        yield
    except (*_TROUBLES, *more) as error:
        raise Unreadable(
            "This archive is damaged and cannot be unpacked. Pack it again and send the new one."
        ) from error


class _Seekable:
    """What is the same of every file that is read in a way of its own."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, place: int, whence: int = 0) -> int:
        """As for any file."""
        return self._file.seek(place, whence)

    def tell(self) -> int:
        """As for any file."""
        return self._file.tell()


class WatchedFile(_Seekable):
    """A file that calls `look` before each read, by which whoever reads it for minutes is stopped in between."""

    def __init__(self, file: BinaryIO, look: Callable[[], object]) -> None:
        super().__init__(file)
        self._look = look

    def read(self, size: int = -1) -> bytes:
        """As for any file, or what `look` raises."""
        self._look()
        return self._file.read(size)


class BoundedFile(_Seekable):
    """A seekable file that gives at most `most` bytes at once: a directory that is too long is not read at all."""

    def __init__(self, file: BinaryIO, *, most: int) -> None:
        super().__init__(file)
        self._most = most
        self._size = file.seek(0, 2)
        file.seek(0)

    def read(self, size: int = -1) -> bytes:
        """The next bytes, or `ValueError` if that would be too many."""
        left = max(0, self._size - self._file.tell())
        wanted = left if size < 0 else min(size, left)
        if wanted > self._most:
            raise ValueError(f"a read of {wanted} bytes")
        return self._file.read(wanted)


class XzFile:
    """The bytes of an xz file, unpacked in bounded memory; the standard library's own reader takes no limit."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)
        self._waiting = b""

    def read(self, size: int) -> bytes:
        """The next bytes, at most so many; empty at the end. Raises `LZMAError` or `EOFError`."""
        while True:
            if self._unpacker.eof:
                self._waiting = (self._unpacker.unused_data or self._file.read(PIECE)).lstrip(b"\x00")
                if not self._waiting:
                    return b""
                self._unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)
            if not self._waiting and self._unpacker.needs_input:
                self._waiting = self._file.read(PIECE)
                if not self._waiting:
                    raise EOFError("the end of the stream is missing")
            made = self._unpacker.decompress(self._waiting, size)
            self._waiting = b""
            if made:
                return made


class Source(Protocol):
    """What is read from front to back: a file, or what unpacks one."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most so many; empty at the end."""
        ...


class ForwardFile:
    """A stream that tarfile takes for a file. It only goes forward, and what it gives is counted against the bounds.

    `header` bytes may be read between two calls of `next_header`; what is longer would be held in memory whole.
    """

    def __init__(self, source: Source, bounds: Bounds, *, header: int, headers: int) -> None:
        self._source, self._bounds = source, bounds
        self._place = 0
        self._header, self._left = header, header
        self._headers = headers
        self.in_header = True
        self.last_block = b""

    def next_header(self) -> None:
        """What is read from now on belongs to a header."""
        self.in_header, self._left = True, self._header

    def tell(self) -> int:
        """How many bytes were given or passed over."""
        return self._place

    def seek(self, place: int, _whence: int = 0) -> int:
        """Pass over bytes; raises `ValueError` for a step back, and `EOFError` where the stream is shorter."""
        if place < self._place:
            raise ValueError("a step back")
        while self._place < place:
            if not self._next(min(PIECE, place - self._place)):
                raise EOFError("the stream is shorter than it says")
        return self._place

    def read(self, size: int) -> bytes:
        """So many bytes, fewer only at the end."""
        if self.in_header:
            self._left -= size
            self._headers -= size
            if self._left < 0 or self._headers < 0:
                raise ValueError("a header that is too long")
        made = bytearray()
        while len(made) < size and (piece := self._next(min(PIECE, size - len(made)))):
            made += piece
        self.last_block = bytes(made[-512:])
        return bytes(made)

    def drain(self) -> None:
        """Read to the end, where what was unpacked is compared with its checksum."""
        while self._next(PIECE):
            continue

    def _next(self, size: int) -> bytes:
        piece = self._source.read(size)
        self._place += len(piece)
        self._bounds.check(self._place)
        return piece
