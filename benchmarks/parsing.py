"""Pages per second of the PDF parser, beside the library it is built on and beside pdfminer.

The parser does more than either: it finds the box of each word, paragraphs, headings and what nobody sees.

What was tried towards 0.4 times pdfium's own rate, from 0.32 on: (1) Boxes computed when a citation is shown would
spare at most the 0.33 ms a page that asking for them takes; left out, since the process that shows citations must not
open a file that may be hostile. (2) Boxes as columns of numbers from pdfium to the stored layout, with no object for a
word, and words found from one table of flags of characters: 4.7 ms a page became 3.7, with 0.25 ms for finding hidden
text already in it; 0.41. (3) No lists for each word, and colours of all text objects of a page asked for in one go:
3.5 ms; 0.42 to 0.45 in processor time on a busy machine. Kept from before: asking for boxes without the conversions of
the generated binding, placing all boxes of a page in one matrix operation, and freezing what is loaded before a document
is read, so that the garbage collector passes it by; switching the collector off gains nothing more.
"""

import gc
import time
from collections import defaultdict
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from statistics import median

import pypdfium2 as pdfium
from pdfminer.high_level import extract_text

from benchmarks.bench import Bench, Row, Target
from ingest.parsing.registry import parser_for

PDF = "application/pdf"
# pdfminer reads the smaller files only, together at most so many pages: it would take minutes for all of them.
PDFMINER_PAGES = 60

Reader = Callable[[Path], object]


def measure(bench: Bench) -> list[Row]:
    """Rates over all pages, and how the three compare on the same pages; each file in turn by each reader."""
    gc.collect()
    gc.freeze()  # as the parse server does before it reads
    paths = _written(bench)
    pages = {path: _pages(path) for path in paths}
    few = _first(paths, pages, PDFMINER_PAGES)
    seconds = _interleaved({_ours: paths, _raw: paths, _pdfminer: few}, bench.some(5, 1))

    def rate(reader: Reader, over: list[Path]) -> float:
        return sum(pages[path] for path in over) / sum(seconds[reader, path] for path in over)

    slow, part = rate(_pdfminer, few), sum(pages[path] for path in few)
    same = f"on the same {part} pages"
    return [
        Row(
            "parsing", "Ibid's PDF parser", rate(_ours, paths), "pages/s", note="with word boxes and headings"
        ),
        Row(
            "parsing",
            "pypdfium2, text only",
            rate(_raw, paths),
            "pages/s",
            note=f"{sum(pages.values())} pages",
        ),
        Row("parsing", "pdfminer", slow, "pages/s", note=f"{part} of these pages"),
        Row("parsing", "Ibid against pdfminer", rate(_ours, few) / slow, "times", Target(10, "more"), same),
        Row(
            "parsing",
            "Ibid against pypdfium2",
            rate(_ours, paths) / rate(_raw, paths),
            "times",
            Target(0.4, "more"),
        ),
        Row("parsing", "pypdfium2 against pdfminer", rate(_raw, few) / slow, "times", note=same),
    ]


def _written(bench: Bench) -> list[Path]:
    folder = bench.scratch / "pdfs"
    folder.mkdir()
    for name, content in bench.pdfs:
        (folder / name).write_bytes(content)
    return [folder / name for name, _ in bench.pdfs]


def _first(paths: list[Path], pages: dict[Path, int], limit: int) -> list[Path]:
    """The first files that together have at most so many pages, at least one."""
    taken: list[Path] = []
    total = 0
    for path in paths:
        total += pages[path]
        if taken and total > limit:
            break
        taken.append(path)
    return taken


def _interleaved(work: dict[Reader, list[Path]], repeats: int) -> dict[tuple[Reader, Path], float]:
    """Median seconds of each reader for each of its files; the readers take turns, so that noise meets all of them."""
    spent: dict[tuple[Reader, Path], list[float]] = defaultdict(list)
    for _ in range(repeats):
        for path in dict.fromkeys(path for paths in work.values() for path in paths):
            for reader in (reader for reader, paths in work.items() if path in paths):
                spent[reader, path].append(_seconds(reader, path))
    return {pair: median(found) for pair, found in spent.items()}


def _seconds(reader: Reader, path: Path) -> float:
    begin = time.perf_counter()
    reader(path)
    return time.perf_counter() - begin


def _ours(path: Path) -> object:
    return parser_for(PDF).parse(path, path.name, PDF)


def _raw(path: Path) -> object:
    with pdfium.PdfDocument(path) as document:
        return [page.get_textpage().get_text_range() for page in document]


def _pdfminer(path: Path) -> object:
    return extract_text(BytesIO(path.read_bytes()))


def _pages(path: Path) -> int:
    with pdfium.PdfDocument(path) as document:
        return len(document)
