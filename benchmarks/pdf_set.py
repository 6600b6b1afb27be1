"""PDFs by four producers from texts that are known: columns, ligatures, divided words, rotation, right to left."""

import html
import subprocess
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import matplotlib as mpl
from fpdf import FPDF
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate, Paragraph
from reportlab.platypus import Table as ReportTable

from benchmarks.pdf_texts import (
    ARABIC,
    DIVIDED,
    ENGLISH,
    FRENCH,
    GERMAN,
    GREEK,
    HEBREW,
    TABLE,
    UNDIVIDED,
)

_FONTS: Final = Path(mpl.get_data_path()) / "fonts" / "ttf"
_SANS, _SERIF = _FONTS / "DejaVuSans.ttf", _FONTS / "DejaVuSerif.ttf"
_CELLS: Final = [cell for row in TABLE for cell in row]
CHROMIUM_FLAGS: Final = ("--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer")


@dataclass(frozen=True, slots=True)
class Sample:
    """A PDF that can be made: its producer, what is difficult about it, the text in it, and on how many pages."""

    name: str
    producer: str
    make: Callable[[Path], None]
    text: str
    pages: int = 1


def samples(chromium: str | None) -> list[Sample]:
    """All of them; those that Chromium prints only if there is one."""
    made = [*_BY_FPDF, *_BY_REPORTLAB, *_BY_MATPLOTLIB]
    return made + (_by_chromium(chromium) if chromium else [])


# ---------------------------------------------------------------------------------------------------------- fpdf2
def _fpdf(orientation: str = "portrait") -> FPDF:
    pdf = FPDF(orientation=orientation, format="A4")
    pdf.add_font("serif", fname=_SERIF)
    pdf.set_font("serif", size=11)
    pdf.add_page()
    return pdf


def _paragraphs(texts: Sequence[str], columns: int = 1) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        pdf = _fpdf()
        with pdf.text_columns(ncols=columns, gutter=8, text_align="J" if columns == 1 else "L") as area:
            for text in texts:
                with area.paragraph(bottom_margin=4) as paragraph:
                    paragraph.write(text)
        pdf.output(str(path))

    return make


def _fpdf_pages(path: Path) -> None:
    pdf = _fpdf("landscape")
    for index, text in enumerate(ENGLISH):
        if index:
            pdf.add_page()
        pdf.multi_cell(0, 7, text)
    pdf.output(str(path))


def _fpdf_turned(path: Path) -> None:
    pdf = _fpdf()
    pdf.multi_cell(0, 7, ENGLISH[0])
    with pdf.rotation(90, x=30, y=200):
        pdf.text(30, 200, "Notice of the harbour council")
    pdf.output(str(path))


_BY_FPDF: Final = [
    Sample("justified", "fpdf2", _paragraphs(ENGLISH), " ".join(ENGLISH)),
    Sample("two columns", "fpdf2", _paragraphs(ENGLISH * 3, 2), " ".join(ENGLISH * 3)),
    Sample("German and French", "fpdf2", _paragraphs(GERMAN + FRENCH), " ".join(GERMAN + FRENCH)),
    Sample("pages across", "fpdf2", _fpdf_pages, " ".join(ENGLISH), len(ENGLISH)),
    Sample("a turned line", "fpdf2", _fpdf_turned, f"{ENGLISH[0]} Notice of the harbour council"),
]


# ------------------------------------------------------------------------------------------------------ reportlab
def _platypus(path: Path, story: list[object], frames: list[Frame]) -> None:
    document = BaseDocTemplate(str(path), pagesize=A4)
    document.addPageTemplates([PageTemplate(frames=frames)])
    document.build(story)


def _reportlab_frames(texts: Sequence[str], columns: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        pdfmetrics.registerFont(TTFont("serif", str(_SERIF)))
        style = getSampleStyleSheet()["BodyText"]
        style.fontName = "serif"
        story: list[object] = [Paragraph(text, style) for text in texts]
        width = 480 / columns
        frames = [Frame(55 + index * width, 55, width - 10, 720) for index in range(columns)]
        _platypus(path, story, frames)

    return make


def _reportlab_table(path: Path) -> None:
    story: list[object] = [Paragraph(ENGLISH[2], getSampleStyleSheet()["BodyText"]), ReportTable(TABLE)]
    _platypus(path, story, [Frame(55, 55, 480, 720)])


def _drawn(lines: Sequence[str], turn: int = 0) -> Callable[[Path], None]:
    """Lines at their places; the page is turned by a right angle, and what is on it turned back."""

    def make(path: Path) -> None:
        canvas = Canvas(str(path), pagesize=A4)
        if turn:
            canvas.setPageRotation(turn)
            canvas.translate(A4[0], 0)
            canvas.rotate(90)
        for index, line in enumerate(lines):
            canvas.drawString(72, 500 - 15 * index, line)
        canvas.save()

    return make


_LINES: Final = [line for text in ENGLISH for line in textwrap.wrap(text, 80)]
_BY_REPORTLAB: Final = [
    Sample("one frame", "reportlab", _reportlab_frames(GERMAN + FRENCH, 1), " ".join(GERMAN + FRENCH)),
    Sample("three columns", "reportlab", _reportlab_frames(ENGLISH * 5, 3), " ".join(ENGLISH * 5), 2),
    Sample("a table", "reportlab", _reportlab_table, " ".join([ENGLISH[2], *_CELLS])),
    Sample("divided words", "reportlab", _drawn(DIVIDED), UNDIVIDED),
    Sample("a turned page", "reportlab", _drawn(_LINES, 90), " ".join(ENGLISH)),
    Sample("Greek and Russian", "reportlab", _reportlab_frames(GREEK, 1), " ".join(GREEK)),
]


# ----------------------------------------------------------------------------------------------------- matplotlib
def _figure(
    texts: Sequence[str], font_type: int, family: str, *, right: bool = False
) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with mpl.rc_context({"pdf.fonttype": font_type, "font.family": family}):
            figure = Figure(figsize=(8, 10))
            for index, line in enumerate(line for text in texts for line in textwrap.wrap(text, 70)):
                x, side = (0.9, "right") if right else (0.1, "left")
                figure.text(x, 0.9 - 0.03 * index, line, horizontalalignment=side)
            FigureCanvasPdf(figure)
            figure.savefig(path, format="pdf")

    return make


_BY_MATPLOTLIB: Final = [
    Sample("ligatures", "matplotlib", _figure(ENGLISH, 42, "DejaVu Serif"), " ".join(ENGLISH)),
    Sample("drawn glyphs", "matplotlib", _figure(GERMAN, 3, "DejaVu Sans"), " ".join(GERMAN)),
    Sample("Hebrew", "matplotlib", _figure(HEBREW, 42, "DejaVu Sans", right=True), " ".join(HEBREW)),
    Sample("Greek letters", "matplotlib", _figure(GREEK, 3, "DejaVu Sans"), " ".join(GREEK)),
]


# ------------------------------------------------------------------------------------------------------- Chromium
def _by_chromium(program: str) -> list[Sample]:
    def sample(name: str, texts: Sequence[str], style: str, body: str = "", pages: int = 1) -> Sample:
        body = body or "".join(f"<p>{html.escape(text)}</p>" for text in texts)
        page = (
            f"<!doctype html><meta charset=utf-8><style>body{{font:11pt 'DejaVu Serif'}}{style}</style>{body}"
        )
        return Sample(name, "Chromium", lambda path: _print(program, page, path), " ".join(texts), pages)

    rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in TABLE)
    soft = UNDIVIDED.replace("correspond", "corre\u00adspond").replace("reimburse", "reim\u00adburse\u00ad")
    broken = "".join(f"<p style='page-break-after:always'>{html.escape(text)}</p>" for text in ENGLISH)
    heading = (
        f"<h1>Rules of the harbour</h1><h2>Berths</h2><p>{ENGLISH[0]}</p><h2>Prices</h2><p>{ENGLISH[2]}</p>"
    )
    titled = ("Rules of the harbour", "Berths", ENGLISH[0], "Prices", ENGLISH[2])
    return [
        sample("columns", ENGLISH * 3, "body{columns:2;text-align:justify}"),
        sample("narrow, with soft hyphens", [UNDIVIDED], "p{width:5cm}", f"<p>{soft}</p>"),
        sample("Hebrew", HEBREW, "body{direction:rtl}"),
        sample("Arabic", ARABIC, "body{direction:rtl;font-family:'DejaVu Sans'}"),
        sample("headings", titled, "", heading),
        sample("a table", _CELLS, "td{border:1px solid;padding:4px}", f"<table>{rows}</table>"),
        sample("a page for each", ENGLISH, "@page{size:A4 landscape}", broken, len(ENGLISH)),
        sample("four languages", GERMAN + FRENCH + GREEK, ""),
    ]


def _print(program: str, page: str, path: Path) -> None:
    source = path.with_suffix(".html")
    source.write_text(page, encoding="utf-8")
    profile = f"--user-data-dir={path.parent / 'profile'}"
    command = [program, *CHROMIUM_FLAGS, profile, f"--print-to-pdf={path}", source.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
