"""Office files are zip archives: what they hold is checked before anything is unpacked, and nothing is written to disk.

Archives inside of them are not opened, so their depth is one.
"""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ingest.archives.bounds import ENCRYPTED, expands_too_far
from ingest.parsing.errors import Encrypted, TooLargeWhenUnpacked, Unreadable

MAX_UNPACKED: Final = 512 * 1024 * 1024
MAX_PARTS: Final = 20_000
_OLE: Final = b"\xd0\xcf\x11\xe0"
_XML: Final = (".xml", ".rels", ".opf", ".ncx", ".xhtml", ".html", ".htm", ".svg")
_ENTITY: Final = b"<!ENTITY"
_PIECE: Final = 1024 * 1024


def check_archive(path: Path) -> None:
    """Refuse archives that are damaged, locked, too large when unpacked (zip bombs), or whose XML has entities."""
    with path.open("rb") as file:
        if file.read(4) == _OLE:
            raise Encrypted(
                "This file is protected by a password or has an old Office format. "
                "Save it without a password in the current format and upload it again."
            )
    try:
        with zipfile.ZipFile(path) as archive:
            _check_sizes(archive.infolist())
            if any(
                part.filename.lower().endswith(_XML) and _has_entities(archive, part)
                for part in archive.infolist()
            ):
                raise Unreadable(
                    "This file defines XML entities, which no program that writes such files does; it was not read. "
                    "Save it again and upload the new file."
                )
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError) as error:
        raise Unreadable(
            "This file is damaged and cannot be opened. Save it again and upload the new file."
        ) from error


def _check_sizes(parts: Sequence[zipfile.ZipInfo]) -> None:
    if any(part.flag_bits & ENCRYPTED for part in parts):
        raise Encrypted("This file is protected by a password. Remove the password and upload it again.")
    large = sum(part.file_size for part in parts) > MAX_UNPACKED or len(parts) > MAX_PARTS
    if large or any(expands_too_far(part.file_size, part.compress_size) for part in parts):
        raise TooLargeWhenUnpacked(
            f"This file unpacks to more than {MAX_UNPACKED // 2**20} MB and was not read. Split the document."
        )


def _has_entities(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> bool:
    """Whether a part declares entities, in any encoding of Unicode; reads no more of it than its header promises."""
    before = b""
    with archive.open(part) as file:
        while piece := file.read(_PIECE):
            plain = piece.replace(b"\x00", b"")
            if _ENTITY in before + plain:
                return True
            before = plain[-len(_ENTITY) :]
    return False
