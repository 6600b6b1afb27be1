"""The PDF parser reads what other people's programs printed as it was given to them."""

from pathlib import Path

import pytest

from benchmarks.pdf_set import Sample, samples
from benchmarks.text import CHROMIUM, alike, read_sample, shown
from ibid.types import ElementKind

SAMPLES = samples(CHROMIUM)


def param(sample: Sample):
    marks = [pytest.mark.browser, pytest.mark.slow] if sample.producer == "Chromium" else []
    return pytest.param(sample, id=f"{sample.producer}, {sample.name}", marks=marks)


@pytest.fixture(params=map(param, SAMPLES))
def sample(request: pytest.FixtureRequest) -> Sample:
    return request.param


class TestSamples:
    def test_reads_like_its_source(self, sample: Sample, tmp_path: Path):
        parsed = read_sample(sample, tmp_path)
        assert alike(shown(parsed), sample.text) >= 0.98
        assert parsed.report.pages_with_text == parsed.report.pages == sample.pages
        assert (parsed.report.hidden_characters, parsed.report.warnings) == (0, ())


class TestAlike:
    def test_counts_letters_and_not_spaces(self):
        assert alike("one\ntwo  three", " one two three ") == 1
        assert alike("one two", "one too") == pytest.approx(6 / 7)


class TestBoxes:
    def test_letters_from_right_to_left_are_boxed_word_by_word(self, tmp_path: Path):
        (hebrew,) = (item for item in SAMPLES if (item.producer, item.name) == ("matplotlib", "Hebrew"))
        parsed = read_sample(hebrew, tmp_path)
        assert [parsed.text[box.start : box.end] for box in parsed.boxes] == hebrew.text.split()
        first, second = parsed.boxes[:2]
        assert second.box.x1 <= first.box.x0 + 0.01
        assert {element.kind for element in parsed.elements} <= {ElementKind.PARAGRAPH, ElementKind.HEADING}
