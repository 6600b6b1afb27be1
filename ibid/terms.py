"""The words of a text that carry its meaning, in a form in which their inflections meet.

Used to compare a question with a sentence and a sentence with its evidence. The rules are English; in another language
words still meet where they are spelled alike.
"""

import re
import unicodedata
from collections.abc import Iterable
from math import log
from typing import Final

INFLECTED: Final = 4
ROOT: Final = 3
"""Letters that a word has at least to lose an ending, and that it keeps at least."""

_WORD: Final = re.compile(r"[^\W_]+(?:['\u2019.&-][^\W_]+)*")
_INNER: Final = re.compile(r"[.&-]")
_VOWEL: Final = re.compile(r"[aeiouy]")
_DOUBLED: Final = re.compile(r"([bdfgmnprt])\1$")
_SIBILANT: Final = re.compile(r"(?:s|x|z|ch|sh)es$")
_STOPS: Final = (
    "a about above after again all also although am an and any are aren't as at be because been before being below "
    "between both but by can can't cannot could couldn't d did didn't do does doesn't doing don't down during each "
    "either ever every few for from further get gets got had hadn't has hasn't have haven't having he her here hers "
    "herself him himself his how however i i'm if in into is isn't it it's its itself just let let's ll may me might "
    "mine more most must mustn't my myself neither nor no not of off on once one only or other ought our ours "
    "ourselves out over own per please re s same shall shan't she should shouldn't so some such t than that the their "
    "theirs them themselves then there these they this those though through to too under until up upon us ve very "
    "was wasn't we were weren't what when where whether which while who whom whose why will with within without won't "
    "would wouldn't yes yet you your yours yourself yourselves tell explain describe"
)
_STOP_WORDS: Final = frozenset(_STOPS.split())


def words(text: str) -> list[str]:
    """Words in order, in lower case and composed form, with hyphenated ones taken apart."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    return [part for match in _WORD.finditer(folded) for part in _INNER.split(match.group())]


def stem(word: str) -> str:
    """The word without English plural, possessive, `-ing`, `-ed` and final `-e`."""
    word = word.removesuffix("'s").removesuffix("'")
    if len(word) < INFLECTED or not word.isalpha():
        return word
    word = _singular(word)
    for ending in ("ing", "ed"):
        root = word.removesuffix(ending)
        if root != word and len(root) >= ROOT and _VOWEL.search(root):
            word = _DOUBLED.sub(r"\1", root)
            break
    return word[:-1] if len(word) > INFLECTED and word.endswith("e") else word


def is_stop_word(word: str) -> bool:
    """Whether the word (in lower case) says nothing by itself."""
    return word in _STOP_WORDS


def terms(text: str) -> list[str]:
    """Stems of the words that are no stop words, in order, with repetition."""
    return [stem(word) for word in words(text) if word not in _STOP_WORDS]


def weights(wanted: Iterable[str], texts: Iterable[Iterable[str]]) -> dict[str, float]:
    """How rare each wanted term is among texts given as terms: `log(1 + (n - df + 0.5) / (df + 0.5))`, as in BM25."""
    sets = [set(text) for text in texts]
    found = {}
    for term in set(wanted):
        holding = sum(term in one for one in sets)
        found[term] = log(1 + (len(sets) - holding + 0.5) / (holding + 0.5))
    return found


def share(weight: dict[str, float], text: Iterable[str]) -> float:
    """The share of the weighted terms that a text (given as terms) holds, 0 to 1; 0 when there are none."""
    total = sum(weight.values())
    return sum(weight.get(term, 0.0) for term in set(text)) / total if total else 0.0


def _singular(word: str) -> str:
    if word.endswith("ies"):
        return word[:-3] + "y"
    if _SIBILANT.search(word):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
