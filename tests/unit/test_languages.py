import pytest

from ibid.types import ElementKind, Parsed, ParseReport
from ingest.canonical import TextBuilder
from ingest.parsing.languages import languages_of, with_languages

ENGLISH = "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience."
SPANISH = "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como están de razón y conciencia."
GERMAN = "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt."


def parsed(*pieces: tuple[ElementKind, str], **report: tuple[str, ...]) -> Parsed:
    builder = TextBuilder()
    for kind, text in pieces:
        builder.add(kind, text)
    return Parsed(builder.text(), builder.elements(), (), ParseReport("test", **report))


def told(*pieces: tuple[ElementKind, str]) -> tuple[str, ...]:
    document = parsed(*pieces)
    return languages_of(document.text, document.elements)


def prose(text: str) -> tuple[ElementKind, str]:
    return ElementKind.PARAGRAPH, text


class TestLanguagesOf:
    @pytest.mark.parametrize(
        ("text", "code"),
        [
            (ENGLISH, "en"),
            (SPANISH, "es"),
            (GERMAN, "de"),
            ("Tous les êtres humains naissent libres et égaux en dignité et en droits.", "fr"),
            ("Все люди рождаются свободными и равными в своем достоинстве и правах.", "ru"),
            ("يولد جميع الناس أحراراً متساوين في الكرامة والحقوق", "ar"),
            ("すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。", "ja"),
            ("人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心。", "zh"),
        ],
    )
    def test_one(self, text: str, code: str):
        assert told(prose(text)) == (code,)

    def test_the_most_used_comes_first(self):
        assert told(prose(SPANISH), *[prose(GERMAN)] * 3, *[prose(ENGLISH)] * 2) == ("de", "en", "es")

    def test_two_in_one_paragraph(self):
        assert set(told(prose(f"{ENGLISH * 4} {SPANISH * 3}"))) == {"en", "es"}

    def test_a_quotation_is_no_language_of_the_document(self):
        assert told(*[prose(ENGLISH)] * 60, prose(SPANISH)) == ("en",)

    @pytest.mark.parametrize(
        "piece",
        [
            (ElementKind.CODE, ENGLISH),
            (ElementKind.HIDDEN, ENGLISH),
            (ElementKind.METADATA, ENGLISH),
            (ElementKind.TABLE, "1 | 2 | 3\n4 | 5 | 6"),
            prose("12.5 %"),
            prose("x"),
        ],
    )
    def test_what_is_no_prose_has_none(self, piece: tuple[ElementKind, str]):
        assert told(piece) == ()

    def test_nothing(self):
        assert languages_of("", ()) == ()

    def test_a_long_text_is_sampled_from_end_to_end(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("ingest.parsing.languages._MOST_PIECES", 10)
        assert told(*[prose(ENGLISH)] * 200, *[prose(GERMAN)] * 150) == ("en", "de")


class TestWithLanguages:
    def test_fills_the_report_and_nothing_else(self):
        document = parsed(prose(GERMAN))
        filled = with_languages(document)
        assert filled.report.languages == ("de",)
        assert (filled.text, filled.elements) == (document.text, document.elements)

    def test_a_parser_that_knows_is_believed(self):
        assert with_languages(parsed(prose(GERMAN), languages=("nl",))).report.languages == ("nl",)
