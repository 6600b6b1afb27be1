import struct

import pytest

from ibid.layout import encode_layout
from ibid.types import Box, Element, ElementKind, Parsed, ParseReport, TextBox
from ingest.parsing.codec import dump, load
from ingest.parsing.errors import ParserDied

PARSED = Parsed(
    "Größe 👩\u200d💻",
    (Element(ElementKind.PARAGRAPH, 0, 9, 1, ("H",)),),
    (TextBox(0, 5, Box(1, 0.1, 0.2, 0.3, 0.4)),),
    ParseReport("p"),
)


def packed(text: bytes, length: int, layout: bytes, magic: bytes = b"IBP1") -> bytes:
    return struct.pack(">4sQ", magic, length) + text + layout


def layout(end: int = 1) -> bytes:
    return encode_layout((Element(ElementKind.PARAGRAPH, 0, end),), (), ParseReport("p"))


class TestLoad:
    def test_is_what_was_dumped(self):
        assert load(dump(PARSED)) == PARSED

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"IBP1",
            dump(PARSED)[:-3],
            packed(b"a", 1, layout(), b"XXXX"),
            packed(b"a", 9, layout()),
            packed(b"\xff", 1, layout()),
            packed(b"a\x00", 2, layout()),
            packed(b"a", 1, layout(2)),
            packed(b"a", 1, b"not a layout"),
            packed(b"a\r\n", 3, layout()),
        ],
    )
    def test_anything_else_is_refused(self, data: bytes):
        with pytest.raises(ParserDied):
            load(data)
