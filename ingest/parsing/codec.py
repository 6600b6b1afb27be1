"""A parsed document as bytes, for the way out of the process that read it.

Not pickled: that process worked on a file that may be hostile, so its answer is checked like any input.
"""

import struct
from typing import Final

from ibid.layout import LayoutDamaged, decode_layout, encode_layout
from ibid.types import Attachment, Parsed
from ingest.canonical import clean
from ingest.parsing.errors import ParserDied

_MAGIC: Final = b"IBP2"
_LENGTH: Final = struct.Struct(">Q")


def dump(parsed: Parsed) -> bytes:
    """Magic, then blocks with their lengths: the text, the layout, and name and bytes of each attachment."""
    layout = encode_layout(parsed.elements, parsed.boxes, parsed.report)
    attached = [part for item in parsed.attachments for part in (item.name.encode(), item.data)]
    blocks = (parsed.text.encode(), layout, *attached)
    return _MAGIC + b"".join(_LENGTH.pack(len(block)) + block for block in blocks)


def load(data: bytes) -> Parsed:
    """What `dump` was given, checked; raises `ParserDied` for anything else."""
    try:
        raw_text, raw_layout, *attached = _blocks(data)
        text = raw_text.decode()
        layout = decode_layout(raw_layout)
        names = [clean(name.decode()) for name in attached[0::2]]
        attachments = tuple(Attachment(*pair) for pair in zip(names, attached[1::2], strict=True))
    except (struct.error, ValueError, LayoutDamaged) as error:
        raise _refused() from error
    last = max([element.end for element in layout.elements[-1:]] + list(layout.boxes.ends[-1:]), default=0)
    if clean(text) != text or last > len(text):
        raise _refused()
    return Parsed(text, layout.elements, layout.boxes, layout.report, attachments)


def _blocks(data: bytes) -> list[bytes]:
    if data[: len(_MAGIC)] != _MAGIC:
        message = "not a parsed document"
        raise ValueError(message)
    blocks, at = [], len(_MAGIC)
    while at < len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        blocks.append(data[at : at + length])
        if len(blocks[-1]) != length:
            message = "a block is cut short"
            raise ValueError(message)
        at += length
    return blocks


def _refused() -> ParserDied:
    return ParserDied("Reading this document went wrong: the parser's answer makes no sense. Try it again.")
