"""Words in pictures, recognised by the real models in the confined processes, and found by a reader."""

import io
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

import numpy as np
import pypdfium2 as pdfium
import pytest
from fpdf import FPDF
from PIL import Image
from rapidfuzz.distance import Levenshtein

from benchmarks.pdf_texts import ENGLISH, TABLE
from ibid.layout import boxes_of, decode_layout, encode_layout
from ibid.media import media_type
from ibid.settings import Settings
from ibid.types import ElementKind, Parsed
from ingest.parsing import pictures
from ingest.parsing.errors import NoText, TimedOut, TooLargeWhenUnpacked, Unreadable
from ingest.parsing.reader import ConfinedReader
from tests.pdfs import Sheet, Words, make_pdf
from tests.running import await_jobs, eventually, new_collection, serving, upload

LINES = (
    "The harbour office keeps a book",
    "of every vessel that asks for a berth.",
    "Fuel costs 1.85 crowns a litre.",
)
GERMAN = ("Größere Fahrzeuge müssen sich zwölf", "Stunden vor der Ankunft anmelden.")


@pytest.fixture(scope="module")
def reader() -> Iterator[ConfinedReader]:
    made = ConfinedReader(Settings(ocr_page_seconds=60, parse_memory_bytes=512 * 2**20, require_sandbox=True))
    yield made
    made.close()


def read(reader: ConfinedReader, folder: Path, name: str, data: bytes) -> Parsed:
    path = folder / name
    path.write_bytes(data)
    kind = media_type(name).name
    fast = reader.parse(path, name, kind)
    pages = [reader.recognise(path, kind, page) for page in fast.report.pages_waiting]
    return reader.parse(path, name, kind, pages) if pages else fast


def pdf_of(*pages: tuple[str, ...]) -> bytes:
    sheets = [
        Sheet([Words(72, 700 - 16 * row, line) for row, line in enumerate(lines)], box=(0, 0, 420, 792))
        for lines in pages
    ]
    return make_pdf(sheets)


def picture_of(lines: tuple[str, ...] = LINES, scale: float = 2.0) -> Image.Image:
    with pdfium.PdfDocument(pdf_of(lines)) as document:
        return document[0].render(scale=scale).to_pil().convert("RGB").crop((0, 100, 840, 400))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def scan_of(*images: Image.Image) -> bytes:
    """A PDF whose pages are pictures."""
    pdf = FPDF(unit="pt", format=(420, 150))
    for image in images:
        pdf.add_page()
        pdf.image(io.BytesIO(saved(image, "PNG")), 0, 0, 420, 150)
    return bytes(pdf.output())


def mixed() -> bytes:
    """A scan between two pages of text."""
    out = io.BytesIO()
    with (
        pdfium.PdfDocument(pdf_of(("The first page is text.",), ("The last one is text.",))) as made,
        pdfium.PdfDocument(scan_of(picture_of())) as scan,
    ):
        made.import_pages(scan, index=1)
        made.save(out)
    return out.getvalue()


class TestPictures:
    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("a.png", "PNG"),
            ("a.jpeg", "JPEG"),
            ("a.webp", "WEBP"),
            ("a.bmp", "BMP"),
            ("a.gif", "GIF"),
            ("a.tif", "TIFF"),
        ],
    )
    def test_of_each_kind_are_read(
        self, reader: ConfinedReader, tmp_path: Path, name: str, kind: str
    ) -> None:
        found = read(reader, tmp_path, name, saved(picture_of(), kind))
        assert found.text.split() == " ".join(LINES).split()
        assert (found.report.pages, found.report.pages_ocr, found.report.languages) == (1, (1,), ("en",))
        assert found.report.warnings == ()

    @pytest.mark.parametrize("turns", [1, 2, 3])
    def test_that_lie_on_their_side_or_head_are_read_as_if_upright(
        self, reader: ConfinedReader, tmp_path: Path, turns: int
    ) -> None:
        turned = Image.fromarray(np.rot90(np.asarray(picture_of()), turns))
        found = read(reader, tmp_path, "a.png", saved(turned, "PNG"))
        assert found.text.split() == " ".join(LINES).split()
        upright = read(reader, tmp_path, "b.png", saved(picture_of(), "PNG"))
        for box, straight in zip(found.boxes, upright.boxes, strict=True):
            x, y = (straight.box.x0 + straight.box.x1) / 2, (straight.box.y0 + straight.box.y1) / 2
            for _ in range(turns):
                x, y = y, 1 - x
            assert abs((box.box.x0 + box.box.x1) / 2 - x) < 0.03
            assert abs((box.box.y0 + box.box.y1) / 2 - y) < 0.03

    def test_with_long_lines_and_short_cells_are_not_turned(
        self, reader: ConfinedReader, tmp_path: Path
    ) -> None:
        """The model that tells which way up a piece is was made for short ones."""
        words = [Words(40, 700, ENGLISH[2][:95], 9), Words(40, 684, ENGLISH[2][95:190], 9)]
        words += [
            Words(60 + 90 * at, 640 - 20 * row, cell)
            for row, cells in enumerate(TABLE)
            for at, cell in enumerate(cells)
        ]
        with pdfium.PdfDocument(make_pdf([Sheet(words)])) as document:
            image = document[0].render(scale=2.0).to_pil().convert("RGB")
        found = read(reader, tmp_path, "a.png", saved(image, "PNG"))
        assert found.text.startswith("Each berth has its own meter.")
        assert {"Berth", "Remarks", "31.50", "38.00", "members"} <= set(found.text.split())

    def test_turned_by_their_camera_are_read_as_displayed(
        self, reader: ConfinedReader, tmp_path: Path
    ) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        turned = Image.fromarray(np.rot90(np.asarray(picture_of()), 1))
        found = read(reader, tmp_path, "a.jpg", saved(turned, "JPEG", exif=exif, quality=95))
        assert found.text.split() == " ".join(LINES).split()
        assert found.boxes[0].box.y0 < found.boxes[-1].box.y0
        assert found.boxes[0].box.x0 < 0.3

    def test_each_frame_of_a_tiff_is_a_page(self, reader: ConfinedReader, tmp_path: Path) -> None:
        frames = [picture_of((line,)) for line in LINES]
        data = saved(frames[0], "TIFF", save_all=True, append_images=frames[1:], compression="tiff_lzw")
        found = read(reader, tmp_path, "a.tiff", data)
        assert [(e.page, found.text[e.start : e.end]) for e in found.elements] == list(enumerate(LINES, 1))

    def test_other_letters_than_english_ones(self, reader: ConfinedReader, tmp_path: Path) -> None:
        found = read(reader, tmp_path, "a.png", saved(picture_of(GERMAN), "PNG"))
        assert found.text.split() == " ".join(GERMAN).split()
        assert found.report.languages == ("de",)

    def test_transparent_ones_stand_on_white(self, reader: ConfinedReader, tmp_path: Path) -> None:
        ink = picture_of().convert("L").point(lambda level: 255 - level)
        black = Image.new("RGBA", ink.size, (0, 0, 0, 0))
        black.putalpha(ink)
        found = read(reader, tmp_path, "a.png", saved(black, "PNG"))
        assert found.text.split() == " ".join(LINES).split()

    def test_without_words_are_refused(self, reader: ConfinedReader, tmp_path: Path) -> None:
        with pytest.raises(NoText, match=r"\. .+\.$"):
            read(reader, tmp_path, "a.png", saved(Image.new("RGB", (300, 200), "teal"), "PNG"))

    @pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\nnothing more", saved(picture_of(), "PNG")[:400]])
    def test_that_are_damaged_are_refused(self, reader: ConfinedReader, tmp_path: Path, data: bytes) -> None:
        with pytest.raises(Unreadable, match=r"\. .+\.$"):
            read(reader, tmp_path, "a.png", data)

    def test_that_unpack_to_too_much_are_refused_before_they_are(
        self, reader: ConfinedReader, tmp_path: Path
    ) -> None:
        side = int(pictures.MOST_PIXELS**0.5) + 1
        bomb = saved(Image.new("1", (side, side)), "PNG")
        assert len(bomb) < 100_000
        with pytest.raises(TooLargeWhenUnpacked, match="million pixels"):
            read(reader, tmp_path, "a.png", bomb)
        assert reader.pictures.peak_bytes < 400 * 2**20

    def test_take_the_time_that_a_page_may(self, tmp_path: Path) -> None:
        reader = ConfinedReader(Settings(ocr_page_seconds=0.01))
        try:
            with pytest.raises(TimedOut):
                read(reader, tmp_path, "a.png", saved(picture_of(), "PNG"))
        finally:
            reader.close()


class TestScannedPages:
    def test_beside_pages_of_text(self, reader: ConfinedReader, tmp_path: Path) -> None:
        data = mixed()
        (tmp_path / "a.pdf").write_bytes(data)
        fast = reader.parse(tmp_path / "a.pdf", "a.pdf", "application/pdf")
        assert fast.text == "The first page is text.\n\nThe last one is text."
        assert (fast.report.pages_waiting, fast.report.pages_empty) == ((2,), ())
        found = read(reader, tmp_path, "a.pdf", data)
        assert found.text.split() == [
            "The",
            "first",
            "page",
            "is",
            "text.",
            *" ".join(LINES).split(),
            "The",
            "last",
            "one",
            "is",
            "text.",
        ]
        report = found.report
        assert (report.pages, report.pages_with_text, report.pages_ocr, report.pages_waiting) == (
            3,
            3,
            (2,),
            (),
        )
        assert next(element.kind for element in found.elements if element.page == 2) is ElementKind.PARAGRAPH

    def test_each_word_has_its_place(self, reader: ConfinedReader, tmp_path: Path) -> None:
        found = read(reader, tmp_path, "a.pdf", scan_of(picture_of()))
        for placed in found.boxes:
            assert found.text[placed.start : placed.end].split() == [found.text[placed.start : placed.end]]
        layout = decode_layout(encode_layout(found.elements, found.boxes, found.report))
        begin = found.text.index("Fuel")
        (box,) = boxes_of(layout, begin, begin + len("Fuel costs 1.85"))
        # The words stand at 72 points of 420, in the third row; Helvetica's digits end at about 145.
        assert abs(box.x0 - 72 / 420) < 0.02
        assert abs(box.x1 - 145 / 420) < 0.03
        assert 0.4 < mean((box.y0, box.y1)) < 0.6

    def test_with_a_stamp_are_scans_all_the_same(self, reader: ConfinedReader, tmp_path: Path) -> None:
        pdf = FPDF(unit="pt", format=(420, 150))
        pdf.add_page()
        pdf.image(io.BytesIO(saved(picture_of(), "PNG")), 0, 0, 420, 150)
        pdf.set_font("helvetica", size=9)
        pdf.text(300, 140, "Exhibit 12")
        found = read(reader, tmp_path, "a.pdf", bytes(pdf.output()))
        assert all(line in " ".join(found.text.split()) for line in (*LINES, "Exhibit 12"))

    def test_two_columns_are_read_one_after_the_other(self, reader: ConfinedReader, tmp_path: Path) -> None:
        left = [f"Left line {n} runs to the middle" for n in range(1, 9)]
        right = [f"Right line {n} runs to the edge" for n in range(1, 9)]
        words = [Words(40, 700, "A title that stands over both of the columns of text", 14)]
        for row, pair in enumerate(zip(left, right, strict=True)):
            words += [Words(40, 660 - 15 * row, pair[0]), Words(310, 657 - 15 * row, pair[1])]
        with pdfium.PdfDocument(make_pdf([Sheet(words)])) as document:
            image = document[0].render(scale=2.0).to_pil().convert("RGB")
        found = read(reader, tmp_path, "a.png", saved(image, "PNG"))
        text = " ".join(found.text.split())
        places = [text.index(line) for line in (*left, *right)]
        assert places == sorted(places)


def test_a_scan_of_known_words_is_read_nearly_without_a_fault(reader: ConfinedReader, tmp_path: Path) -> None:
    """Grey, tilted by a degree, noisy and at 144 dots an inch, as an office scanner gives it."""
    noise = np.random.default_rng(7)
    image = np.asarray(
        picture_of().rotate(1, fillcolor="white", resample=Image.Resampling.BICUBIC), np.float32
    )
    grey = np.clip(image * 0.85 + noise.normal(0, 12, image.shape), 0, 255).astype(np.uint8)
    found = read(reader, tmp_path, "a.jpg", saved(Image.fromarray(grey), "JPEG", quality=60))
    assert Levenshtein.normalized_similarity(" ".join(found.text.split()), " ".join(LINES)) > 0.97


def test_page_by_page_within_the_bound_of_memory(reader: ConfinedReader, data: Path) -> None:
    path = data / "documents" / "img__double-column-B.jpg"
    assert len(reader.recognise(path, "image/jpeg", 1).lines) > 100
    assert 0 < reader.pictures.peak_bytes < 512 * 2**20


@pytest.mark.slow
def test_a_service_answers_from_the_text_first_and_then_from_the_scan(tmp_path: Path) -> None:
    data = mixed()
    question = {"collection": "port", "question": "What does fuel cost?"}
    with serving(tmp_path / "served", IBID_EMBEDDER="hashing") as server, server.client() as client:
        new_collection(client, "port")
        (entry,) = upload(client, "port", ("a.pdf", data))
        fast = await_jobs(client, [entry["job_id"]])[entry["job_id"]]
        assert fast["state"] == "succeeded"
        assert fast["statistics"]["warnings"][0].startswith("Page 2: pictures without text")
        path = f"/v1/documents/{entry['id']}"
        eventually(lambda: client.get(path).json()["live_version"] == 2, what="the version by OCR")
        slow = client.get(path).json()["job_id"]
        assert await_jobs(client, [slow])[slow]["state"] == "succeeded"
        assert [each["read_by"] for each in client.get(f"{path}/versions").json()["data"]] == ["ocr", "text"]
        assert (
            client.get(f"{path}/versions/1/text").text == "The first page is text.\n\nThe last one is text."
        )
        hits = client.post("/v1/search", json={"collection": "port", "query": "fuel crowns litre"}).json()[
            "hits"
        ]
        assert "Fuel costs 1.85 crowns a litre." in hits[0]["text"]
        answer = client.post("/v1/answers", json=question).json()
        (citation,) = answer["citations"]
        assert (citation["quote"], citation["page"], citation["version"]) == (LINES[2], 2, 2)
        assert len(citation["boxes"]) == 1
        assert upload(client, "port", ("a.pdf", data))[0]["job_id"] is None
