"""In which languages a document is written, told by a model of 4 MB that comes with its package."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Final

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from ibid.types import Element, ElementKind, Parsed

_PROSE: Final = frozenset(
    {
        ElementKind.TITLE,
        ElementKind.HEADING,
        ElementKind.PARAGRAPH,
        ElementKind.LIST_ITEM,
        ElementKind.TABLE,
        ElementKind.CAPTION,
    }
)
_PIECE: Final = re.compile(r"\S.{0,300}(?!\S)", re.DOTALL)
"""What is told at once: a few sentences, so that a paragraph may hold two languages."""
_MOST_PIECES: Final = 500
"""Evenly spread over the document: 0.1 s in all."""
_LETTER: Final = re.compile(r"[^\W\d_]")
_FEWEST_LETTERS: Final = 12
_SURE: Final = 0.5
_LEAST_SHARE: Final = 0.03


@cache
def load() -> LanguageIdentifier:
    """The model, loaded once."""
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def with_languages(parsed: Parsed) -> Parsed:
    """The document with its languages in the report, unless its parser knew them."""
    if parsed.report.languages:
        return parsed
    return replace(
        parsed, report=replace(parsed.report, languages=languages_of(parsed.text, parsed.elements))
    )


def languages_of(text: str, elements: Sequence[Element]) -> tuple[str, ...]:
    """ISO 639-1 codes, the most used first: those of a good share of the prose; none where nothing is prose."""
    letters: Counter[str] = Counter()
    pieces = list(_pieces(text, elements))
    for piece in pieces[:: -(-len(pieces) // _MOST_PIECES) or 1]:
        size = len(_LETTER.findall(piece))
        if size < _FEWEST_LETTERS:
            continue
        code, probability = load().classify(piece)
        # Longer codes are those of languages that have none in ISO 639-1.
        if probability >= _SURE and len(code) == 2:
            letters[code] += size
    least = _LEAST_SHARE * letters.total()
    return tuple(code for code, count in letters.most_common() if count >= least)


class Told:
    """The language of each part of a document whose languages are known, the most used first.

    A part is told among these only: a few words alone would pass for many a language.
    """

    def __init__(self, languages: Sequence[str]) -> None:
        self._languages = tuple(languages)

    def of(self, text: str) -> str | None:
        """ISO 639-1; None for a document of which none is known."""
        if len(self._languages) < 2:
            return self._languages[0] if self._languages else None
        if len(_LETTER.findall(text)) < _FEWEST_LETTERS:
            return self._languages[0]
        ranked = (str(code) for code, _ in load().rank(text))
        return next(code for code in ranked if code in self._languages)


def _pieces(text: str, elements: Sequence[Element]) -> Iterator[str]:
    for element in elements:
        if element.kind in _PROSE:
            for piece in _PIECE.finditer(text, element.start, element.end):
                yield piece.group()
