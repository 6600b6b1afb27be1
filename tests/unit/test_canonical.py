import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from ibid.types import ElementKind
from ingest.canonical import TextBuilder, clean

ANY = st.text(alphabet=st.characters(codec=None, categories=None))


class TestClean:
    def test_line_ends_become_one(self):
        assert clean("a\r\nb\rc\u2028d\u2029e\x85f\x0bg\x0ch") == "a\nb\nc\nd\ne\nf\ng\nh"

    def test_what_nobody_sees_goes(self):
        assert clean("a\x00b\u00adc\u200bd\ufeffe\x07f\u202eg\U000e0041h") == "abcdefgh"

    def test_what_shapes_letters_stays(self):
        assert clean("👩\u200d💻 می\u200cخواهم\tx") == "👩\u200d💻 می\u200cخواهم\tx"

    def test_composes(self):
        assert clean("Zu\u0308rich") == "Zürich"

    def test_lone_surrogates_become_visible(self):
        assert clean("a\ud800b") == "a\ufffdb"

    @settings(deadline=None)
    @given(ANY)
    def test_is_canonical_and_idempotent(self, text: str):
        cleaned = clean(text)
        assert clean(cleaned) == cleaned
        assert "\x00" not in cleaned
        assert "\r" not in cleaned
        assert unicodedata.is_normalized("NFC", cleaned)
        cleaned.encode()


class TestTextBuilder:
    @settings(deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(ElementKind), ANY)))
    def test_elements_are_slices(self, pieces: list[tuple[ElementKind, str]]):
        builder = TextBuilder()
        starts = [builder.add(kind, text, page=1, heading_path=("H",)) for kind, text in pieces]
        text, elements = builder.text(), builder.elements()
        kept = [(kind, clean(piece).strip()) for kind, piece in pieces if clean(piece).strip()]
        assert [(element.kind, text[element.start : element.end]) for element in elements] == kept
        assert [start for start in starts if start is not None] == [element.start for element in elements]
        assert clean(text) == text

    def test_elements_stand_apart(self):
        builder = TextBuilder()
        builder.add(ElementKind.HEADING, " Head ")
        builder.add(ElementKind.PARAGRAPH, " \n ")
        builder.add(ElementKind.PARAGRAPH, "Body.")
        assert builder.text() == "Head\n\nBody."
