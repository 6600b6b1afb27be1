"""A table too large for one chunk, in each format that has tables: every chunk knows what its columns are."""

import io
from pathlib import Path

import docx
import openpyxl
import pptx
import pytest

from ibid.embedding.texts import encoder_text
from ibid.media import media_type
from ibid.types import ChunkerConfig
from ingest.chunking import chunk
from ingest.parsing.registry import parser_for

ROWS = [("Team", "City"), *((f"Team {at}", f"City {at}") for at in range(60))]


def saved(document) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def word_table() -> bytes:
    document = docx.Document()
    table = document.add_table(rows=0, cols=2)
    for row in ROWS:
        for cell, text in zip(table.add_row().cells, row, strict=True):
            cell.text = text
    return saved(document)


def slide_table() -> bytes:
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[6])
    table = slide.shapes.add_table(len(ROWS), 2, 0, 0, 10**6, 10**6).table
    for at, row in enumerate(ROWS):
        for column, text in enumerate(row):
            table.cell(at, column).text = text
    return saved(deck)


def sheet_table() -> bytes:
    book = openpyxl.Workbook()
    for row in ROWS:
        book.active.append(row)
    return saved(book)


BARS = "\n".join(f"| {team} | {city} |" for team, city in ROWS).replace("\n", "\n|---|---|\n", 1)
PAGE = "<table>" + "".join(f"<tr><td>{team}<td>{city}</tr>" for team, city in ROWS) + "</table>"
LARGE_TABLES = {
    "a.docx": word_table,
    "a.pptx": slide_table,
    "a.xlsx": sheet_table,
    "a.csv": lambda: "\n".join(map(",".join, ROWS)).encode(),
    "a.tsv": lambda: "\n".join(map("\t".join, ROWS)).encode(),
    "a.md": BARS.encode,
    "a.org": lambda: BARS.replace("|---|---|", "|---+---|").encode(),
    "a.html": PAGE.encode,
}


@pytest.mark.parametrize("name", LARGE_TABLES)
def test_every_chunk_has_the_names_of_the_columns(tmp_path: Path, name: str) -> None:
    path, kind = tmp_path / name, media_type(name).name
    path.write_bytes(LARGE_TABLES[name]())
    parsed = parser_for(kind).parse(path, name, kind)
    chunks = chunk(parsed, ChunkerConfig(max_tokens=60), lambda texts: [len(text.split()) for text in texts])
    assert len(chunks) > 3
    assert all(made.text == parsed.text[made.start : made.end] for made in chunks)
    for made in chunks:
        assert encoder_text(made.heading_path, made.text).count("Team | City") == 1
    rows = [row for made in chunks for row in made.text.split("\n") if "|" in row]
    assert rows == [" | ".join(row) for row in ROWS]
