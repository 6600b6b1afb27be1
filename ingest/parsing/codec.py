"""A parsed document as bytes, for the way out of the process that read it.

Not pickled: that process worked on a file that may be hostile, so its answer is checked like any input.
"""

import struct
from typing import Final

from ibid.layout import LayoutDamaged, decode_layout, encode_layout
from ibid.types import Parsed
from ingest.canonical import clean
from ingest.parsing.errors import ParserDied

_MAGIC: Final = b"IBP1"
_HEAD: Final = struct.Struct(">4sQ")


def dump(parsed: Parsed) -> bytes:
    """Magic, length of the text, the text in UTF-8, the layout."""
    text = parsed.text.encode()
    return _HEAD.pack(_MAGIC, len(text)) + text + encode_layout(parsed.elements, parsed.boxes, parsed.report)


def load(data: bytes) -> Parsed:
    """What `dump` was given, checked; raises `ParserDied` for anything else."""
    try:
        magic, length = _HEAD.unpack_from(data)
        text = data[_HEAD.size : _HEAD.size + length].decode()
        layout = decode_layout(data[_HEAD.size + length :])
    except (struct.error, UnicodeDecodeError, LayoutDamaged) as error:
        raise _refused() from error
    last = max(
        [element.end for element in layout.elements[-1:]] + [box.end for box in layout.boxes[-1:]], default=0
    )
    if magic != _MAGIC or clean(text) != text or last > len(text):
        raise _refused()
    return Parsed(text, layout.elements, layout.boxes, layout.report)


def _refused() -> ParserDied:
    return ParserDied("Reading this document went wrong: the parser's answer makes no sense. Try it again.")
