"""Recognised lines: in which order they are read, where their words stand, and what comes out of a hostile child."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibid.layout import UNITS
from ibid.types import ElementKind
from ingest.parsing import recognised
from ingest.parsing.errors import ParserDied
from ingest.parsing.lines import Page, blocks
from ingest.parsing.ocr_lines import displayed, set_lines
from ingest.parsing.ocr_report import warnings_of
from ingest.parsing.recognised import RecognisedLine, RecognisedPage

EDGE = st.integers(0, UNITS)
BOX = st.tuples(EDGE, EDGE, EDGE, EDGE).map(
    lambda four: (min(four[0], four[2]), min(four[1], four[3]), max(four[0], four[2]), max(four[1], four[3]))
)


def line(text: str, x0: int, y0: int, x1: int, y1: int | None = None) -> RecognisedLine:
    return RecognisedLine(text, 0.98, x0, y0, x1, y0 + 150 if y1 is None else y1)


def column(name: str, x0: int, x1: int, rows: int = 8, y0: int = 1000) -> list[RecognisedLine]:
    return [line(f"{name} {row}", x0, y0 + 200 * row, x1) for row in range(rows)]


def order(lines: list[RecognisedLine]) -> list[str]:
    """As read, however the recogniser gave them."""
    random.Random(3).shuffle(lines)
    page = Page(1, 595.0, 842.0)
    set_lines(page, RecognisedPage(1, tuple(lines)), None)
    return [found.text for found in page.lines]


def names(*columns: list[RecognisedLine]) -> list[str]:
    return [each.text for one in columns for each in one]


class TestOrder:
    def test_of_one_column_is_downwards(self) -> None:
        assert order(column("a", 1000, 9000)) == names(column("a", 1000, 9000))

    @pytest.mark.parametrize("count", [2, 3, 4])
    def test_of_columns_is_one_after_the_other(self, count: int) -> None:
        width = 8000 // count
        made = [
            column(f"c{n}", 1000 + n * width, 1000 + (n + 1) * width - 300, y0=1000 + 30 * n)
            for n in range(count)
        ]
        assert order([each for one in made for each in one]) == names(*made)

    def test_of_columns_under_and_over_what_lies_across_them(self) -> None:
        title, middle = line("title", 2000, 500, 8000), line("across", 1000, 3000, 9000)
        above = column("a", 1000, 4800), column("b", 5200, 9000)
        below = column("c", 1000, 4800, y0=3400), column("d", 5200, 9000, y0=3400)
        expected = ["title", *names(*above), "across", *names(*below)]
        assert order([title, middle, *above[0], *above[1], *below[0], *below[1]]) == expected

    def test_of_a_table_is_row_by_row(self) -> None:
        cells = [
            line(f"r{row}c{at}", x, 1000 + 200 * row, x + (300 if row else 900))
            for row in range(6)
            for at, x in enumerate((1000, 4000, 7000))
        ]
        assert order(list(cells)) == [cell.text for cell in cells]

    @given(st.lists(BOX, max_size=60))
    def test_keeps_every_line_once(self, boxes: list[tuple[int, int, int, int]]) -> None:
        lines = [line(str(number), *box) for number, box in enumerate(boxes)]
        assert sorted(order(list(lines)), key=int) == [str(number) for number in range(len(lines))]


class TestBlocks:
    def test_cells_at_one_height_of_one_page_are_no_footer(self) -> None:
        """A footer is what several pages have in the same place."""
        cells = [line("3", x, 7800, x + 300) for x in (1000, 4000, 7000)]
        page = Page(1, 595.0, 842.0)
        set_lines(page, RecognisedPage(1, (*column("a", 1000, 9000), *cells)), None)
        page.lines[-3:] = sorted(page.lines[-3:], key=lambda cell: -cell.x0)  # so that they make no row
        (found,) = blocks([page])
        assert {block.kind for block in found} == {ElementKind.PARAGRAPH}


class TestPlaces:
    def test_of_words_divide_the_line(self) -> None:
        page = Page(1, 1000.0, 1000.0)
        set_lines(page, RecognisedPage(1, (line("ab cd", 1000, 500, 2000),)), None)
        assert page.lines[0].boxes == [1000, 500, 1400, 650, 1600, 500, 2000, 650]

    def test_on_a_turned_page_are_those_that_are_displayed(self) -> None:
        assert displayed((1000, 2000, 3000, 2500), 0) == (1000, 2000, 3000, 2500)
        assert displayed((1000, 2000, 3000, 2500), 1) == (7500, 1000, 8000, 3000)
        assert displayed((1000, 2000, 3000, 2500), 2) == (7000, 7500, 9000, 8000)

    @given(BOX)
    def test_four_turns_are_none(self, box: tuple[int, int, int, int]) -> None:
        assert displayed(box, 4) == box


class TestSizes:
    def test_of_about_the_same_height_are_one(self) -> None:
        lines = [line("body", 0, 1000 + 300 * row, 9000, 1150 + 300 * row + row * 9) for row in range(5)]
        page = Page(1, 595.0, 842.0)
        set_lines(page, RecognisedPage(1, (*lines, line("Title", 0, 100, 5000, 500))), 10.0)
        sizes = [found.size for found in page.lines]
        assert sizes[1:] == [10.0] * 5
        assert sizes[0] > 20.0


class TestForm:
    def test_survives_the_way(self) -> None:
        page = RecognisedPage(3, (line("Größe 5", 1, 2, 3, 4),), 2)
        assert recognised.load(recognised.dump(page)) == page

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"[]",
            b'{"number": 0}',
            b'{"number": 1, "turned": 4}',
            b'{"number": 1, "lines": [{"text": "a", "confidence": 2, "x0": 0, "y0": 0, "x1": 1, "y1": 1}]}',
            b'{"number": 1, "lines": [{"text": "a", "confidence": 1, "x0": 0, "y0": 0, "x1": 99999, "y1": 1}]}',
            b'{"number": 1, "lines": [{"text": " ", "confidence": 1, "x0": 0, "y0": 0, "x1": 1, "y1": 1}]}',
            b'{"number": 1, "lines": [{"text": "a\\u0000", "confidence": 1, "x0": 0, "y0": 0, "x1": 1, "y1": 1}]}',
        ],
    )
    def test_of_anything_else_is_refused(self, data: bytes) -> None:
        with pytest.raises(ParserDied):
            recognised.load(data)


def test_pages_that_were_hard_to_read_are_named() -> None:
    clear = RecognisedPage(1, (line("clear", 0, 0, 100),))
    hard = [RecognisedPage(n, (RecognisedLine("smudged", 0.7, 0, 0, 9, 9),)) for n in (2, 5)]
    (warning,) = warnings_of([clear, *hard])
    assert warning.startswith("Pages 2, 5 could be recognised only with 70% confidence")
