"""Which reader opens an archive."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from ibid import media
from ibid.media import UnsupportedType
from ingest.archives.bounds import Bounds
from ingest.archives.cautious import WatchedFile
from ingest.archives.entries import Archive
from ingest.archives.tars import UNPACKERS, TarArchive
from ingest.archives.zips import ZipArchive


@contextmanager
def opened(
    path: Path, filename: str, bounds: Bounds, look: Callable[[], object] = lambda: None
) -> Iterator[Archive]:
    """The archive at `path`, of the kind that its name promises; raises `UnsupportedType` or `Unreadable`.

    `look` is called before each read of it, and may raise to end the reading.
    """
    kind = media.archive(filename)
    if kind is None:
        raise UnsupportedType(
            f"Files of this name cannot be unpacked. Supported are {', '.join(media.ARCHIVES)}."
        )
    with path.open("rb") as opened_file:
        file = cast("BinaryIO", WatchedFile(opened_file, look))
        yield TarArchive(file, kind.name, bounds) if kind.name in UNPACKERS else ZipArchive(file, bounds)
