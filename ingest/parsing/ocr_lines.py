"""Recognised lines in reading order, as the lines that `ingest.parsing.lines` makes paragraphs and headings of."""

from collections.abc import Sequence
from itertools import accumulate
from statistics import median
from typing import Final

from ibid.layout import UNITS
from ingest.parsing.assembly import WIDE
from ingest.parsing.lines import Line, Page
from ingest.parsing.recognised import RecognisedLine, RecognisedPage

_USUAL_SIZE: Final = 11.0
_LETTERS: Final = 0.8
"""The size of letters in the height of their line's box."""
_FEWEST: Final = 4
"""A column of text has at least so many lines, which mostly fill this share of it."""
_FILLED: Final = 0.6
_MOST_ACROSS: Final = 0.3
"""At most so many of the lines lie across columns."""
_MOST_COLUMNS: Final = 4
_STEP: Final = UNITS // 100
"""Gutters are looked for so closely."""
_SAME_ROW: Final = 0.5


def set_lines(page: Page, found: RecognisedPage, body: float | None) -> None:
    """Give a page what was recognised in it. `body` is the usual size of letters in the rest of the document, if any.

    Boxes are measured too roughly to tell letters of about the same size apart: these count as of one size.
    """
    width, height = (page.height, page.width) if found.turned % 2 else (page.width, page.height)
    tall = max(1.0, median(line.y1 - line.y0 for line in found.lines)) if found.lines else 1.0
    usual = body or max(1.0, round(tall * height / UNITS * _LETTERS, 1))
    page.lines[:] = [_line(line, found.turned, width, height, usual, tall) for line in _ordered(found.lines)]


def body_size(pages: Sequence[Page]) -> float | None:
    """The usual size of letters; None where there are none."""
    sizes = [line.size for page in pages for line in page.lines]
    return median(sizes) if sizes else None


def _line(found: RecognisedLine, turned: int, width: float, height: float, usual: float, tall: float) -> Line:
    words = found.text.split()
    # Where each word begins and ends, in shares of the line: as if all letters were equally wide.
    letters = len(found.text)
    begins = list(accumulate((len(word) + 1 for word in words), initial=0))
    across = found.x1 - found.x0
    boxes: list[int] = []
    for word, begin in zip(words, begins, strict=False):
        left = found.x0 + round(across * begin / letters)
        right = found.x0 + round(across * (begin + len(word)) / letters)
        boxes += displayed((left, found.y0, right, found.y1), turned)
    return Line(
        words=words,
        boxes=boxes,
        size=_size((found.y1 - found.y0) / tall) * usual,
        bold=False,
        hyphenated=found.text.endswith(("-", "\u2010")) and len(words[-1]) > 1 and words[-1][-2].isalpha(),
        head=across * width / UNITS * (1 if WIDE.match(words[0]) else len(words[0])) / letters,
        x0=found.x0 * width / UNITS,
        y0=found.y0 * height / UNITS,
        x1=found.x1 * width / UNITS,
        y1=found.y1 * height / UNITS,
    )


def displayed(edges: tuple[int, int, int, int], turned: int) -> tuple[int, int, int, int]:
    """A box of the upright page where it stands on the page as displayed."""
    left, top, right, bottom = edges
    for _ in range(turned):
        left, top, right, bottom = UNITS - bottom, left, UNITS - top, right
    return left, top, right, bottom


def _size(ratio: float) -> float:
    return 1.0 if 0.7 <= ratio <= 1.4 else max(0.25, round(ratio * 4) / 4)


def _ordered(lines: Sequence[RecognisedLine]) -> list[RecognisedLine]:
    """Down the columns where text is set in columns, else row by row."""
    middle = _gutter(lines)
    if middle is None:
        return _by_rows(lines)
    ordered: list[RecognisedLine] = []
    held: list[RecognisedLine] = []
    for line in sorted(lines, key=lambda line: line.y0 + line.y1):
        if line.x0 < middle < line.x1:
            ordered += [*_columns(held, middle), line]
            held = []
        else:
            held.append(line)
    return ordered + _columns(held, middle)


def _columns(lines: Sequence[RecognisedLine], middle: int) -> list[RecognisedLine]:
    left = [line for line in lines if line.x1 <= middle]
    return _ordered(left) + _ordered([line for line in lines if line.x1 > middle])


def _gutter(lines: Sequence[RecognisedLine], columns: int = _MOST_COLUMNS) -> int | None:
    """Where the space between columns of text is: cells of a table are no columns, since they are not filled."""
    best: tuple[int, int] | None = None
    for edge in sorted({line.x1 // _STEP for line in lines}):
        middle = (edge + 1) * _STEP
        left = [line for line in lines if line.x1 < middle]
        right = [line for line in lines if line.x0 >= middle]
        across = len(lines) - len(left) - len(right)
        if min(len(left), len(right)) < _FEWEST or across > _MOST_ACROSS * len(lines):
            continue
        if (best is None or across < best[0]) and _is_text(left, columns) and _is_text(right, columns):
            best = (across, (middle + min(line.x0 for line in right)) // 2)
    return best[1] if best else None


def _is_text(lines: Sequence[RecognisedLine], columns: int) -> bool:
    """Whether lines are those of columns: most of them run from one side of theirs to the other."""
    width = max(line.x1 for line in lines) - min(line.x0 for line in lines)
    filled = median(line.x1 - line.x0 for line in lines) >= _FILLED * width
    return filled or (columns > 2 and _gutter(lines, columns - 1) is not None)


def _by_rows(lines: Sequence[RecognisedLine]) -> list[RecognisedLine]:
    """From top to bottom, those of one row from left to right."""
    rows: list[list[RecognisedLine]] = []
    for line in sorted(lines, key=lambda line: (line.y0 + line.y1, line.x0)):
        first = rows[-1][0] if rows else line
        overlap = min(first.y1, line.y1) - max(first.y0, line.y0)
        if rows and overlap > _SAME_ROW * min(first.y1 - first.y0, line.y1 - line.y0):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda line: line.x0)]
