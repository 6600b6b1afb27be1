"""Verification: where the words stand that carry a drafted sentence, and whether they do.

A citation is made only from offsets into the canonical text of the version whose passage the model was shown, so its
quote is that text's slice by construction. What is judged is whether these words support the sentence.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from ibid.chat.port import DraftSentence
from ibid.layout import Layout, boxes_of, decode_layout, page_of
from ibid.sentences import spans
from ibid.terms import terms
from ibid.types import Box, Support
from retrieval import facts
from retrieval.quotes import Span, find, same

FULL: Final = 0.9
SOME: Final = 0.5
"""Shares of a sentence's terms that its evidence must hold to count as full and as partial support.

Of the expert claims of SciFact (1,211 pairs with an abstract) that come out verified, 88 % are supported by it at 0.9,
69 % at 0.8 and 64 % at 0.6: words alone do not tell `raises` from `lowers`.
"""
WIDEST: Final = 3
"""A best supporting span is at most so many sentences."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A passage [start, end) of a version with the whole canonical text around it. `page` is the chunk's.

    `layout` is as stored; it is decoded only where words are cited.
    """

    document_id: str
    document: str
    version_id: str
    version: int
    text: str
    layout: bytes
    start: int
    end: int
    page: int | None
    heading: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """The words [start, end) of a version that a sentence rests on, with a box for each line of them."""

    document_id: str
    version_id: str
    start: int
    end: int
    quote: str
    page: int | None
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """A range of a source's text that may be evidence."""

    source: Source
    start: int
    end: int

    @property
    def quote(self) -> str:
        return self.source.text[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Judged:
    """A drafted sentence with its support, the reason if that is not full, and the words it rests on."""

    text: str
    support: Support
    evidence: tuple[Evidence, ...]
    reason: str | None = None


def judge(draft: DraftSentence, sources: Mapping[int, Source]) -> Judged:
    """How far the passages that a drafted sentence names carry it. `sources` are the prompt's passages by number."""
    named = [sources[n] for n in dict.fromkeys(draft.passages) if n in sources] or list(sources.values())
    quoted, lost = _quoted(draft, named)
    places = quoted or _best(draft.text, named)
    if not places:
        return Judged(draft.text, Support.UNSUPPORTED, (), "no_evidence")
    support, reason = _support(draft.text, places)
    if support is Support.UNSUPPORTED:
        return Judged(draft.text, support, (), reason)
    if lost and support is Support.VERIFIED:
        support, reason = Support.PARTIALLY_SUPPORTED, "quote_not_found"
    return Judged(draft.text, support, tuple(map(_evidence, places)), reason)


@lru_cache(maxsize=8)
def _decoded(layout: bytes) -> Layout:
    """A long document's layout takes a tenth of a second to decode, and its neighbours in time cite it again."""
    return decode_layout(layout)


def _evidence(place: _Place) -> Evidence:
    source, layout = place.source, _decoded(place.source.layout)
    boxes = boxes_of(layout, place.start, place.end)
    page = boxes[0].page if boxes else page_of(layout, place.start) or source.page
    return Evidence(source.document_id, source.version_id, place.start, place.end, place.quote, page, boxes)


def _quoted(draft: DraftSentence, sources: list[Source]) -> tuple[tuple[_Place, ...], bool]:
    """The places of the draft's quotes (its own words, if it gives none), and whether a quote is in no source."""
    found = [_place(quote, sources) for quote in draft.quotes or (draft.text,)]
    places = tuple(dict.fromkeys(place for place in found if place is not None))
    return places, bool(draft.quotes) and None in found


def _place(quote: str, sources: list[Source]) -> _Place | None:
    """The first source whose passage, or else whose version, holds the quote."""
    outside = None
    for source in sources:
        span = find(source.text, quote, source.start, source.end)
        if span is None:
            continue
        if source.start <= span[0] and span[1] <= source.end:
            return _Place(source, *span)
        outside = outside or _Place(source, *span)
    return outside


def _best(text: str, sources: list[Source]) -> tuple[_Place, ...]:
    """The shortest run of sentences of one passage that holds most of the sentence's terms, if it holds some."""
    said = set(terms(text))
    best: tuple[float, int, _Place] | None = None
    for source in sources:
        sentences = spans(source.text, source.start, source.end)
        for first in range(len(sentences)):
            for last in range(first, min(first + WIDEST, len(sentences))):
                place = _Place(source, sentences[first][0], sentences[last][1])
                score = facts.coverage(text, place.quote)
                if best is None or (score, -(last - first)) > best[:2]:
                    best = (score, -(last - first), place)
    return (best[2],) if said and best is not None and best[0] >= SOME else ()


def _support(text: str, places: tuple[_Place, ...]) -> tuple[Support, str | None]:
    """Whether the words carry the sentence, judged with the whole sentences they stand in."""
    around = "\n".join(place.source.text[slice(*_widened(place))] for place in places)
    if any(same(text, place.quote) and _whole(place) for place in places):
        return Support.VERIFIED, None
    names = " ".join(" ".join((place.source.document, *place.source.heading)) for place in places)
    wrong = facts.disagreements(text, around, names)
    if "negation" in wrong:
        return Support.UNSUPPORTED, "negation"
    share = facts.coverage(text, f"{around} {names}")
    if share < SOME:
        return Support.UNSUPPORTED, "other_words"
    if wrong:
        return Support.PARTIALLY_SUPPORTED, wrong[0]
    return (Support.VERIFIED, None) if share >= FULL else (Support.PARTIALLY_SUPPORTED, "other_words")


def _whole(place: _Place) -> bool:
    """Whether the quote is not a part cut out of a sentence."""
    return _widened(place) == (place.start, place.end)


def _widened(place: _Place) -> Span:
    """The span widened to the borders of the sentences it touches, within its passage if it lies there."""
    source = place.source
    inside = source.start <= place.start and place.end <= source.end
    low, high = (source.start, source.end) if inside else _paragraph(place)
    touched = [
        span for span in spans(source.text, low, high) if span[0] < place.end and place.start < span[1]
    ]
    if not touched:
        return place.start, place.end
    return min(place.start, touched[0][0]), max(place.end, touched[-1][1])


def _paragraph(place: _Place) -> Span:
    """The range between the blank lines around the span."""
    text = place.source.text
    before, after = text.rfind("\n\n", 0, place.start), text.find("\n\n", place.end)
    return max(0, before), len(text) if after < 0 else after
