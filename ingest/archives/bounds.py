"""What an archive may cost before it is refused. Office files are zip archives, and are held to the same ratio."""

from dataclasses import dataclass
from typing import Final

from ibid.errors import Invalid
from ingest.parsing.errors import TooLargeWhenUnpacked

MAX_RATIO: Final = 200
"""What unpacks to so many times its packed size is refused, unless it is small."""
SMALL: Final = 64 * 1024 * 1024
ENCRYPTED: Final = 0x1
"""The flag of an entry of a zip archive that needs a password."""


class TooManyFiles(Invalid):
    """The archive lists more entries than are looked at."""

    code = "too_many_files"


def expands_too_far(size: int, packed: int) -> bool:
    """Whether so many bytes out of so few are a bomb and not a document."""
    return size > max(SMALL, MAX_RATIO * packed)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Sizes in bytes: of the archive itself, of all that it may unpack to, and of one file. `files` counts entries."""

    packed: int
    unpacked: int
    file: int
    files: int

    def check(self, unpacked: int) -> None:
        """Raise `TooLargeWhenUnpacked` if the archive gives more bytes than it may."""
        if unpacked > self.unpacked or expands_too_far(unpacked, self.packed):
            raise TooLargeWhenUnpacked(
                f"This archive unpacks to more than {self.unpacked:,} bytes or {MAX_RATIO} times its own size, "
                "so nothing of it was taken. Send its files in smaller archives."
            )

    def check_count(self, entries: int) -> None:
        """Raise `TooManyFiles` if the archive has more entries than it may."""
        if entries > self.files:
            raise TooManyFiles(
                f"This archive has more than {self.files:,} entries, so nothing of it was taken. "
                "Send its files in smaller archives."
            )
