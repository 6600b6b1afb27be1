"""The extractive model: answers in the documents' own words, so it can be wrong only in choosing them."""

import re
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final, Self

import anyio.to_thread
import numpy as np
import numpy.typing as npt

from ibid.catalogue import Entry
from ibid.chat.port import DraftSentence, Passage, Prompt
from ibid.embedding.port import Embedder, Matrix
from ibid.sentences import spans
from ibid.settings import Settings
from ibid.terms import share, terms, weights, words

MOST_ENCODED: Final = 20
"""Sentences; with 40 the answers are no better and take twice as long."""
FEWEST_WORDS: Final = 5
LONGER_WORD: Final = 4
"""Titles write words of so many letters with a capital; articles and prepositions are shorter."""

# What a sentence's cosine with the question is added to, each 0 to 1. Set on Contoso and SQuAD 2.0: the terms of the
# written answers that are quoted went from 27 % to 40 %, with more of what is quoted to the point (38 % to 46 %).
SHARED: Final = 0.5
"""Times the share of the question's terms in the sentence."""
AROUND: Final = 0.4
"""Times the share of them in its passage and the passage's title."""
RANK: Final = 0.6
"""Over the square root of the passage's rank."""
BEFORE: Final = 0.3
"""Times the cosine and shared terms of the sentence before: what follows a sentence on the subject goes on about it."""

WORTH: Final = 0.72
"""A further sentence is quoted when its score is at least this share of the best one's."""
ALIKE: Final = 0.9
"""Cosine from which two sentences say the same."""

Vector = npt.NDArray[np.float32]

_RULE: Final = re.compile(r"[\s|+:=_.·…-]*")
_CELLS: Final = " | "
_CLOSED: Final = re.compile(r"[.!;:\u3002\uff01]['\"\u201d\u2019\u00bb)\]]*(?:\[\d+\])*$")


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A sentence, the passage and place where it stands, and how many of the question's terms it and they share."""

    passage: int
    order: int
    text: str
    shared: float
    around: float

    @property
    def cheap_score(self) -> float:
        """What is known before encoding."""
        return SHARED * self.shared + AROUND * self.around + RANK / sqrt(self.passage)


class ExtractiveModel:
    """Quotes the sentences that fit the question best, word for word."""

    name = "extractive"

    def __init__(self, embedder: Callable[[], Embedder]) -> None:
        self._embedder = embedder

    @classmethod
    def of(cls, _entry: Entry, _settings: Settings, embedder: Callable[[], Embedder]) -> Self:
        """The one that there is."""
        return cls(embedder)

    async def draft(self, prompt: Prompt) -> AsyncGenerator[DraftSentence, None]:
        """The chosen sentences, those of one passage together and in its order, the best passage first."""
        for chosen in await anyio.to_thread.run_sync(self._choose, prompt):
            yield DraftSentence(text=chosen.text, passages=(chosen.passage,), quotes=(chosen.text,))

    async def close(self) -> None:
        """Nothing is held: the encoder belongs to others."""

    def _choose(self, prompt: Prompt) -> list[_Candidate]:
        candidates = _candidates(prompt)
        if not candidates:
            return []
        embedder = self._embedder()
        vectors = embedder.encode([candidate.text for candidate in candidates])
        scores = _scores(candidates, vectors @ embedder.encode_query(prompt.question))
        said = embedder.encode(prompt.said) if prompt.said else vectors[:0]
        picked = _pick(scores, vectors, said, prompt.max_sentences)
        first = {candidates[i].passage: place for place, i in reversed(list(enumerate(picked)))}
        chosen = [candidates[i] for i in picked]
        return sorted(chosen, key=lambda candidate: (first[candidate.passage], candidate.order))


def _scores(candidates: Sequence[_Candidate], meaning: Vector) -> Vector:
    """The candidates' scores; `meaning` are the cosines of their sentences with the question."""
    own = meaning + np.array([SHARED * candidate.shared for candidate in candidates], dtype=np.float32)
    place = {(candidate.passage, candidate.order): i for i, candidate in enumerate(candidates)}
    before = [place.get((candidate.passage, candidate.order - 1)) for candidate in candidates]
    bonus = [0.0 if i is None else BEFORE * float(own[i]) for i in before]
    cheap = [candidate.cheap_score for candidate in candidates]
    return meaning + np.array(cheap, dtype=np.float32) + np.array(bonus, dtype=np.float32)


def _pick(scores: Vector, vectors: Matrix, said: Matrix, most: int) -> list[int]:
    """Indices of the best sentences, best first: none far behind the best, none that repeats another or what was said."""
    picked: list[int] = []
    best = float(scores.max())
    for i in np.argsort(-scores, kind="stable"):
        if len(picked) == most or scores[i] < WORTH * best:
            break
        before = np.concatenate([said, vectors[picked]])
        if not len(before) or float((before @ vectors[i]).max()) < ALIKE:
            picked.append(int(i))
    return picked


def _candidates(prompt: Prompt) -> list[_Candidate]:
    """Sentences worth encoding, most promising first; if none is whole, whatever has words."""
    wanted = terms(prompt.question)
    weight = weights(wanted, [terms(passage.text) for passage in prompt.passages])
    found = [
        _Candidate(passage.n, order, text, share(weight, terms(text)), around)
        for passage in prompt.passages
        for around in (share(weight, terms(f"{passage.title} {passage.text}")),)
        for order, text in enumerate(_sentences(passage))
    ]
    whole = [candidate for candidate in found if _quotable(candidate.text)]
    usable = whole or [candidate for candidate in found if words(candidate.text)]
    return sorted(usable, key=lambda candidate: -candidate.cheap_score)[:MOST_ENCODED]


def _sentences(passage: Passage) -> list[str]:
    """The sentences of a passage, without the head rows of its tables: they answer nothing."""
    texts = [passage.text[start:end] for start, end in spans(passage.text)]
    before = ["", *texts]
    return [text for text, former in zip(texts, before, strict=False) if not _head_row(text, former)]


def _head_row(text: str, former: str) -> bool:
    """Whether a row begins a table and holds no figures."""
    return _CELLS in text and _CELLS not in former and not any(map(str.isdigit, text))


def _quotable(text: str) -> bool:
    """Whether the words can stand alone: no heading, fragment, question or rule of a table; table rows may."""
    if _RULE.fullmatch(text) or text.rstrip("\"'\u201d\u2019)").endswith("?"):
        return False
    if _CELLS in text:
        return len(words(text)) > 1
    return len(words(text)) >= FEWEST_WORDS and (_CLOSED.search(text) is not None or not _heading_like(text))


def _heading_like(text: str) -> bool:
    """Whether most longer words begin with a capital, as in a title."""
    longer = [word for word in text.split() if len(word) >= LONGER_WORD]
    return sum(not word[0].islower() for word in longer) * 2 > len(longer)
