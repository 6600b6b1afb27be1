"""What in a sentence can be wrong although its words fit: numbers, dates, names and negation.

Comparison is one-sided: every fact of the sentence must be in its evidence; the evidence may say more.
"""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from ibid.terms import is_stop_word, stem, terms, words
from retrieval.quotes import fold

_ONES: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS: Final = "ten twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL: Final = {
    **{word: str(value) for value, word in enumerate(_ONES.split())},
    **{word: str(10 * value) for value, word in enumerate(_TENS.split(), start=1)},
}
_SCALES: Final = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9}
_MONTHS: Final = {
    name: month
    for month, names in enumerate(
        (
            "january jan",
            "february feb",
            "march mar",
            "april apr",
            "may",
            "june jun",
            "july jul",
            "august aug",
            "september sept sep",
            "october oct",
            "november nov",
            "december dec",
        ),
        start=1,
    )
    for name in names.split()
}
_MONTH: Final = "|".join(sorted(_MONTHS, key=len, reverse=True))
_DAY: Final = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR: Final = r"(?P<year>\d{4})"
_DATES: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b{_YEAR}-(?P<number>\d{{2}})-(?P<day>\d{{2}})\b",
        rf"\b(?P<month>{_MONTH})\.?\s+{_DAY}(?:,?\s+{_YEAR})?\b",
        rf"\b{_DAY}\s+(?:of\s+)?(?P<month>{_MONTH})\b\.?(?:,?\s+{_YEAR})?",
        rf"\b(?P<month>{_MONTH})\b\.?,?\s+{_YEAR}\b",
    )
)
_NUMBER: Final = re.compile(
    r"(?P<currency>[$€£¥])?\s?(?P<value>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)"
    rf"(?:\s?(?P<scale>{'|'.join(_SCALES)})\b)?(?:\s?(?P<percent>%|percent\b|per cent\b))?",
    re.IGNORECASE,
)
_NEGATORS: Final = frozenset(
    ("not", "no", "never", "without", "none", "neither", "nor", "cannot", "nobody", "nothing")
)
_SCOPE_ENDS: Final = re.compile(
    r"[.;:,!?()\n]|\b(?:but|however|although|though|unless|except|while|whereas)\b"
)
_SCOPE_WORDS: Final = 8
_LETTERS: Final = re.compile(r"[^\W\d_]+")
_BEGINS: Final = re.compile(r"(?:^|[.!?:|•\n])[\s\"'(\[]*\Z")
_NAME: Final = re.compile(r"[^\W\d_][\w'\u2019&.-]*[^\W_]|[^\W\d_]")


class Date(NamedTuple):
    """What is said of a day; None for what is not said."""

    year: int | None
    month: int
    day: int | None

    def agrees(self, shown: "Date") -> bool:
        """Whether the other says all that this one does, and the same."""
        return all(one is None or one == other for one, other in zip(self, shown, strict=True))


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number in plain digits with its unit: a currency sign, `%`, or nothing."""

    value: str
    unit: str

    def within(self, others: "frozenset[Numeral]") -> bool:
        """Whether the same number is among the others, with the same unit or, as in a table's cell, none."""
        return any(self.value == other.value and other.unit in {self.unit, ""} for other in others)


def disagreements(sentence: str, evidence: str, names: str = "") -> tuple[str, ...]:
    """Kinds of facts (`date`, `number`, `name`, `negation`) of the sentence that the evidence does not bear out.

    `names` is text beside the evidence in which names may stand, such as headings.
    """
    said, shown = fold(sentence).text, fold(evidence).text
    said_dates, said_rest = dates(said)
    shown_dates, shown_rest = dates(shown)
    wrong = []
    if any(not any(date.agrees(other) for other in shown_dates) for date in said_dates):
        wrong.append("date")
    known = numerals(shown_rest)
    if not all(number.within(known) for number in numerals(said_rest, ones=False)):
        wrong.append("number")
    if not proper_names(said) <= set(words(f"{shown} {names.replace('_', ' ')}")):
        wrong.append("name")
    if contradicts(said, shown):
        wrong.append("negation")
    return tuple(wrong)


def dates(text: str) -> tuple[set[Date], str]:
    """Dates of a text, and the text without them."""
    found: set[Date] = set()
    for pattern in _DATES:
        for match in pattern.finditer(text):
            parts = match.groupdict()
            number = parts.get("number")
            # Without regard to case i is also a dotless one, which no month has.
            month = int(number) if number else _MONTHS.get(match["month"].casefold())
            if month is not None:
                found.add(Date(_whole(parts.get("year")), month, _whole(parts.get("day"))))
        text = pattern.sub(" ", text)
    return found, text


def numerals(text: str, *, ones: bool = True) -> frozenset[Numeral]:
    """Numbers of a text, also those in words up to ninety; without `ones` the word "one", which rarely counts."""

    def digits(match: re.Match[str]) -> str:
        word = match.group().casefold()
        return _SMALL.get(word, word) if ones or word != "one" else word

    return frozenset(_numeral(match) for match in _NUMBER.finditer(_LETTERS.sub(digits, text)))


def proper_names(text: str) -> set[str]:
    """Words (in lower case) with a capital that does not come from beginning a sentence."""
    found: set[str] = set()
    for match in _NAME.finditer(text):
        name = match.group()
        begins = _BEGINS.search(text, 0, match.start()) is not None
        if any(map(str.isupper, name[1:])) or (name[0].isupper() and not begins):
            found.update(word for word in words(name) if not is_stop_word(word))
    return found


def contradicts(sentence: str, evidence: str) -> bool:
    """Whether a word that both share is only negated in one and only affirmed in the other, and none in both."""
    said_no, said_yes = polarity(sentence)
    shown_no, shown_yes = polarity(evidence)
    opposed = ((said_no - said_yes) & (shown_yes - shown_no)) | (
        (said_yes - said_no) & (shown_no - shown_yes)
    )
    return bool(opposed) and not said_no & shown_no


def polarity(text: str) -> tuple[set[str], set[str]]:
    """Terms after a negation, up to the end of its clause, and all others."""
    negated: set[str] = set()
    affirmed: set[str] = set()
    for clause in _SCOPE_ENDS.split(text.casefold()):
        reach = 0
        for word in words(clause):
            if word in _NEGATORS or word.endswith("n't"):
                reach = _SCOPE_WORDS
                continue
            if not is_stop_word(word):
                (negated if reach else affirmed).add(stem(word))
            reach = max(0, reach - 1)
    return negated, affirmed


def coverage(sentence: str, evidence: str) -> float:
    """The share of the sentence's distinct terms that the evidence holds, 0 to 1; 1 when it has none."""
    said = set(terms(sentence))
    return len(said & set(terms(evidence))) / len(said) if said else 1.0


def _whole(digits: str | None) -> int | None:
    return int(digits) if digits else None


def _numeral(match: re.Match[str]) -> Numeral:
    value = float(match["value"].replace(",", "")) * _SCALES.get((match["scale"] or "").casefold(), 1)
    unit = "%" if match["percent"] else match["currency"] or ""
    return Numeral(f"{value:.10g}", unit)
