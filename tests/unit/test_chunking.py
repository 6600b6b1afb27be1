import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibid.embedding.texts import encoder_text
from ibid.types import Chunk, ChunkerConfig, ElementKind, Parsed, ParseReport
from ingest.canonical import TextBuilder
from ingest.chunking import chunk

LEFT_OUT = {ElementKind.HEADER, ElementKind.FOOTER, ElementKind.HIDDEN}
Piece = tuple[ElementKind, str, int | None, tuple[str, ...]]


def count(texts):
    return [len(re.findall(r"\w+|[^\w\s]", text)) for text in texts]


def in_parts(texts):
    """As a tokenizer counts that takes letters apart: more tokens than characters."""
    return [2 * len(re.sub(r"\s", "", text)) for text in texts]


def parsed(*pieces: Piece) -> Parsed:
    builder = TextBuilder()
    for kind, text, page, path in pieces:
        builder.add(kind, text, page=page, heading_path=path)
    return Parsed(builder.text(), builder.elements(), (), ParseReport("test"))


def paragraph(text: str, page: int | None = None, *path: str) -> Piece:
    return ElementKind.PARAGRAPH, text, page, path


def heading(text: str, page: int | None = None, *path: str) -> Piece:
    return ElementKind.HEADING, text, page, path


def words(number: int, name: str = "word") -> str:
    return " ".join(f"{name}{index}" for index in range(number - 1)).capitalize() + "."


def texts(chunks: tuple[Chunk, ...]) -> list[str]:
    return [made.text for made in chunks]


SENTENCES = st.lists(st.integers(1, 30).map(words), min_size=1, max_size=6).map(" ".join)
DOCUMENTS = st.lists(
    st.tuples(
        st.sampled_from(ElementKind),
        SENTENCES
        | st.text(min_size=1, max_size=80)
        | st.lists(st.sampled_from(["a | b | c", "one more name | and another one | last"]), min_size=1).map(
            "\n".join
        ),
        st.integers(0, 1),
        st.lists(st.sampled_from(["A", "B", words(9), words(40), "x" * 300, " a  b "]), max_size=3).map(
            tuple
        ),
    ),
    max_size=30,
)
CONFIGS = st.builds(
    ChunkerConfig,
    max_tokens=st.integers(1, 60),
    min_tokens=st.integers(0, 20),
    overlap_sentences=st.integers(0, 5),
)


@st.composite
def documents(draw: st.DrawFn) -> Parsed:
    page = 1
    pieces = []
    for kind, text, turn, path in draw(DOCUMENTS):
        page += turn
        pieces.append((kind, text, page, path))
    return parsed(*pieces)


class TestChunk:
    @settings(deadline=None)
    @given(documents(), CONFIGS)
    def test_invariants(self, document: Parsed, config: ChunkerConfig):
        chunks = chunk(document, config, count)
        assert [made.ordinal for made in chunks] == list(range(len(chunks)))
        assert all(document.text[made.start : made.end] == made.text != "" for made in chunks)
        assert all(a.start < b.start and a.end < b.end for a, b in pairwise(chunks))
        assert chunk(document, config, count) == chunks
        covered = {at for made in chunks for at in range(made.start, made.end)}
        for element in document.elements:
            inside = {at for at in range(element.start, element.end) if not document.text[at].isspace()}
            assert inside.isdisjoint(covered) if element.kind in LEFT_OUT else inside <= covered
        for made in chunks:
            assert made.tokens <= config.max_tokens or len(made.text.split()) == 1
            assert made.tokens == count([made.text])[0]
            read = made.tokens + count([encoder_text(made.heading_path, "")])[0]
            room = config.max_tokens + config.max_tokens // 4
            assert read <= room or len(made.text.split()) == 1 or config.max_tokens < 8
        if not config.overlap_sentences:
            assert all(a.end <= b.start for a, b in pairwise(chunks))

    def test_the_first_line_of_a_short_text_stands_above_the_rest(self):
        texts = [
            paragraph("On pumps and their repair"),
            *(paragraph(words(50, f"p{at}x")) for at in range(6)),
        ]
        short, long = (
            chunk(parsed(*texts * times), ChunkerConfig(max_tokens=100), count) for times in (1, 9)
        )
        assert [made.heading_path for made in short] == [
            (),
            *[("On pumps and their repair",)] * (len(short) - 1),
        ]
        assert len(short) > 2
        assert {made.heading_path for made in long} == {()}

    @pytest.mark.parametrize(
        "first", [words(90), "A title | with a bar"], ids=["a long first line", "a table"]
    )
    def test_nothing_else_at_the_beginning_stands_above_the_rest(self, first: str):
        kind = ElementKind.TABLE if "|" in first else ElementKind.PARAGRAPH
        texts = [(kind, first, None, ()), *(paragraph(words(50, f"p{at}x")) for at in range(6))]
        assert {made.heading_path for made in chunk(parsed(*texts), ChunkerConfig(), count)} == {()}

    def test_headings_are_counted_however_short_they_are(self):
        piece = paragraph(words(40), None, "연차휴가", "규정")
        (made, *_) = chunk(parsed(piece), ChunkerConfig(max_tokens=40), in_parts)
        assert made.heading_path == ("규정",)

    def test_long_headings_leave_the_chunk_its_room(self):
        near, far = words(12, "near"), words(30, "far")
        made = chunk(
            parsed(paragraph(words(70), None, "Top", far, near)), ChunkerConfig(max_tokens=80), count
        )
        assert made[0].heading_path == ("Top", " ".join(far.split()[:8]), near)

    def test_counts_tokens_in_few_calls(self):
        calls = []

        def counting(texts):
            calls.append(len(texts))
            return count(texts)

        document = parsed(*(paragraph(words(300)) for _ in range(20)))
        chunk(document, ChunkerConfig(max_tokens=50, min_tokens=10), counting)
        # Sentences of more than a thousand characters are cut before they are counted, each of these in three.
        assert calls[0] == 60
        assert len(calls) <= 4

    def test_a_document_of_nothing(self):
        assert chunk(Parsed("", (), (), ParseReport("p")), ChunkerConfig(), count) == ()

    def test_headings_begin_chunks(self):
        document = parsed(
            heading("One"),
            paragraph(words(30), None, "One"),
            heading("Two"),
            paragraph(words(30), None, "Two"),
        )
        chunks = chunk(document, ChunkerConfig(max_tokens=100, min_tokens=10), count)
        assert [made.text.split("\n")[0] for made in chunks] == ["One", "Two"]
        assert [made.heading_path for made in chunks] == [("One",), ("Two",)]

    def test_pages_part_chunks(self):
        document = parsed(paragraph(words(30), 1), paragraph(words(5), 2))
        assert [made.page for made in chunk(document, ChunkerConfig(), count)] == [1, 2]

    def test_a_heading_goes_with_its_text_over_the_page(self):
        document = parsed(paragraph(words(30), 1), heading("Next", 1), paragraph(words(30), 2, "Next"))
        assert texts(chunk(document, ChunkerConfig(), count)) == [words(30), f"Next\n\n{words(30)}"]

    def test_page_headers_and_footers_are_in_no_chunk(self):
        document = parsed(
            paragraph("Before it.", 1),
            (ElementKind.FOOTER, "Page 1", 1, ()),
            (ElementKind.HEADER, "Head", 2, ()),
            paragraph("After it.", 2),
        )
        assert texts(chunk(document, ChunkerConfig(), count)) == ["Before it.", "After it."]

    def test_small_sections_share_a_chunk(self):
        pieces = [piece for name in "ABCD" for piece in (heading(name), paragraph(words(4), None, name))]
        assert len(chunk(parsed(*pieces), ChunkerConfig(max_tokens=100, min_tokens=15), count)) == 2

    def test_a_small_rest_is_joined_or_shared(self):
        document = parsed(*(paragraph(words(size)) for size in (40, 40, 8)))
        sizes = [made.tokens for made in chunk(document, ChunkerConfig(max_tokens=90, min_tokens=20), count)]
        assert sizes == [88]

    def test_a_long_paragraph_is_cut_between_sentences(self):
        sentences = [words(20, f"s{index}x") for index in range(10)]
        chunks = chunk(
            parsed(paragraph(" ".join(sentences))), ChunkerConfig(max_tokens=50, min_tokens=10), count
        )
        assert texts(chunks) == [
            " ".join(pair) for pair in zip(sentences[0::2], sentences[1::2], strict=True)
        ]

    def test_table_rows_stay_whole(self):
        rows = [f"name {index} | {index} | yes" for index in range(40)]
        chunks = chunk(
            parsed((ElementKind.TABLE, "\n".join(rows), None, ())), ChunkerConfig(max_tokens=40), count
        )
        assert len(chunks) > 5
        assert [row for made in chunks for row in made.text.split("\n")] == rows

    @pytest.mark.parametrize(
        "top",
        ["Name | Count | Here", "Staff in June | | \nName | Count | Here", " | Count | Here"],
        ids=["names", "a title above", "no name for the first"],
    )
    def test_rows_have_the_names_of_their_columns_as_heading(self, top: str):
        rows = [f"name {index} | {index} | yes" for index in range(40)]
        table = (ElementKind.TABLE, "\n".join([top, *rows]), None, ("Staff",))
        chunks = chunk(parsed(table), ChunkerConfig(max_tokens=60), count)
        assert len(chunks) > 4
        assert chunks[0].text.startswith(top.strip())
        assert chunks[0].heading_path == ("Staff",)
        names = top.rpartition("\n")[2].strip()
        assert [made.heading_path for made in chunks[1:]] == [("Staff", names)] * (len(chunks) - 1)
        # What the encoder reads is the chunk and its headings: both are within the budget.
        assert all(made.tokens + count([names])[0] <= 60 for made in chunks[1:])

    def test_long_names_of_columns_are_cut(self):
        rows = [" | ".join(f"c{at}" for at in range(30)), *(" | ".join("1" * 30) for _ in range(9))]
        chunks = chunk(
            parsed((ElementKind.TABLE, "\n".join(rows), None, ())), ChunkerConfig(max_tokens=80), count
        )
        assert chunks[1].heading_path[0].startswith("c0 | c1 | c2 |")
        assert all(made.tokens + count(made.heading_path[:1])[0] <= 80 for made in chunks[1:])

    def test_each_table_has_its_own_names(self):
        tables = [
            (
                ElementKind.TABLE,
                "\n".join([f"{name} | Count", *(f"x{at} | {at}" for at in range(20))]),
                None,
                (),
            )
            for name in ("Fish", "Bird")
        ]
        chunks = chunk(parsed(*tables), ChunkerConfig(max_tokens=30, min_tokens=5), count)
        named = {made.heading_path[0] for made in chunks if made.heading_path}
        assert named == {"Fish | Count", "Bird | Count"}
        fish = len(tables[0][1])
        assert all(made.start < fish for made in chunks if made.heading_path == ("Fish | Count",))
        assert all(made.start > fish for made in chunks if made.heading_path == ("Bird | Count",))

    def test_an_edit_moves_few_borders(self):
        before = [paragraph(words(12 + 7 * (index % 5), f"p{index}x")) for index in range(120)]
        after = [paragraph("A new paragraph was put here. It is short."), *before]
        config = ChunkerConfig(max_tokens=100, min_tokens=20)
        old, new = (texts(chunk(parsed(*pieces), config, count)) for pieces in (before, after))
        same = len(set(old) & set(new))
        assert old[-same:] == new[-same:]
        assert same > 0.75 * len(old)

    @pytest.mark.parametrize("overlap", [1, 2])
    def test_overlap_repeats_sentences(self, overlap: int):
        sentences = [words(10, f"s{index}x") for index in range(18)]
        config = ChunkerConfig(max_tokens=65, min_tokens=10, overlap_sentences=overlap)
        chunks = chunk(parsed(paragraph(" ".join(sentences))), config, count)
        assert all(made.tokens <= 65 for made in chunks)
        assert len(chunks) > 2
        assert all(a.end - b.start > 30 * overlap for a, b in pairwise(chunks))
