"""Questions made of a collection's own text, without a model.

From one sentence of a passage half of its content words are kept, which a hash picks, and not the rarest of them, which
would find the passage by themselves. It is what somebody may type who half remembers a sentence. Even so each word is
one that the passage has, none is said in another way, and none is asked about that the passage leaves out: such
questions favour the search by words, and whoever fits on them has to allow for that. Stop words are known of English
alone, and words only where white space parts them.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from math import ceil
from typing import Final

from ibid.sentences import spans
from ibid.terms import is_stop_word, words

SHORTEST: Final = 5
"""Content words of a sentence that a question is made of, at least."""
RAREST: Final = 0.25
"""The share of them that is left out because they are the rarest in the collection."""


def holding(texts: Iterable[str]) -> Counter[str]:
    """How many of the texts have each word."""
    return Counter(word for text in texts for word in set(words(text)))


def question_of(text: str, key: str, known: Mapping[str, int]) -> str | None:
    """A question that the text answers, the same for the same `key`; None if no sentence has words enough.

    `known` says how many texts have each word (`holding`).
    """
    sentences = [_content(text[start:end]) for start, end in spans(text)]
    long = [content for content in sentences if len(content) >= SHORTEST]
    if not long:
        return None
    content = min(long, key=lambda each: _hash(key, *each))
    rarest = sorted(content, key=lambda word: (known.get(word, 0), _hash(key, word)))
    common = rarest[ceil(len(content) * RAREST) :]
    kept = sorted(common, key=lambda word: _hash(word, key))[: ceil(len(content) / 2)]
    return " ".join(word for word in content if word in kept)


def _content(sentence: str) -> list[str]:
    """Its different words that are no stop words, in order."""
    return list(dict.fromkeys(word for word in words(sentence) if not is_stop_word(word)))


def _hash(*parts: str) -> str:
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()
