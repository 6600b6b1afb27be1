import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibid.sentences import MAX_CHARS, spans

PROSE = st.lists(
    st.sampled_from(
        [
            "The plan pays. ",
            "Dr. Lee",
            " asked",
            "?",
            "!",
            "...",
            "e.g. ",
            "U.S. ",
            "No. 5 ",
            "$3.50",
            " 1.2.3 ",
            "\n",
            "\n\n",
            "• item",
            "1. ",
            "# Head",
            "“quoted.” ",
            ".) ",
            "。",
            "！",
            "文",
            "\t",
            " ",
            "a | b",
            "\u00a0",
            "x" * 300,
        ]
    )
).map("".join)


def texts(text: str) -> list[str]:
    return [text[start:end] for start, end in spans(text)]


class TestSpans:
    @pytest.mark.parametrize(
        "sentences",
        [
            ["Dr. Smith paid $3.50 for it.", "Version 1.2.3 is out!"],
            ["See No. 5 and Fig. 2, e.g. the U.S. map.", "It is new."],
            ["He lives in the U.S.", "The weather is fine."],
            ["He said no.", "Then he left."],
            [
                "Die Gebühren, z.B. für Strom, steigen am 3. Oktober bzw. Anfang 2026.",
                "Das gilt nach § 5 Abs. 2.",
            ],
            ["Im 19. Jahrhundert galt Nr. 7.", "Äpfel, Birnen usw.", "Die gibt es noch."],
            ["Voir p. ex. la page 3, env. 5 km.", "Les navires arrivent."],
            ["El Sr. López y la Sra. Díaz viven en EE.UU. desde 1999 (pág. 4).", "Los niños también."],
            ["De prijs is bijv. 5 euro, d.w.z. weinig.", "Het schip vaart."],
            ["It took 3 days.", "Tag it."],
            ["A delay of 24 hr.", "The next was shorter."],
            ["J. R. Smith and M. Jones wrote it.", "We read it."],
            ["The bank opens at 9 a.m. on Monday.", "It closes at 5 p.m.", "The manager is there."],
            ["“Why?” he asked.", "“Because.”", "Nobody spoke."],
            ["It works (see Sec. 3).", "(He left.)", "[She stayed.]"],
            ["Go on...", "Then stop…", "Maybe."],
            ["It is shown.[1]", "The next one is not."],
            ["Read example.com/a.b today.", "It helps."],
            ["The deal with Apple Inc. of Cupertino closed.", "All were glad."],
        ],
    )
    def test_prose(self, sentences: list[str]):
        assert texts(" ".join(sentences)) == sentences

    def test_stops_without_spaces(self):
        assert texts("これは文です。次の文です！本当？はい") == [
            "これは文です。",
            "次の文です！",
            "本当？",
            "はい",
        ]

    def test_a_blank_line_always_ends(self):
        assert texts("without a stop\n\nand on\n \t\nand on") == ["without a stop", "and on", "and on"]

    def test_a_line_end_in_a_paragraph_does_not(self):
        text = "The plan pays for\nvisits to any doctor of\nthe network."
        assert texts(text) == [text]

    def test_list_items(self):
        items = ["We pay for:", "• gyms", "• yoga. And pilates", "1. First item", "2) Second", "- third"]
        assert texts("\n".join(items)) == [*items[:2], "• yoga.", "And pilates", *items[3:]]

    def test_a_heading_over_its_paragraph(self):
        text = "Eligibility\nAll employees who work more than twenty hours a week are eligible\nfor the plan."
        assert texts(text) == ["Eligibility", text[len("Eligibility\n") :]]

    def test_table_rows(self):
        assert texts("Team | City\nBlues | St. Louis\n | 3") == ["Team | City", "Blues | St. Louis", "| 3"]

    def test_long_runs_are_cut_at_white_space(self):
        found = texts("word " * 1_000)
        assert max(map(len, found)) <= MAX_CHARS
        assert "".join(found).replace(" ", "") == "word" * 1_000
        assert all(part.startswith("word") and part.endswith("word") for part in found)

    def test_a_word_without_end_is_cut_all_the_same(self):
        assert spans("x" * 2_500) == [(0, 1_000), (1_000, 2_000), (2_000, 2_500)]

    def test_a_part_of_a_text(self):
        text = "One is here. Two is here. Three is here."
        assert [text[a:b] for a, b in spans(text, 13, 30)] == ["Two is here.", "Thre"]
        assert spans(text, 5, 5) == []
        assert spans("") == []

    @settings(deadline=None)
    @given(PROSE | st.text(), st.integers(0, 50), st.integers(0, 400))
    def test_cover_every_character_that_is_not_space(self, text: str, start: int, length: int):
        found = spans(text, start, start + length)
        stop = min(start + length, len(text))
        covered = {at for begin, end in found for at in range(begin, end)}
        assert covered >= {at for at in range(start, stop) if not text[at].isspace()}
        assert all(begin < end for begin, end in found)
        assert [offset for span in found for offset in span] == sorted(
            offset for span in found for offset in span
        )
        assert all(start <= begin and end <= stop for begin, end in found)
        assert all(text[begin:end] == text[begin:end].strip() for begin, end in found)
        assert all(end - begin <= MAX_CHARS for begin, end in found)

    @pytest.mark.parametrize(
        "piece", [".", "a. ", "x\n", '("a. ', "x", " ", ". ", "a.\n", ".]", "[1]", "1.\n", "\n \t", "! a"]
    )
    def test_work_grows_with_the_length_only(self, piece: str):
        short, long = (steps(piece * (size // len(piece))) for size in (12_000, 48_000))
        assert long <= 4.4 * short + 200

    def test_a_megabyte_of_dots(self):
        # Would not end in this century if a stop were looked for again from each dot.
        assert spans("." * 1_000_000)[-1] == (999_000, 1_000_000)


def steps(text: str) -> int:
    """Lines of Python run, a measure of work that does not depend on the machine."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        spans(text)
    finally:
        sys.settrace(before)
    return count
