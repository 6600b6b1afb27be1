import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibid.chat.port import DraftSentence, ModelFailed, NoAnswer
from ibid.chat.reading import LONGEST, MarkedReader, QuotedReader, Reader

MARKED = (
    "Staff have 20 days of leave [1]. It is due by 3. Oktober at Contoso Inc. and not before. [2][3]\n\n"
    "- Dr. Smith signs it [4]\n- The desk keeps a copy (passage 2)\n"
)
REPLY = {
    "answered": True,
    "sentences": [
        {"text": "Staff have 20 days.", "evidence": [{"passage": 1, "quote": "20 days } of {leave"}]},
        {"text": 'The desk keeps "it".', "evidence": []},
        {"text": "Two say so.", "evidence": [{"passage": 2, "quote": "a"}, {"passage": 2, "quote": "b"}]},
    ],
}


def drafted(reader: Reader, pieces: list[str]) -> list[object]:
    found = [each for piece in pieces for each in reader.read(piece)]
    return [*found, *reader.end()]


def cut(text: str, places: list[int]) -> list[str]:
    borders = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[begin:end] for begin, end in pairwise(borders)]


class TestMarked:
    def test_sentences_with_their_passages(self):
        assert drafted(MarkedReader(), [MARKED]) == [
            DraftSentence("Staff have 20 days of leave.", (1,)),
            DraftSentence("It is due by 3. Oktober at Contoso Inc. and not before.", (2, 3)),
            DraftSentence("- Dr. Smith signs it", (4,)),
            DraftSentence("- The desk keeps a copy", (2,)),
        ]

    @given(st.lists(st.integers(0, 500), max_size=60))
    def test_however_it_is_cut(self, places: list[int]):
        assert drafted(MarkedReader(), cut(MARKED, places)) == drafted(MarkedReader(), [MARKED])

    @given(st.text("ab. T1[]\n!", max_size=80), st.lists(st.integers(0, 80), max_size=20))
    def test_no_word_is_lost_or_said_twice(self, text: str, places: list[int]):
        whole = " ".join(each.text for each in drafted(MarkedReader(), [text]))
        assert "".join(each.text for each in drafted(MarkedReader(), cut(text, places))).replace(
            " ", ""
        ).replace("\n", "") == whole.replace(" ", "").replace("\n", "")

    def test_a_sentence_is_given_as_soon_as_it_is_over(self):
        reader = MarkedReader()
        assert list(reader.read("Staff have 20 days")) == []
        assert list(reader.read(" [1].")) == []
        assert list(reader.read(" ")) == []
        assert list(reader.read("I")) == [DraftSentence("Staff have 20 days.", (1,))]

    def test_markers_behind_it_are_waited_for(self):
        reader = MarkedReader()
        assert [each for letter in "Staff have 20 days. [1] [2" for each in reader.read(letter)] == []
        assert list(reader.read("] It")) == [DraftSentence("Staff have 20 days.", (1, 2))]

    def test_a_sentence_in_brackets_is_one(self):
        text = "Staff have 20 days. (It was 18 until the year before this one.) [1] So it is."
        expected = ["Staff have 20 days.", "(It was 18 until the year before this one.)", "So it is."]
        for pieces in ([text], list(text)):
            assert [each.text for each in drafted(MarkedReader(), pieces)] == expected

    def test_an_abbreviation_waits_for_what_follows(self):
        reader = MarkedReader()
        assert list(reader.read("It is owned by Contoso Inc. ")) == []
        assert list(reader.read("and ")) == []
        assert [each.text for each in reader.end()] == ["It is owned by Contoso Inc. and"]

    @pytest.mark.parametrize("text", ["NO ANSWER", " no answer.\n", "**NO ANSWER**"])
    def test_no_answer(self, text: str):
        assert drafted(MarkedReader(), list(text)) == [NoAnswer()]

    def test_thoughts_are_not_said(self):
        text = "<think>The user wants leave. Passage 1 says 20.</think>\nStaff have 20 days [1]."
        assert drafted(MarkedReader(), list(text)) == [DraftSentence("Staff have 20 days.", (1,))]

    @pytest.mark.parametrize(
        "marker",
        ["[1]", "[1, 2]", "[1-3]", "【1†source】", "[^1]", "[Passage 1]", "(source 1)", "[#1]", "[1][2]"],
    )
    def test_no_marker_is_left(self, marker: str):
        found = drafted(MarkedReader(), [f"Staff have 20 days {marker}. So it {marker} is."])
        assert [each.text for each in found] == ["Staff have 20 days.", "So it is."]
        assert all(1 in each.passages for each in found)

    @pytest.mark.parametrize(
        ("marker", "passages"),
        [
            ("[1-3]", (1, 2, 3)),
            ("[1, 3]", (1, 3)),
            ("[2][4]", (2, 4)),
            ("\u30103\u20207.pdf\u3011", (3,)),
            ("[5-2]", ()),
        ],
    )
    def test_passages_that_a_marker_names(self, marker: str, passages: tuple[int, ...]):
        (found,) = drafted(MarkedReader(), [f"Staff have 20 days {marker}."])
        assert found == DraftSentence("Staff have 20 days.", passages)

    def test_numbers_in_brackets_that_are_none_stay(self):
        (found,) = drafted(MarkedReader(), ["The range [2019] and f(3) stay."])
        assert found == DraftSentence("The range [2019] and f(3) stay.")

    def test_without_end(self):
        with pytest.raises(ModelFailed):
            list(MarkedReader().read("word " * LONGEST))


class TestQuoted:
    def test_sentences_with_their_quotes(self):
        assert drafted(QuotedReader(), [json.dumps(REPLY)]) == [
            DraftSentence("Staff have 20 days.", (1,), ("20 days } of {leave",)),
            DraftSentence('The desk keeps "it".'),
            DraftSentence("Two say so.", (2,), ("a", "b")),
        ]

    @given(st.lists(st.integers(0, 500), max_size=60))
    def test_however_it_is_cut(self, places: list[int]):
        text = json.dumps(REPLY, indent=1)
        assert drafted(QuotedReader(), cut(text, places)) == drafted(QuotedReader(), [text])

    @pytest.mark.parametrize(("upto", "given"), [('}]}, {"text": "The', 1), ("[]}", 2), ('[]}, {"te', 2)])
    def test_a_sentence_is_given_as_soon_as_it_is_over(self, upto: str, given: int):
        text = json.dumps(REPLY)
        for size in (1, 1000):
            reader = QuotedReader()
            read = text[: text.index(upto) + len(upto)]
            pieces = [read[at : at + size] for at in range(0, len(read), size)]
            assert len([each for piece in pieces for each in reader.read(piece)]) == given

    def test_no_answer(self):
        assert drafted(QuotedReader(), ['{"answered": false, "sentences": []}']) == [NoAnswer()]

    def test_in_a_fence(self):
        text = f"```json\n{json.dumps(REPLY)}\n```"
        assert len(drafted(QuotedReader(), list(text))) == 3

    @pytest.mark.parametrize(
        "text", ["", "Staff have 20 days.", '{"answered": true', '{"sentences": []}', "[]"]
    )
    def test_malformed(self, text: str):
        with pytest.raises(ModelFailed) as failed:
            drafted(QuotedReader(), [text])
        assert failed.value.fault == "malformed"
