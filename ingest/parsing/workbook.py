"""Workbooks, cell by cell: unstructured's way, through pandas, drops empty cells, so that values leave their columns."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, time
from itertools import groupby
from pathlib import Path
from typing import Final

from openpyxl import load_workbook

Row = tuple[str, ...]
_MIDNIGHT: Final = time()
_HEAD_ROWS: Final = 2
"""A block of so many rows, with more than one cell in some row, heads the block under it."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet with its blocks: rows that no empty row parts, each of at least one cell that is not empty."""

    name: str
    hidden: bool
    blocks: tuple[tuple[Row, ...], ...]


def read_sheets(path: Path) -> Iterator[Sheet]:
    """The sheets in their order; formulas as the values that they had when the file was saved."""
    with closing(load_workbook(path, read_only=True, data_only=True, keep_links=False)) as book:
        for sheet in book.worksheets:
            # What the file says about its size is not always true.
            sheet.reset_dimensions()
            rows = (tuple(map(_shown, row)) for row in sheet.iter_rows())
            blocks = [list(block) for filled, block in groupby(rows, key=any) if filled]
            yield Sheet(
                sheet.title, sheet.sheet_state != "visible", tuple(map(_trimmed, _with_their_heads(blocks)))
            )


def _with_their_heads(blocks: list[list[Row]]) -> Iterator[list[Row]]:
    """The blocks; names of columns that an empty row parts from their table are put back on top of it."""
    head: list[Row] = []
    for block in blocks:
        wide = any(sum(map(bool, row)) > 1 for row in block)
        if head and not wide:
            yield head
            head = []
        held = head + block
        head = held if wide and len(held) <= _HEAD_ROWS else []
        if not head:
            yield held
    if head:
        yield head


def _trimmed(rows: list[Row]) -> tuple[Row, ...]:
    """The rows without columns to the left and right in which no row has anything."""
    first = min(next(at for at, cell in enumerate(row) if cell) for row in rows)
    last = max(max(at for at, cell in enumerate(row) if cell) for row in rows)
    return tuple(row[first : last + 1] + ("",) * (last + 1 - max(first, len(row))) for row in rows)


def titled(block: Iterable[Row]) -> tuple[list[str], list[Row]]:
    """The lines above a table that are no rows of it, having one cell, and its rows; a list has rows only."""
    rows = list(block)
    above = next((at for at, row in enumerate(rows) if sum(map(bool, row)) > 1), len(rows))
    if above == len(rows) > 1:
        above = 0
    return [next(filter(None, row)) for row in rows[:above]], rows[above:]


def _shown(cell: object) -> str:
    """A cell much as its reader sees it, on one line."""
    value = getattr(cell, "value", None)
    percent = isinstance(value, int | float) and "%" in (getattr(cell, "number_format", None) or "")
    match value:
        case None:
            text = ""
        case bool():
            text = str(value).upper()
        case int() | float() if percent:
            text = f"{value * 100:.10g}%"
        case float():
            text = f"{value:.15g}"
        case datetime() if value.time() == _MIDNIGHT:
            text = value.date().isoformat()
        case datetime():
            text = value.isoformat(" ", "seconds")
        case _:
            text = str(value)
    return " ".join(text.split())
