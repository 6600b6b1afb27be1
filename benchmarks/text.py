"""How well the PDF parser reads: its text against the source texts of PDFs by several producers.

The measure is that of py-pdf's benchmark: 1 less the Levenshtein distance over the length of the longer text, white
space made single spaces. "Read in full" asks that no page with text be taken for empty or unreadable.
"""

import os
import shutil
from pathlib import Path

from rapidfuzz.distance import Levenshtein

from benchmarks.bench import Bench, Row, Target
from benchmarks.pdf_set import Sample, samples
from ibid.types import ElementKind, Parsed
from ingest.parsing.registry import parser_for

PDF = "application/pdf"
CHROMIUM = os.environ.get("IBID_TEST_CHROMIUM") or shutil.which("chromium")


def measure(bench: Bench) -> list[Row]:
    """Likeness by producer and over all, and the share of pages read."""
    folder = bench.scratch / "texts"
    folder.mkdir()
    made = samples(None if bench.quick else CHROMIUM)
    read = {sample: read_sample(sample, folder) for sample in made}
    likeness = {sample: 100 * alike(shown(parsed), sample.text) for sample, parsed in read.items()}
    rows = []
    for producer in dict.fromkeys(sample.producer for sample in made):
        values = [value for sample, value in likeness.items() if sample.producer == producer]
        note = f"{len(values)} PDFs, the worst {min(values):.1f}"
        rows.append(Row("text", f"PDF text by {producer}", sum(values) / len(values), "%", note=note))
    mean = sum(likeness.values()) / len(likeness)
    pages = sum(parsed.report.pages_with_text or 0 for parsed in read.values())
    total = sum(sample.pages for sample in made)
    return [
        *rows,
        Row("text", "PDF text like its source", mean, "%", Target(98, "more"), f"{len(made)} PDFs"),
        Row("text", "PDF pages read", 100 * pages / total, "%", Target(100, "more"), f"{total} pages"),
    ]


def read_sample(sample: Sample, folder: Path) -> Parsed:
    """The sample as the parser reads it."""
    path = folder / f"{sample.producer} {sample.name}.pdf"
    sample.make(path)
    return parser_for(PDF).parse(path, path.name, PDF)


def shown(parsed: Parsed) -> str:
    """The text without what nobody sees."""
    kept = (element for element in parsed.elements if element.kind is not ElementKind.HIDDEN)
    return " ".join(parsed.text[element.start : element.end] for element in kept)


def alike(read: str, source: str) -> float:
    """From 0 to 1."""
    return Levenshtein.normalized_similarity(" ".join(read.split()), " ".join(source.split()))
