"""The entries of an archive: which of them are files that can become documents, under which path, and why others not."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final, Protocol

from ibid import documents, media
from ibid.documents import BadName
from ibid.errors import IbidError
from ingest.archives.bounds import Bounds

LONGEST_PATH: Final = 512
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_NESTED: Final = frozenset({"zip", "tar", "gz", "tgz", "bz2", "tbz2", "xz", "txz", "7z", "rar", "zst"})
_OF_THE_SYSTEM: Final = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an entry becomes no document: a code for programs and a sentence for a person."""

    code: str
    message: str


LINK: Final = Refusal("link", "It is a link. Put the file itself into the archive.")
SPECIAL: Final = Refusal("not_a_file", "It is neither a file nor a folder.")
SPARSE: Final = Refusal(
    "not_a_file", "It is stored with holes in it. Put it into the archive as an ordinary file."
)
LOCKED: Final = Refusal("encrypted", "It is protected by a password. Pack it without one.")
PACKED_ODDLY: Final = Refusal(
    "unsupported_compression", "It is packed in a way that is not read. Pack it with deflate."
)
DAMAGED: Final = Refusal("unreadable", "It is damaged and cannot be unpacked. Pack it again.")
TOO_LONG: Final = Refusal(
    "bad_name", f"Its path makes an external id of more than {LONGEST_PATH} characters. Shorten it."
)
_UNSAFE: Final = Refusal(
    "unsafe_path", "Its path leads out of the archive. Pack it with paths inside a folder."
)
_LATER: Final = Refusal(
    "duplicate_path", "A later entry of the archive has the same path, and was taken instead."
)
_NOT_OPENED: Final = Refusal(
    "nested_archive", "Archives inside archives are not unpacked. Send it on its own."
)
_EMPTY: Final = Refusal("empty_file", "It is empty. Check that it was saved.")


@dataclass(frozen=True, slots=True)
class Found:
    """An entry as the archive lists it: its name as written there, and its size in bytes as it is said to be."""

    name: str
    size: int
    folder: bool = False
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry at its place (from 0). One that is neither refused nor `left_out` is to become a document."""

    place: int
    path: str
    name: str = ""
    refusal: Refusal | None = None
    left_out: bool = False

    @property
    def wanted(self) -> bool:
        """Whether it is to become a document."""
        return self.refusal is None and not self.left_out


class Archive(Protocol):
    """An open archive: listed once, then read once from front to back."""

    def entries(self) -> Iterator[Found]:
        """Every entry in its order; raises `Unreadable` for an archive that is damaged, here and not later."""
        ...

    def contents(self, wanted: frozenset[int]) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Place and bytes, in pieces, of the wanted entries in their order; each is read before the next is asked for.

        The pieces raise `Unreadable` for an entry that is damaged alone.
        """
        ...


def survey(archive: Archive, bounds: Bounds) -> list[Entry]:
    """All entries in their order. An archive that passes a bound is refused as a whole, before anything is taken."""
    total = 0
    listed: list[Entry] = []
    for place, found in enumerate(archive.entries()):
        bounds.check_count(place + 1)
        listed.append(_entry(place, found, bounds))
        total += found.size if listed[-1].wanted else 0
        bounds.check(total)
    last = {entry.path: entry.place for entry in listed if entry.wanted}
    return [
        replace(entry, refusal=_LATER) if entry.wanted and last[entry.path] != entry.place else entry
        for entry in listed
    ]


def _entry(place: int, found: Found, bounds: Bounds) -> Entry:
    shown = "".join(letter if letter.isprintable() else "�" for letter in found.name)[:LONGEST_PATH]
    parts = [part for part in found.name.replace("\\", "/").split("/") if part not in {"", "."}]
    folder = found.folder or (found.size == 0 and found.name.endswith(("/", "\\")))
    if folder or _of_the_system(parts):
        return Entry(place, shown, left_out=True)
    try:
        refusal = found.refusal or _unsafe(found.name, parts)
        path = unicodedata.normalize("NFC", "/".join(parts))
        refusal = refusal or _unfit(path, found.size, bounds)
    except IbidError as error:
        refusal = Refusal(error.code, error.message)
    if refusal is not None:
        return Entry(place, shown, refusal=refusal)
    return Entry(place, path, PurePosixPath(path).name)


def _of_the_system(parts: list[str]) -> bool:
    """Whether a program that packed left it there for itself: macOS, Windows."""
    return "__MACOSX" in parts or (
        bool(parts) and (parts[-1] in _OF_THE_SYSTEM or parts[-1].startswith("._"))
    )


def _unsafe(name: str, parts: list[str]) -> Refusal | None:
    absolute = name.startswith(("/", "\\")) or _DRIVE.match(name) is not None
    return _UNSAFE if absolute or ".." in parts else None


def _unfit(path: str, size: int, bounds: Bounds) -> Refusal | None:
    """Why a file of this path and size would be refused as an upload, too; or raises the error that says so."""
    if len(path) > LONGEST_PATH or not path.isprintable():
        raise BadName(
            f"Its path is no text of at most {LONGEST_PATH} printable characters. Name it otherwise."
        )
    name = documents.checked_name(PurePosixPath(path).name)
    if media.extension(name) in _NESTED:
        return _NOT_OPENED
    media.media_type(name)
    if size > bounds.file:
        return Refusal("too_large", f"It is larger than the {bounds.file:,} bytes a file may have. Split it.")
    return _EMPTY if size == 0 else None
