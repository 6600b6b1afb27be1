"""What a question says of the words that must be found: phrases in quotation marks, identifiers, numbers and dates.

In which language it is asked is not guessed: the word search stems it in every language of its collection.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from retrieval.facts import Date, Numeral, dates, numerals
from retrieval.quotes import UNSPACED, fold, holds

_PAIRS: Final = re.compile(
    "“([^“”„]*)”|„([^“”„]*)[“”]|«([^«»]*)»|»([^«»]*)«|「([^「」]*)」|『([^『』]*)』|《([^《》]*)》"
)
"""Quotation marks that say which of a pair they are."""
_ENDS: Final = " \t\n.,;:!?…。，！？、"
"""What a sentence puts before its closing mark, whatever is quoted."""
_JOINED: Final = re.compile(r"\w+(?:[-./:#]\w+)*")
_PLAIN: Final = re.compile(r"\d+(?:st|nd|rd|th|s|\.\d+)?", re.IGNORECASE)
"""Numbers, ordinals and decades, which are no names."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """`phrases` and `identifiers` are as a reader sees them, identifiers in lower case."""

    phrases: tuple[str, ...] = ()
    identifiers: tuple[str, ...] = ()
    numbers: tuple[Numeral, ...] = ()
    dates: tuple[Date, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether anything is said that is either there or is not."""
        return bool(self.identifiers or self.numbers or self.dates)


def analysed(question: str) -> Analysis:
    """The question's phrases, identifiers, numbers and dates."""
    days, rest = dates(fold(question).text)
    named, rest = identifiers(rest)
    numbers = sorted(numerals(rest, ones=False), key=lambda each: (each.value, each.unit))
    return Analysis(_phrases(question), tuple(sorted(named)), tuple(numbers), tuple(sorted(days, key=repr)))


def identifiers(text: str) -> tuple[frozenset[str], str]:
    """Names with digits in them, such as INV-2024/7, 10.0.0.1 or ISO27001, and the text without them."""
    found: set[str] = set()

    def blank(match: re.Match[str]) -> str:
        name = match.group()
        if _PLAIN.fullmatch(name) or not any(map(str.isdigit, name)):
            return name
        found.add(name.casefold())
        return " "

    rest = _JOINED.sub(blank, text)
    return frozenset(found), rest


def quoted(asked: Analysis, places: Iterable[str]) -> bool:
    """Whether each phrase stands in one of the texts, whatever its case and typography."""
    missing = list(asked.phrases)
    for text in places:
        missing = [phrase for phrase in missing if not holds(text, phrase)] if missing else missing
    return not missing


def shared(asked: Analysis, text: str) -> float:
    """The share of the question's identifiers, numbers and dates that the text has, 0 to 1; 0 if it has none."""
    shown, rest = dates(fold(text).text)
    named, rest = identifiers(rest)
    numbers = numerals(rest)
    there = [
        *(name in named for name in asked.identifiers),
        *(number.within(numbers) for number in asked.numbers),
        *(any(said.agrees(other) for other in shown) for said in asked.dates),
    ]
    return sum(there) / len(there) if there else 0.0


def _phrases(question: str) -> tuple[str, ...]:
    """What stands in quotation marks, each once."""
    paired = ["".join(filter(None, match.groups())) for match in _PAIRS.finditer(question)]
    straight = _straight(_PAIRS.sub(" ", question).replace("\uff02", '"'))
    plain = (fold(phrase.strip().rstrip(_ENDS)).text for phrase in (*paired, *straight))
    return tuple({phrase.casefold(): phrase for phrase in plain if any(map(str.isalnum, phrase))}.values())


def _straight(text: str) -> Iterator[str]:
    """What is between marks that are alike: of a pair, the first stands before a word, and the second after one.

    So inches (19") open nothing. Where words are not parted by spaces, a mark may stand within what looks like one.
    """
    opened: int | None = None
    for at, mark in enumerate(text):
        if mark != '"':
            continue
        before, after = text[at - 1 : at], text[at + 1 : at + 2]
        if opened is not None and not before.isspace() and not _of_spaced_word(after):
            yield text[opened + 1 : at]
            opened = None
        elif after and not after.isspace() and not _of_spaced_word(before):
            opened = at


def _of_spaced_word(mark: str) -> bool:
    return mark.isalnum() and mark < UNSPACED
