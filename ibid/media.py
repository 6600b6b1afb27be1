"""Which files Ibid takes: media types by extension, and what the first bytes must look like.

The API refuses at the door with this table; it never loads a parser.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from ibid.errors import Invalid

HEAD: Final = 1024
"""So many first bytes of a file are looked at."""
_ZIP: Final = (b"PK\x03\x04",)
_OLE: Final = (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",)
_DOCX: Final = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_PPTX: Final = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
_XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class UnsupportedType(Invalid):
    """Ibid has no parser for this kind of file."""

    code = "unsupported_type"


@dataclass(frozen=True, slots=True)
class MediaType:
    """A kind of file. Its bytes begin with one of `magic`, wherever in the first KiB if `loose`; any if empty."""

    name: str
    label: str
    magic: tuple[bytes, ...] = ()
    loose: bool = False

    def matches(self, head: bytes) -> bool:
        """Whether the first bytes (1 KiB is enough) can be of this kind."""
        if not self.magic:
            return True
        return any(mark in head[:HEAD] if self.loose else head.startswith(mark) for mark in self.magic)


TEXT: Final = MediaType("text/plain", "text")
_KINDS: Final[dict[str, MediaType]] = {
    "pdf": MediaType("application/pdf", "PDF", (b"%PDF-",), loose=True),
    "docx": MediaType(_DOCX, "Word", _ZIP),
    "pptx": MediaType(_PPTX, "PowerPoint", _ZIP),
    "xlsx": MediaType(_XLSX, "Excel", _ZIP),
    "odt": MediaType("application/vnd.oasis.opendocument.text", "OpenDocument", _ZIP),
    "epub": MediaType("application/epub+zip", "EPUB", _ZIP),
    "rtf": MediaType("application/rtf", "RTF", (b"{\\rtf",), loose=True),
    "msg": MediaType("application/vnd.ms-outlook", "Outlook message", _OLE),
    "eml": MediaType("message/rfc822", "e-mail"),
    "html": MediaType("text/html", "HTML"),
    "md": MediaType("text/markdown", "Markdown"),
    "csv": MediaType("text/csv", "CSV"),
    "tsv": MediaType("text/tab-separated-values", "TSV"),
    "rst": MediaType("text/x-rst", "reStructuredText"),
    "org": MediaType("text/org", "Org"),
    "txt": TEXT,
    "json": MediaType("application/json", "JSON"),
    "ndjson": MediaType("application/x-ndjson", "JSON lines"),
    "xml": MediaType("application/xml", "XML"),
    "png": MediaType("image/png", "PNG", (b"\x89PNG\r\n\x1a\n",)),
    "jpg": MediaType("image/jpeg", "JPEG", (b"\xff\xd8\xff",)),
    "tiff": MediaType("image/tiff", "TIFF", (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")),
    "webp": MediaType("image/webp", "WebP", (b"RIFF",)),
    "bmp": MediaType("image/bmp", "BMP", (b"BM",)),
    "gif": MediaType("image/gif", "GIF", (b"GIF87a", b"GIF89a")),
}
PICTURES: Final = frozenset(kind.name for kind in _KINDS.values() if kind.name.startswith("image/"))
"""Their words are recognised."""
_ALIASES: Final = {
    "htm": "html",
    "jpeg": "jpg",
    "xhtml": "html",
    "markdown": "md",
    "jsonl": "ndjson",
    "text": "txt",
    "tif": "tiff",
    "log": "txt",
}
# Source code, settings and the like are read as they stand.
_PLAIN: Final = """
    adoc bat c cc cfg conf cpp cs css go h hpp ini ipynb java js jsx kt lua php pl properties ps1 py r rb rs scala sh
    sql srt swift tex toml ts tsx vb vtt yaml yml
"""

BY_EXTENSION: Final[dict[str, MediaType]] = (
    _KINDS | {alias: _KINDS[kind] for alias, kind in _ALIASES.items()} | dict.fromkeys(_PLAIN.split(), TEXT)
)
"""Extension without its dot, in small letters, to the kind of file."""

_LATER: Final = {
    "doc": "Save it as .docx and upload that.",
    "ppt": "Save it as .pptx and upload that.",
    "xls": "Save it as .xlsx and upload that.",
    "zip": "Send it with `unpack` (on the command line `--unpack`), and its files become documents.",
}
_LATER_ALIASES: Final = dict.fromkeys(("tar", "tgz", "gz", "bz2", "tbz2", "xz", "txz"), "zip")


ARCHIVES: Final[dict[str, MediaType]] = {
    ".zip": MediaType("application/zip", "ZIP", (*_ZIP, b"PK\x05\x06")),
    ".tar": MediaType("application/x-tar", "tar"),
    **dict.fromkeys((".tar.gz", ".tgz"), MediaType("application/gzip", "gzip", (b"\x1f\x8b",))),
    **dict.fromkeys((".tar.bz2", ".tbz2"), MediaType("application/x-bzip2", "bzip2", (b"BZh",))),
    **dict.fromkeys((".tar.xz", ".txz"), MediaType("application/x-xz", "xz", (b"\xfd7zXZ\x00",))),
}
"""How the names of archives end whose files can be made documents."""


def archive(filename: str) -> MediaType | None:
    """The kind of archive that a name promises; None if it is none that can be unpacked."""
    return next((kind for ending, kind in ARCHIVES.items() if filename.lower().endswith(ending)), None)


def check_archive(filename: str, head: bytes) -> MediaType:
    """The kind of archive, checked against its first bytes; raises `UnsupportedType` if the two do not fit."""
    kind = archive(filename)
    if kind is None:
        raise UnsupportedType(
            f"This is no archive that can be unpacked. Supported are {', '.join(ARCHIVES)}.", param="files"
        )
    if not kind.matches(head):
        raise UnsupportedType(
            f"This file is named as {_article(kind.label)} archive but is none. Check what it is.",
            param="files",
        )
    return kind


def extension(filename: str) -> str:
    """The last extension of a file name, without its dot, in small letters; empty if there is none."""
    return PurePosixPath(filename).suffix.removeprefix(".").lower()


def media_type(filename: str) -> MediaType:
    """The kind of file that a name promises; raises `UnsupportedType`."""
    ending = extension(filename)
    kind = BY_EXTENSION.get(ending)
    if kind is None:
        raise UnsupportedType(_refusal(ending), param="files")
    return kind


def check_upload(filename: str, head: bytes) -> MediaType:
    """The kind of file, checked against its first `HEAD` bytes; raises `UnsupportedType` if the two do not fit."""
    kind = media_type(filename)
    if not kind.matches(head):
        message = f"This file ends in .{extension(filename)} but is not {_article(kind.label)} file. Check what it is."
        raise UnsupportedType(message, param="files")
    if kind.name.startswith("text/") and _binary(head):
        message = f"This file ends in .{extension(filename)} but does not hold text. Check what it is."
        raise UnsupportedType(message, param="files")
    return kind


def _binary(head: bytes) -> bool:
    """Whether bytes cannot be text in any encoding that is read: U+0000 outside UTF-16 and UTF-32."""
    utf16 = head.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff"))
    evenly = len(head) > 1 and (head[1::2].count(0) > len(head) // 3 or head[0::2].count(0) > len(head) // 3)
    return b"\x00" in head and not utf16 and not evenly


def _refusal(ending: str) -> str:
    advice = _LATER.get(_LATER_ALIASES.get(ending, ending))
    what = (
        f"Files that end in .{ending} are not supported." if ending else "This file's name has no extension."
    )
    return f"{what} {advice or 'Supported are ' + ', '.join('.' + name for name in _KINDS) + ' and source code.'}"


def _article(label: str) -> str:
    return f"{'an' if label[0] in 'AEIOUaeiou' else 'a'} {label}"
