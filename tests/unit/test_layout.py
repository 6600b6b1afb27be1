import json
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibid.layout import UNITS, LayoutDamaged, boxes_of, decode_layout, encode_layout, page_of
from ibid.types import Box, Element, ElementKind, ParseReport, TextBox

SHARES = st.integers(0, UNITS).map(lambda units: units / UNITS)


@st.composite
def spans(draw: st.DrawFn) -> list[tuple[int, int]]:
    offsets = sorted(draw(st.lists(st.integers(0, 10**6), max_size=40)))
    return list(zip(offsets[0::2], offsets[1::2], strict=False))


@st.composite
def layouts(draw: st.DrawFn) -> tuple[tuple[Element, ...], tuple[TextBox, ...], ParseReport]:
    paths = st.lists(st.text(max_size=5), max_size=3).map(tuple)
    pages = st.none() | st.integers(1, 2000)
    elements = tuple(
        Element(draw(st.sampled_from(ElementKind)), start, end, draw(pages), draw(paths))
        for start, end in draw(spans())
    )
    boxes = tuple(
        TextBox(start, end, Box(draw(st.integers(1, 99)), *(draw(SHARES) for _ in range(4))))
        for start, end in draw(spans())
    )
    report = ParseReport(
        "p",
        pages=4,
        pages_with_text=2,
        pages_empty=(3,),
        pages_unreadable=(2,),
        pages_ocr=(4,),
        elements=len(elements),
        images_skipped=1,
        languages=("en", "de"),
        warnings=("a warning",),
    )
    return elements, boxes, report


WORDS = (
    TextBox(0, 3, Box(1, 0.1, 0.1, 0.2, 0.12)),
    TextBox(4, 7, Box(1, 0.21, 0.1, 0.3, 0.12)),
    TextBox(8, 12, Box(1, 0.1, 0.13, 0.2, 0.15)),
    TextBox(13, 15, Box(2, 0.1, 0.1, 0.2, 0.12)),
    TextBox(16, 19, Box(2, 0.6, 0.1, 0.7, 0.12)),
)
ELEMENTS = (Element(ElementKind.PARAGRAPH, 0, 12, 1), Element(ElementKind.PARAGRAPH, 13, 19, 2))
LAYOUT = decode_layout(encode_layout(ELEMENTS, WORDS, ParseReport("p")))


class TestEncodeLayout:
    @settings(deadline=None)
    @given(layouts())
    def test_decodes_to_the_same(self, layout: tuple[tuple[Element, ...], tuple[TextBox, ...], ParseReport]):
        data = encode_layout(*layout)
        decoded = decode_layout(data)
        assert (decoded.elements, decoded.boxes, decoded.report) == layout
        assert encode_layout(*layout) == data

    def test_takes_few_bytes_a_word(self):
        words = [
            TextBox(6 * i, 6 * i + 5, Box(1 + i // 500, 0.1, 0.1 + i % 50 / 100, 0.2, 0.11))
            for i in range(10_000)
        ]
        assert len(encode_layout((), words, ParseReport("p"))) < 10 * len(words)


class TestDecodeLayout:
    @pytest.mark.parametrize(
        "data", [b"", b"not zlib", zlib.compress(b"{}"), zlib.compress(b"[1]"), zlib.compress(b"\xff")]
    )
    def test_anything_else_is_refused(self, data: bytes):
        with pytest.raises(LayoutDamaged):
            decode_layout(data)

    @pytest.mark.parametrize(
        "change",
        [
            {"v": 2},
            {"starts": [5, -3, 1, 1, 1]},
            {"lengths": [1]},
            {"pages": [1]},
            {"edges": [1]},
            {"edges": ["a"] * 20},
            {"elements": [["paragraph", 5, 1, None, 0]]},
            {"elements": [["poem", 0, 1, None, 0]]},
            {"report": {}},
            {"elements": [["paragraph", 0, 1.5, None, 0]]},
            {"paths": [[1]]},
            {"starts": None},
        ],
    )
    def test_what_does_not_fit_together_is_refused(self, change: dict[str, object]):
        document = json.loads(zlib.decompress(encode_layout(ELEMENTS, WORDS, ParseReport("p")))) | change
        with pytest.raises(LayoutDamaged):
            decode_layout(zlib.compress(json.dumps(document).encode()))

    def test_cut_short(self):
        with pytest.raises(LayoutDamaged):
            decode_layout(encode_layout(ELEMENTS, WORDS, ParseReport("p"))[:-9])


class TestBoxesOf:
    def test_words_of_a_line_make_one_box(self):
        assert boxes_of(LAYOUT, 0, 7) == (Box(1, 0.1, 0.1, 0.3, 0.12),)

    def test_each_line_and_page_has_its_own(self):
        boxes = boxes_of(LAYOUT, 0, 15)
        assert [(box.page, box.y0) for box in boxes] == [(1, 0.1), (1, 0.13), (2, 0.1)]

    def test_words_far_apart_are_not_joined(self):
        assert len(boxes_of(LAYOUT, 13, 19)) == 2

    def test_a_word_that_is_touched_counts(self):
        assert boxes_of(LAYOUT, 6, 9) == (Box(1, 0.21, 0.1, 0.3, 0.12), Box(1, 0.1, 0.13, 0.2, 0.15))

    def test_between_words_there_is_none(self):
        assert boxes_of(LAYOUT, 3, 4) == ()


class TestPageOf:
    def test_is_that_of_the_element(self):
        assert [page_of(LAYOUT, at) for at in (0, 11, 12, 13, 99)] == [1, 1, 1, 2, 2]

    def test_without_elements(self):
        assert page_of(decode_layout(encode_layout((), (), ParseReport("p"))), 0) is None
