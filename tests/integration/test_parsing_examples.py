"""Real files, among them empty, malformed, oddly encoded and hostile ones, through the real parse server.

Each ends as `tests/examples.py` says: read, with the words that it holds, or refused with a code.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from ibid.errors import Invalid
from ibid.media import check_upload
from ibid.settings import Settings
from ibid.types import Parsed
from ingest.canonical import clean
from ingest.parsing.reader import ConfinedReader
from tests.examples import DOCUMENTS, HOSTILE

pytestmark = pytest.mark.data

SECONDS: Final = 10
PAGE_SECONDS: Final = 30
"""To recognise a page takes up to seven on a machine that has nothing else to do."""
MEMORY: Final = 512 * 2**20


@pytest.fixture(scope="module")
def reader() -> Iterator[ConfinedReader]:
    """It gives each file the time that the table allows, and ends it then."""
    made = ConfinedReader(
        Settings(parse_seconds=SECONDS, ocr_page_seconds=PAGE_SECONDS, parse_memory_bytes=MEMORY)
    )
    yield made
    made.close()


def outcome(reader: ConfinedReader, path: Path) -> Parsed | str:
    try:
        kind = check_upload(path.name, path.read_bytes()[:1024]).name
        found = reader.parse(path, path.name, kind)
        if waiting := found.report.pages_waiting:
            pages = [reader.recognise(path, kind, page) for page in waiting]
            found = reader.parse(path, path.name, kind, pages)
    except Invalid as error:
        return error.code
    else:
        return found


def fault(found: Parsed | str, expected: str | tuple[str, ...]) -> str | None:
    """What is wrong with an outcome."""
    if isinstance(found, str) or isinstance(expected, str):
        return None if found == expected else f"{found!r:.60} instead of {expected!r:.60}"
    missing = [words for words in expected if words not in found.text]
    if missing:
        return f"does not hold {missing}"
    if clean(found.text) != found.text or not all(
        found.text[e.start : e.end].strip() for e in found.elements
    ):
        return "its text or its elements are not canonical"
    return None


@pytest.mark.parametrize(
    ("folder", "table"), [("documents", DOCUMENTS), ("hostile", HOSTILE)], ids=["documents", "hostile"]
)
def test_every_file_ends_as_expected(
    reader: ConfinedReader, data: Path, folder: str, table: Mapping[str, str | tuple[str, ...]]
) -> None:
    faults = {}
    for path in sorted((data / folder).iterdir()):
        found, peak = outcome(reader, path), max(reader.documents.peak_bytes, reader.pictures.peak_bytes)
        if path.name not in table:
            faults[path.name] = "is not in the table"
        elif wrong := fault(found, table[path.name]):
            faults[path.name] = wrong
        elif peak > MEMORY:
            faults[path.name] = f"took {peak // 2**20} MB"
    assert faults == {}
    assert peak > 0
    assert {path.name for path in (data / folder).iterdir()} == set(table)
