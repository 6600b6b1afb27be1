"""Bytes of a text file to characters: by byte-order mark, as UTF-8, else by the best guess and a warning."""

import codecs
import re
from typing import Final

from charset_normalizer import from_bytes

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE: Final = 64 * 1024
_MULTIBYTE: Final = re.compile(b"[\xc2-\xf4][\x80-\xbf]+")


def decode(data: bytes, declared: str | None = None) -> tuple[str, tuple[str, ...]]:
    """The text and warnings in words. `declared` is an encoding that the file itself names."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _tolerant(data, encoding)
    wide = _wide(data)
    if wide is not None:
        return _tolerant(data, wide)
    for encoding in filter(None, (_known(declared), "utf-8")):
        try:
            return data.decode(encoding), ()
        except UnicodeDecodeError:
            continue
    if _mostly_utf8(data):
        return _tolerant(data, "utf-8")
    guess = _guess(data)
    text = data.decode(guess, "replace")
    return text, (f"The text is not UTF-8; it was read as {guess}.",)


def _tolerant(data: bytes, encoding: str) -> tuple[str, tuple[str, ...]]:
    try:
        return data.decode(encoding), ()
    except UnicodeDecodeError:
        name = encoding.removesuffix("-sig")
        return data.decode(encoding, "replace"), (f"Some bytes are not valid {name}; they read as \ufffd.",)


def _known(encoding: str | None) -> str | None:
    """The name if Python has such a text encoding; UTF-16 cannot be declared in ASCII and be true."""
    try:
        found = codecs.lookup(encoding or "").name
    except LookupError:
        return None
    # HTML's readers take Latin 1 for its superset, and so did the writers.
    names = {"iso8859-1": "cp1252", "ascii": "cp1252"}
    return None if found.startswith(("utf-16", "utf-32")) or found in _NO_TEXT else names.get(found, found)


_NO_TEXT: Final = frozenset(
    {"base64", "bz2", "hex", "quopri", "rot13", "uu", "zlib", "idna", "punycode", "undefined"}
)


def _wide(data: bytes) -> str | None:
    """UTF-16 without a mark: text of European languages has U+0000 in every other byte."""
    head = data[:_SAMPLE]
    if len(head) < 4 or len(data) % 2:
        return None
    even, odd = head[0::2].count(0), head[1::2].count(0)
    half = len(head) // 2
    if odd > half // 2 and even < half // 10:
        return "utf-16-le"
    if even > half // 2 and odd < half // 10:
        return "utf-16-be"
    return None


def _mostly_utf8(data: bytes) -> bool:
    """Whether most characters outside ASCII are good UTF-8, so that the rest is damage."""
    good = len(_MULTIBYTE.findall(data))
    return good > 0 and data.decode("utf-8", "replace").count("\ufffd") < good


def _guess(data: bytes) -> str:
    matches = from_bytes(data[:_SAMPLE])
    best = matches.best()
    windows = next((match for match in matches if "cp1252" in match.could_be_from_charset), None)
    # Short texts fit many encodings equally well; that of Windows is the likeliest by far.
    if best is None or (windows is not None and windows.coherence >= best.coherence):
        return "cp1252"
    return best.encoding
