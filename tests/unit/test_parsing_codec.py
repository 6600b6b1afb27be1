from struct import pack

import pytest

from ibid.layout import encode_layout
from ibid.types import Attachment, Box, Element, ElementKind, Parsed, ParseReport, TextBox
from ingest.parsing.codec import dump, load
from ingest.parsing.errors import ParserDied

PARSED = Parsed(
    "Größe 👩\u200d💻",
    (Element(ElementKind.PARAGRAPH, 0, 9, 1, ("H",)),),
    (TextBox(0, 5, Box(1, 0.1, 0.2, 0.3, 0.4)),),
    ParseReport("p"),
    (Attachment("Größe.txt", b"\x00a"), Attachment("empty", b"")),
)


def packed(*blocks: bytes, magic: bytes = b"IBP2") -> bytes:
    return magic + b"".join(pack(">Q", len(block)) + block for block in blocks)


def layout(end: int = 1) -> bytes:
    return encode_layout((Element(ElementKind.PARAGRAPH, 0, end),), (), ParseReport("p"))


class TestLoad:
    def test_is_what_was_dumped(self):
        assert load(dump(PARSED)) == PARSED

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"IBP2",
            dump(PARSED)[:-3],
            dump(PARSED)[:-9],
            packed(b"a", layout(), magic=b"XXXX"),
            packed(b"a", layout()) + pack(">Q", 9) + b"short",
            packed(b"a"),
            packed(b"\xff", layout()),
            packed(b"a\x00", layout()),
            packed(b"a", layout(2)),
            packed(b"a", b"not a layout"),
            packed(b"a\r\n", layout()),
            packed(b"a", layout(), b"a name without its bytes"),
            packed(b"a", layout(), b"\xff", b"bytes"),
        ],
    )
    def test_anything_else_is_refused(self, data: bytes):
        with pytest.raises(ParserDied):
            load(data)
