"""What a question says of the words that must be found: phrases in quotation marks, identifiers, numbers and dates.

In which language it is asked is not guessed: the word search stems it in every language of its collection.
"""

import re
from dataclasses import dataclass
from typing import Final

from retrieval.facts import Date, Numeral, dates, numerals
from retrieval.quotes import find, fold

# Of a pair, the first stands before a word and the second after one: 19" and 21" are inches.
_QUOTED: Final = re.compile(r'(?<!\w)"(?=\S)([^"\n]*\w[^"\n]*)(?<=\S)"(?!\w)')
_FRENCH: Final = re.compile(r"(?<=«)\s+|\s+(?=»)")
_JOINED: Final = re.compile(r"\w+(?:[-./:_#]\w+)*")
_ORDINAL: Final = re.compile(r"\d+(?:st|nd|rd|th|s)?", re.IGNORECASE)


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
    plain = fold(_FRENCH.sub("", question)).text
    found, rest = dates(plain)
    named = identifiers(rest)
    for name in named:
        rest = re.sub(re.escape(name), " ", rest, flags=re.IGNORECASE)
    phrases = tuple(match.group(1).strip() for match in _QUOTED.finditer(plain))
    numbers = sorted(numerals(rest, ones=False), key=lambda each: (each.value, each.unit))
    return Analysis(phrases, tuple(sorted(named)), tuple(numbers), tuple(sorted(found, key=repr)))


def identifiers(text: str) -> frozenset[str]:
    """Names with digits in them, such as INV-2024/7, 10.0.0.1 or ISO27001; plain numbers and ordinals are none."""
    return frozenset(
        match.group().casefold()
        for match in _JOINED.finditer(text)
        if any(map(str.isdigit, match.group()))
        and not _ORDINAL.fullmatch(match.group())
        and not _is_decimal(match.group())
    )


def holds(phrases: tuple[str, ...], text: str) -> bool:
    """Whether all of the phrases stand in the text, whatever their case and typography."""
    plain = text.casefold()
    return all(find(plain, phrase.casefold(), 0, len(plain)) is not None for phrase in phrases)


def shared(asked: Analysis, text: str) -> float:
    """The share of the question's identifiers, numbers and dates that the text has, 0 to 1; 0 if it has none."""
    plain = fold(text).text
    shown, rest = dates(plain)
    named, numbers = identifiers(plain), numerals(rest)
    there = [
        *(name in named for name in asked.identifiers),
        *(number.within(numbers) for number in asked.numbers),
        *(any(said.agrees(other) for other in shown) for said in asked.dates),
    ]
    return sum(there) / len(there) if there else 0.0


def _is_decimal(text: str) -> bool:
    return re.fullmatch(r"\d+\.\d+", text) is not None
