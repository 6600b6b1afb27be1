import re
from pathlib import Path

import matplotlib as mpl
import pytest
from fpdf import FPDF

from ibid.layout import boxes_of, decode_layout, encode_layout
from ibid.types import ElementKind, Parsed
from ingest.canonical import clean
from ingest.parsing.errors import Encrypted, NoText, Unreadable
from ingest.parsing.pdf import PdfParser
from tests.pdfs import LOCKED, Sheet, Words, damaged, make_pdf

PLAN = (
    "The plan pays for visits to any doctor of the network and for most of",
    "the medicines that the list names. Ask before you pay for any treatment",
    "that is not urgent.",
)


@pytest.fixture
def parse(tmp_path: Path):
    def parse_bytes(data: bytes) -> Parsed:
        path = tmp_path / "document.pdf"
        path.write_bytes(data)
        return PdfParser().parse(path, "document.pdf", "application/pdf")

    return parse_bytes


def lines(texts, y=700.0, x=72.0, step=14.0, size=11.0, bold=False):
    return [Words(x, y - index * step, text, size, bold) for index, text in enumerate(texts)]


def shown(parsed: Parsed) -> list[tuple[str, str]]:
    return [(element.kind.value, parsed.text[element.start : element.end]) for element in parsed.elements]


class TestText:
    def test_lines_become_paragraphs(self, parse):
        parsed = parse(make_pdf([Sheet([*lines(PLAN), *lines(PLAN, y=630)])]))
        assert shown(parsed) == [("paragraph", " ".join(PLAN))] * 2

    def test_elements_know_their_page(self, parse):
        parsed = parse(make_pdf([Sheet(lines(PLAN)), Sheet(), Sheet(lines(["Other words."]))]))
        assert [element.page for element in parsed.elements] == [1, 3]
        assert parsed.report.pages == 3
        assert parsed.report.pages_with_text == 2
        assert parsed.report.pages_empty == (2,)

    def test_list_items_lose_their_dot(self, parse):
        items = ["\u2022 Gym memberships", "\u2022 Yoga classes", "1. Numbers stay"]
        assert shown(parse(make_pdf([Sheet(lines([*PLAN, *items]))])))[1:] == [
            ("list_item", "Gym memberships"),
            ("list_item", "Yoga classes"),
            ("list_item", "1. Numbers stay"),
        ]

    def test_an_indented_line_begins_a_paragraph(self, parse):
        second = [
            Words(90, 658, "Second paragraph, whose first line stands further in than the"),
            Words(72, 644, "others do."),
        ]
        first = lines([*PLAN[:2], "that is not urgent, unless the doctor of the network has agreed to it."])
        assert [text for _, text in shown(parse(make_pdf([Sheet([*first, *second])])))] == [
            f"{PLAN[0]} {PLAN[1]} {first[2].text}",
            "Second paragraph, whose first line stands further in than the others do.",
        ]

    def test_columns(self, parse):
        left, right = ["Left words run on", "and on to here."], ["Right words run", "on to there."]
        parsed = parse(make_pdf([Sheet([*lines(left), *lines(right, x=320)])]))
        assert [text for _, text in shown(parsed)] == [" ".join(left), " ".join(right)]

    def test_divided_words_that_stand_whole_elsewhere_are_joined(self, parse):
        text = ["Reimbursement is quick. The plan pays for every single reimburse-", "ment in-network."]
        assert "single reimbursement in-network." in parse(make_pdf([Sheet(lines(text))])).text

    def test_other_hyphens_at_line_ends_stay(self, parse):
        text = ["The plan pays for every visit to a doctor who is in-", "network."]
        assert "is in-network." in parse(make_pdf([Sheet(lines(text))])).text

    def test_is_canonical(self, parse):
        parsed = parse(make_pdf([Sheet(lines(["caf\u00e9 \u201cquoted\u201d"]))]))
        assert clean(parsed.text) == parsed.text == "café “quoted”"


class TestStructure:
    def test_headings_by_size_and_weight(self, parse):
        sheet = Sheet(
            [
                *lines(["Handbook"], 740, size=24),
                *lines(["Benefits"], 700, size=16),
                *lines(["Dental"], 670, bold=True),
                *lines(PLAN, 640),
                *lines(["Vision"], 570, bold=True),
                *lines(PLAN, 540),
            ]
        )
        parsed = parse(make_pdf([sheet]))
        assert [(kind, text) for kind, text in shown(parsed) if kind != "paragraph"] == [
            ("title", "Handbook"),
            ("heading", "Benefits"),
            ("heading", "Dental"),
            ("heading", "Vision"),
        ]
        assert parsed.elements[3].heading_path == ("Handbook", "Benefits", "Dental")
        assert parsed.elements[-1].heading_path == ("Handbook", "Benefits", "Vision")

    def test_running_heads_and_feet(self, parse):
        sheets = [
            Sheet(
                [
                    Words(72, 760, "Contoso handbook"),
                    *lines([f"Chapter {name} begins here.", *PLAN]),
                    Words(300, 30, f"Page {number} of 4"),
                ]
            )
            for number, name in enumerate(("one", "two", "three", "four"), start=1)
        ]
        parsed = parse(make_pdf(sheets))
        kinds = [element.kind for element in parsed.elements]
        assert (
            kinds
            == [ElementKind.HEADER, ElementKind.PARAGRAPH, ElementKind.PARAGRAPH, ElementKind.FOOTER] * 4
        )

    def test_a_page_that_repeats_is_not_a_running_head(self, parse):
        parsed = parse(make_pdf([Sheet([Words(72, 760, "Thank you")])] * 4))
        assert {element.kind for element in parsed.elements} == {ElementKind.PARAGRAPH}


class TestBookmarks:
    def make(self, path: Path, *, marked: bool = True) -> Parsed:
        """Headings in the letters of the text, which only bookmarks tell from it; the title is in none of them."""
        pdf = FPDF()
        pdf.set_font("helvetica", size=11)
        pdf.add_page()
        pdf.set_font_size(20)
        pdf.multi_cell(0, 10, "Handbook")
        pdf.set_font_size(11)
        for level, name in ((0, "1 Berths of the north"), (1, "1.1 prices and terms"), (0, "2 Fuel")):
            pdf.ln(5)
            if marked:
                pdf.start_section(name.partition(" ")[2], level=level)
            pdf.multi_cell(0, 5, f"{name}\n{' '.join(PLAN)}", new_x="LMARGIN", new_y="NEXT")
        pdf.output(str(path))
        return PdfParser().parse(path, path.name, "application/pdf")

    def test_name_headings_and_their_levels(self, tmp_path: Path):
        parsed = self.make(tmp_path / "marked.pdf")
        assert [text for kind, text in shown(parsed) if kind in {"title", "heading"}] == [
            "Handbook",
            "1 Berths of the north",
            "1.1 prices and terms",
            "2 Fuel",
        ]
        paths = [element.heading_path for element in parsed.elements if element.kind is ElementKind.PARAGRAPH]
        assert paths == [
            ("Handbook", "1 Berths of the north"),
            ("Handbook", "1 Berths of the north", "1.1 prices and terms"),
            ("Handbook", "2 Fuel"),
        ]
        assert [parsed.text[box.start : box.end] for box in parsed.boxes] == parsed.text.split()

    def test_without_them_letters_decide(self, tmp_path: Path):
        parsed = self.make(tmp_path / "unmarked.pdf", marked=False)
        assert "1.1 prices and terms" not in {text for kind, text in shown(parsed) if kind == "heading"}


class TestBoxes:
    def test_each_word_has_one(self, parse):
        parsed = parse(make_pdf([Sheet(lines(PLAN))]))
        assert [parsed.text[word.start : word.end] for word in parsed.boxes] == " ".join(PLAN).split()
        assert (
            decode_layout(encode_layout(parsed.elements, parsed.boxes, parsed.report)).boxes == parsed.boxes
        )

    def test_a_divided_word_has_two(self, parse):
        parsed = parse(make_pdf([Sheet(lines(["The plan pays for every visit that is in-", "network."]))]))
        *_, head, tail = parsed.boxes
        assert (parsed.text[head.start : head.end], parsed.text[tail.start : tail.end]) == ("in-", "network.")
        assert head.end == tail.start
        assert head.box.y0 < tail.box.y0

    @pytest.mark.parametrize("rotate", [0, 90, 180, 270])
    def test_are_of_the_page_as_displayed(self, parse, rotate: int):
        """A word at the lower left of the sheet turns with it."""
        box = parse(make_pdf([Sheet([Words(0, 3, "Corner", 20)], rotate=rotate)])).boxes[0].box
        left, top, right, bottom = {
            0: (True, False, False, True),
            90: (True, True, False, False),
            180: (False, True, True, False),
            270: (False, False, True, True),
        }[rotate]
        assert ((box.x0 < 0.02) == left, (box.y0 < 0.02) == top) == (True, True)
        assert ((box.x1 > 0.98) == right, (box.y1 > 0.98) == bottom) == (True, True)
        assert (box.x1 - box.x0 > box.y1 - box.y0) == (rotate in {0, 180})

    def test_respect_the_crop_box(self, parse):
        sheet = Sheet([Words(300, 400, "Seen", 20), Words(20, 20, "Cropped")], crop=(300, 400, 500, 600))
        parsed = parse(make_pdf([sheet]))
        assert shown(parsed) == [("paragraph", "Seen"), ("hidden", "Cropped")]
        (placed,) = parsed.boxes
        assert placed.box.x0 < 0.02
        assert placed.box.y1 > 0.98
        assert parsed.report.hidden_characters == len("Cropped")

    def test_respect_a_shifted_media_box(self, parse):
        box = parse(make_pdf([Sheet([Words(-90, -90, "Seen", 20)], box=(-100, -100, 100, 100))])).boxes[0].box
        assert 0.04 < box.x0 < 0.06
        assert 0.94 < box.y1 < 0.98

    def test_a_quote_is_one_box_a_line(self, parse):
        parsed = parse(make_pdf([Sheet(lines(PLAN))]))
        layout = decode_layout(encode_layout(parsed.elements, parsed.boxes, parsed.report))
        quote = "the medicines that the list names."
        start = parsed.text.index(quote)
        assert len(boxes_of(layout, start, start + len(quote))) == 1
        assert len(boxes_of(layout, 0, len(parsed.text))) == 3


class TestDamaged:
    def test_a_page_is_named_and_is_not_called_empty(self, parse):
        sheets = [Sheet(lines(["One."])), Sheet(lines(["Two."])), Sheet(), Sheet(lines(["Four."]))]
        parsed = parse(damaged(make_pdf(sheets), 2))
        assert [element.page for element in parsed.elements] == [1, 4]
        report = parsed.report
        assert (report.pages, report.pages_with_text) == (4, 2)
        assert (report.pages_empty, report.pages_unreadable) == ((3,), (2,))
        assert report.warnings == (
            "Page 2 could not be read and cannot be searched. Export the PDF again and upload it.",
        )

    def test_pages_are_named_in_one_sentence(self, parse):
        report = parse(damaged(make_pdf([Sheet(lines(PLAN))] * 12), 3, 11)).report
        assert report.pages_unreadable == (3, 11)
        assert report.warnings[0].startswith("Pages 3, 11 could not be read")

    def test_nothing_but_damaged_pages_is_refused(self, parse):
        with pytest.raises(Unreadable, match=r"No page .+\. .+\."):
            parse(damaged(make_pdf([Sheet(lines(PLAN))] * 2), 1, 2))

    def test_pages_without_text_are_not_damaged(self, parse):
        report = parse(make_pdf([Sheet(lines(PLAN)), Sheet()])).report
        assert (report.pages_empty, report.pages_unreadable, report.warnings) == ((2,), (), ())

    def test_a_page_whose_content_cannot_be_decoded_is_not_called_empty(self, parse):
        pdf = FPDF()
        pdf.set_font("helvetica", size=11)
        for number in range(4):
            pdf.add_page()
            if number != 3:
                pdf.multi_cell(0, 6, f"{number}: {' '.join(PLAN)}")
        data = bytearray(pdf.output())
        second = list(re.finditer(rb"/FlateDecode.*?stream\n", data, re.DOTALL))[1].end()
        data[second : second + 20] = bytes(20)
        report = parse(bytes(data)).report
        assert (report.pages_with_text, report.pages_unreadable, report.pages_empty) == (2, (2,), (4,))
        assert report.warnings[0].startswith("Page 2 could not be read")


class TestCounting:
    def test_links(self, parse):
        pdf = FPDF()
        pdf.set_font("helvetica", size=11)
        for name in ("one", "two"):
            pdf.add_page()
            pdf.cell(0, 10, f"A link to {name}", link="https://example.org/")
        assert parse(bytes(pdf.output())).report.links == 2

    def test_a_page_of_glyphs_that_mean_nothing_waits_for_its_picture_to_be_read(self, parse):
        """What many a font without a usable table of characters comes to: places for private use."""
        pdf = FPDF()
        pdf.set_compression(False)
        pdf.add_font("sans", fname=Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
        for font, text in (("helvetica", "Words."), ("sans", "Words that nobody can read.")):
            pdf.add_page()
            pdf.set_font(font, size=11)
            pdf.cell(0, 10, text)
        table = re.compile(rb"(<[0-9A-F]{4}> <)00([0-9A-F]{2}>\s)")
        parsed = parse(table.sub(rb"\1E0\2", bytes(pdf.output())))
        assert parsed.text == "Words."
        assert (parsed.report.pages_empty, parsed.report.pages_waiting) == ((), (2,))
        assert parsed.report.warnings[0].startswith("Page 2: the fonts do not say")


class TestRefusing:
    @pytest.mark.parametrize(
        ("data", "error"),
        [
            (b"%PDF-1.7 and nothing more", Unreadable),
            (make_pdf([Sheet(lines(PLAN))], LOCKED), Encrypted),
            (make_pdf([Sheet(), Sheet()]), NoText),
            (make_pdf([]), Unreadable),
        ],
        ids=["broken", "locked", "blank", "no pages"],
    )
    def test_says_why(self, parse, data: bytes, error: type[Exception]):
        with pytest.raises(error, match=r"\. .+\.$"):
            parse(data)
