import re
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ibid.chat.port import DraftSentence
from ibid.layout import encode_layout
from ibid.types import Box, Element, ElementKind, ParseReport, Support, TextBox
from retrieval import facts
from retrieval.quotes import find, fold
from retrieval.verification import Source, judge

POLICY = (
    "Employees receive 20 days of paid leave each year. Unused leave is not paid out.\n\n"
    "The plan covers dental implants up to $1,500 per year, and 80% of orthodontic treat-\nment. "
    "It does not cover cosmetic surgery.\n\n"
    "Enrolment begins on November 1, 2024 and is handled by Contoso Benefits in Redmond."
)


def source(text: str = POLICY, start: int = 0, end: int | None = None, **more: object) -> Source:
    layout = encode_layout((), (), ParseReport(parser="test"))
    values = {"document": "policy.txt", "layout": layout, "page": None} | more
    return Source(
        document_id="doc_1",
        version_id="ver_1",
        version=1,
        text=text,
        start=start,
        end=len(text) if end is None else end,
        **values,
    )


def judged(said: str, *quotes: str, passages: tuple[int, ...] = (1,), **more: object):
    return judge(DraftSentence(said, passages, quotes), {1: source(**more)})


class TestFind:
    def test_exact_words(self):
        assert find("a cat sat", "cat", 0, 9) == (2, 5)

    def test_prefers_the_passage(self):
        assert find("cat cat cat", "cat", 4, 7) == (4, 7)

    def test_looks_in_the_whole_version_after_the_passage(self):
        assert find("cat dog", "cat", 4, 7) == (0, 3)

    def test_never_within_a_word(self):
        assert find("unable", "able", 0, 6) is None
        assert find("15 days, 5 days", "5 days", 0, 15) == (9, 15)

    def test_in_a_script_without_spaces(self):
        assert find("今日は天気です", "天気", 0, 7) == (3, 5)

    @pytest.mark.parametrize("quote", ["", "  ", "\u200b", "elephant"])
    def test_what_is_not_there(self, quote: str):
        assert find(POLICY, quote, 0, len(POLICY)) is None

    def test_a_word_broken_at_the_line_end(self):
        span = find(POLICY, "orthodontic treatment", 0, len(POLICY))
        assert POLICY[slice(*span)] == "orthodontic treat-\nment"

    def test_a_hyphenated_word_broken_at_its_hyphen(self):
        text = "a well-\nknown plan"
        assert text[slice(*find(text, "well-known plan", 0, len(text)))] == "well-\nknown plan"

    def test_marks_that_look_alike(self):
        text = "He said \u201cdon\u2019t\u201d \u2013 twice\u2026 of\ufb01cially."
        span = find(text, '"don\'t" - twice... officially', 0, len(text))
        assert text[slice(*span)] == "\u201cdon\u2019t\u201d \u2013 twice\u2026 of\ufb01cially"

    @given(st.data())
    def test_survives_what_a_reader_would_not_see(self, data: st.DataObject):
        words = data.draw(
            st.lists(
                st.sampled_from(["plan", "it's", "20%", "the", "well-known", "\u201cyes\u201d", "é😀"]),
                min_size=3,
                max_size=30,
            )
        )
        spaces = st.sampled_from([" ", "\n", "  ", " \n ", "\u00a0"])
        text = words[0] + "".join(data.draw(spaces) + word for word in words[1:])
        bounds = [match.span() for match in re.finditer(r"\S+", text)]
        first = data.draw(st.integers(0, len(bounds) - 1))
        last = data.draw(st.integers(first, len(bounds) - 1))
        original = text[bounds[first][0] : bounds[last][1]]
        perturbed = re.sub(r"\s+", lambda _: data.draw(spaces), original)
        perturbed = data.draw(
            st.sampled_from(
                [
                    perturbed,
                    perturbed.replace("'", "\u2019"),
                    perturbed.replace("\u201c", '"').replace("\u201d", '"'),
                    perturbed.replace("p", "p\u00ad"),
                ]
            )
        )
        span = find(text, perturbed, 0, len(text))
        assert span is not None
        start, end = span
        assert fold(text[start:end]).text == fold(original).text
        assert (start, end) in {(one[0], other[1]) for one in bounds for other in bounds}

    @given(st.text(alphabet="ab-\n \u00ad\u2019\u201c\u2026\ufb01é\u0301\u200b.", max_size=60), st.data())
    def test_any_folded_range_comes_from_a_range_of_the_original(self, text: str, data: st.DataObject):
        folded = fold(text)
        assume(folded.text)
        start = data.draw(st.integers(0, len(folded.text) - 1))
        end = data.draw(st.integers(start + 1, len(folded.text)))
        low, high = folded.origin(start, end)
        assert 0 <= low < high <= len(text)
        assert folded.origin(0, len(folded.text))[0] <= low

    @given(st.text(alphabet="abc .\n'-\u2019", max_size=80), st.text(alphabet="abc .\n'-\u2019", max_size=12))
    def test_what_is_found_reads_like_the_quote(self, text: str, quote: str):
        span = find(text, quote, 0, len(text))
        if span is None:
            assert (
                quote.strip() not in text
                or re.search(rf"(?<!\w){re.escape(quote.strip())}(?!\w)", text) is None
                or not quote.strip()
            )
        else:
            found = text[slice(*span)]
            assert any(
                fold(found, hyphen=h).text.strip() == fold(quote, hyphen=h).text.strip() for h in ("", "-")
            )


class TestJudge:
    def test_own_words_are_verified(self):
        result = judged("Unused leave is not paid out.", "Unused leave is not paid out.")
        assert result.support is Support.VERIFIED
        (place,) = result.evidence
        assert place.quote == POLICY[place.start : place.end] == "Unused leave is not paid out."

    def test_own_words_without_a_quote_are_found(self):
        assert judged("Unused leave is not paid out.").support is Support.VERIFIED

    def test_paraphrase_with_quote(self):
        result = judged(
            "Employees receive 20 paid days of leave each year.", "20 days of paid leave each year"
        )
        assert result.support is Support.VERIFIED
        assert result.evidence[0].quote == "20 days of paid leave each year"

    def test_paraphrase_without_quote_gets_the_best_span(self):
        result = judged("The plan covers dental implants up to $1,500.")
        assert result.support is Support.VERIFIED
        assert result.evidence[0].quote.startswith("The plan covers dental implants")

    def test_words_cut_out_of_their_negation(self):
        result = judged("The plan covers cosmetic surgery.", "cover cosmetic surgery")
        assert (result.support, result.reason, result.evidence) == (Support.UNSUPPORTED, "negation", ())

    def test_negation_added(self):
        assert judged("The plan does not cover dental implants.").reason == "negation"

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("Employees receive 25 days of paid leave each year.", "number"),
            ("The plan covers dental implants up to 1,500% per year.", "number"),
            ("Enrolment begins on November 2, 2024 and is handled by Contoso Benefits in Redmond.", "date"),
            ("Enrolment begins on November 1, 2024 and is handled by Fabrikam Benefits in Redmond.", "name"),
        ],
    )
    def test_a_wrong_fact_is_never_verified(self, text: str, reason: str):
        result = judged(text)
        assert result.support is not Support.VERIFIED
        assert result.reason == reason

    def test_a_date_in_another_order(self):
        text = "Enrolment begins on 1 November 2024 and is handled by Contoso Benefits in Redmond."
        assert judged(text).support is Support.VERIFIED

    def test_a_quote_that_is_nowhere_is_not_verified(self):
        result = judged(
            "Unused leave is not paid out.", "Unused leave is not paid out.", "Leave is wonderful."
        )
        assert (result.support, result.reason) == (Support.PARTIALLY_SUPPORTED, "quote_not_found")

    def test_nothing_to_do_with_the_passages(self):
        result = judged("Sourdough needs a warm kitchen.")
        assert (result.support, result.evidence) == (Support.UNSUPPORTED, ())

    def test_unknown_passages_are_ignored(self):
        assert judged("Unused leave is not paid out.", passages=(7,)).support is Support.VERIFIED

    def test_a_name_in_the_documents_name_is_known(self):
        text = "The Northwind plan covers dental implants up to $1,500 per year."
        assert judged(text).reason == "name"
        assert judged(text, document="Northwind_Health.pdf").support is Support.VERIFIED

    def test_page_and_boxes_are_of_the_words(self):
        text = "One two. Three four."
        boxes = [
            TextBox(m.start(), m.end(), Box(2, m.start() / 100, 0.1, m.end() / 100, 0.2))
            for m in re.finditer(r"\S+", text)
        ]
        layout = encode_layout([Element(ElementKind.PARAGRAPH, 0, 20, page=2)], boxes, ParseReport("test"))
        (place,) = judged("Three four.", text=text, layout=layout, page=1).evidence
        assert place.page == 2
        assert place.boxes == (Box(2, 0.09, 0.1, 0.2, 0.2),)

    def test_page_falls_back_to_the_chunks(self):
        (place,) = judged("Three four.", text="One two. Three four.", page=9).evidence
        assert (place.page, place.boxes) == (9, ())

    @given(st.text(max_size=200), st.text(max_size=50), st.lists(st.text(max_size=30), max_size=3))
    def test_a_quote_is_always_a_slice(self, text: str, said: str, quotes: list[str]):
        result = judge(DraftSentence(said, (1,), tuple(quotes)), {1: source(text)})
        for place in result.evidence:
            assert 0 <= place.start < place.end <= len(text)
            assert place.quote == text[place.start : place.end]
        assert result.evidence or result.support is Support.UNSUPPORTED


class TestFacts:
    def test_numerals(self):
        found = {(n.value, n.unit) for n in facts.numerals("$1,000.50, twenty percent, 3 million and 7%")}
        assert found == {("1000.5", "$"), ("20", "%"), ("3000000", ""), ("7", "%")}

    def test_dates(self):
        found, rest = facts.dates("On 2024-01-05, March 3rd, 4 May 2023 and June 2022; 17 left.")
        assert found == {(2024, 1, 5), (None, 3, 3), (2023, 5, 4), (2022, 6, None)}
        assert "17" in rest
        assert "2024" not in rest

    def test_names_do_not_count_at_the_beginning_of_a_sentence(self):
        assert facts.proper_names("Leave is given. The HR team of Contoso says so.") == {"hr", "contoso"}

    @pytest.mark.parametrize(
        ("one", "other", "clash"),
        [
            ("It covers glasses.", "It does not cover glasses.", True),
            ("It doesn’t cover glasses.", "It covers glasses.", True),
            ("It does not cover glasses.", "Glasses are not covered.", False),
            ("They may work at home.", "They need not ask; they may work at home.", False),
            ("It covers glasses.", "It covers hearing aids, but not cosmetic lenses.", False),
        ],
    )
    def test_negation(self, one: str, other: str, clash: bool):
        assert facts.contradicts(fold(one).text, fold(other).text) is clash


def test_long_texts_are_folded_in_linear_time(tmp_path: Path):
    text = "It\u2019s the “plan” – of-\nficial\u2026 " * 20_000
    assert find(text, "nowhere at all", 0, 10) is None
