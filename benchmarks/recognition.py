"""How well pictures are recognised: pages of PDFs whose source texts are known, drawn at 150 dots an inch, read by OCR.

As for PDFs, the measure is 1 less the Levenshtein distance over the length of the longer text. The pages are those of
`benchmarks.pdf_set` in letters that the models know; they are clean prints, so this is the best that scans can come to.
"""

import time
from pathlib import Path
from statistics import median

import numpy as np
import pypdfium2 as pdfium

from benchmarks.bench import Bench, Row, Target
from benchmarks.pdf_set import Sample, samples
from benchmarks.text import alike, shown
from ingest.parsing.direct import DirectReader

DOTS = 150
UNKNOWN = "\u0370", "\u06ff"
"""From Greek to Arabic."""
KIND = "image/png"


def measure(bench: Bench) -> list[Row]:
    """Likeness over all samples, and what a page costs on one core."""
    folder = bench.scratch / "recognition"
    folder.mkdir()
    known = [
        sample for sample in samples(None) if not any(UNKNOWN[0] <= c <= UNKNOWN[1] for c in sample.text)
    ]
    likeness, seconds = [], []
    for sample in known[:1] if bench.quick else known:
        read, spent = _read(sample, folder)
        likeness.append(100 * alike(read, sample.text))
        seconds += spent
    worst = f"{len(likeness)} documents, {len(seconds)} pages, the worst document {min(likeness):.1f}"
    return [
        Row(
            "recognition",
            "OCR text like its source",
            float(np.mean(likeness)),
            "%",
            Target(97, "more"),
            worst,
        ),
        Row("recognition", "OCR of a page", median(seconds), "s", note="processor time, one core"),
    ]


def _read(sample: Sample, folder: Path) -> tuple[str, list[float]]:
    """The words in the pictures of a sample's pages, and the seconds that each took."""
    reader, texts, seconds = DirectReader(), [], []
    for path in _pictures(sample, folder):
        begin = time.process_time()
        page = reader.recognise(path, KIND, 1)
        seconds.append(time.process_time() - begin)
        texts.append(shown(reader.parse(path, path.name, KIND, [page])))
    return " ".join(texts), seconds


def _pictures(sample: Sample, folder: Path) -> list[Path]:
    source = folder / f"{sample.producer} {sample.name}.pdf"
    sample.make(source)
    made = []
    with pdfium.PdfDocument(source) as document:
        for number, page in enumerate(document):
            made.append(source.with_suffix(f".{number}.png"))
            page.render(scale=DOTS / 72).to_pil().save(made[-1])
    return made
