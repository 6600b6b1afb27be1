"""What a model writes, read while it comes: sentences with markers, or JSON with quotes.

However the text is cut into pieces, the sentences are the same.
"""

import re
from collections.abc import Iterator
from typing import Final, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json

from ibid.chat.port import Drafted, DraftSentence, ModelFailed, NoAnswer
from ibid.sentences import spans

NO_ANSWER: Final = "NO ANSWER"
"""What a model is asked to write, and nothing else, when the passages do not hold the answer."""
LONGEST: Final = 50_000
"""Characters after which a reply is no answer any more."""

_KINDS: Final = r"(?:passages?|sources?|documents?|docs?|refs?|citations?)"
_ONE: Final = rf"(?:{_KINDS}\s*)?[#^]?\d{{1,3}}(?:\u2020[^\]\u3011]*)?"
_MARKER: Final = re.compile(
    rf"\s*(?:[\[\u3010]\s*{_ONE}(?:\s*[,;&\u2013-]\s*{_ONE})*\s*[\]\u3011]|\(\s*{_KINDS}\s*#?\d{{1,3}}\s*\))",
    re.IGNORECASE,
)
_MARKERS: Final = re.compile(rf"(?:{_MARKER.pattern})+", re.IGNORECASE)
_NUMBER: Final = re.compile(r"\d+")
_DAGGER: Final = re.compile("\u2020[^\\]\u3011]*")
_SEPARATOR: Final = re.compile("[,;&]")
_THINKING: Final = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_WORD: Final = re.compile(r"\s*\S+\s")
_OPENERS: Final = "[\u3010("
_LONGEST_MARKER: Final = 40
_PROBES: Final = ("The ", "5 ", "Oktober ")
"""What may follow a sentence: only a border that all of them leave is one whatever comes."""


class Quoted(BaseModel):
    """Words of a passage, copied exactly."""

    model_config = ConfigDict(extra="ignore")
    passage: int
    quote: str


class Said(BaseModel):
    """One sentence of the answer and the words of the passages that say it."""

    model_config = ConfigDict(extra="ignore")
    text: str
    evidence: list[Quoted]


class Reply(BaseModel):
    """An answer. `answered` is false when the passages do not hold it; then there are no sentences."""

    model_config = ConfigDict(extra="ignore")
    answered: bool
    sentences: list[Said]


class Reader(Protocol):
    """Reads a reply piece by piece."""

    def read(self, piece: str) -> Iterator[Drafted]:
        """What the reply holds with this piece that it did not before; raises `ModelFailed`."""
        ...

    def end(self) -> Iterator[Drafted]:
        """What is left when the reply is over; raises `ModelFailed` if it is none."""
        ...


class MarkedReader:
    """Reads sentences with the numbers of passages in square brackets."""

    def __init__(self) -> None:
        self._text = ""
        self._given = 0

    def read(self, piece: str) -> Iterator[Drafted]:
        """The sentences that are certainly over."""
        self._text += piece
        _check_length(self._text)
        text = _THINKING.sub("", self._text)
        if not NO_ANSWER.startswith(text.strip().upper()):
            yield from self._give(text, [end for end in self._ends(text) if _certain(text, self._given, end)])

    def end(self) -> Iterator[Drafted]:
        """The rest, or that the model has no answer."""
        text = _THINKING.sub("", self._text)
        if text.strip(" .\n*\"'").upper() == NO_ANSWER:
            yield NoAnswer()
        else:
            yield from self._give(text, self._ends(text))

    def _ends(self, text: str) -> list[int]:
        return [end for _, end in spans(text, self._given)]

    def _give(self, text: str, ends: list[int]) -> Iterator[Drafted]:
        for end in ends:
            if end <= self._given:
                continue  # only markers, which went with the sentence before
            behind = _MARKERS.match(text, end)
            sentence = _marked(text[self._given : behind.end() if behind else end])
            self._given = behind.end() if behind else end
            if sentence.text:
                yield sentence


class QuotedReader:
    """Reads JSON in the shape of `Reply`."""

    def __init__(self) -> None:
        self._text = ""
        self._given = 0

    def read(self, piece: str) -> Iterator[Drafted]:
        """The sentences whose objects are closed."""
        self._text += piece
        _check_length(self._text)
        if "}" in piece:
            yield from self._closed()

    def end(self) -> Iterator[Drafted]:
        """The last sentences, or that the model has none."""
        try:
            reply = Reply.model_validate_json(_bare(self._text))
        except ValidationError as error:
            raise ModelFailed(
                "The model did not write the JSON that it was asked for.", "malformed"
            ) from error
        if not reply.answered:
            yield NoAnswer()
            return
        yield from map(_quoted, reply.sentences[self._given :])

    def _closed(self) -> Iterator[Drafted]:
        """Sentences whose objects are closed; what is wrong otherwise is said at the end."""
        bare = _bare(self._text)
        partial, open_ = _parsed(f"{bare}]}}"), 0
        if partial is None:
            partial, open_ = _parsed(bare, allow_partial=True), 1
        if not isinstance(partial, dict) or partial.get("answered") is not True:
            return
        found = partial.get("sentences")
        for each in found[self._given : len(found) - open_] if isinstance(found, list) else ():
            try:
                said = Said.model_validate(each)
            except ValidationError:
                return
            self._given += 1
            yield _quoted(said)


def _parsed(text: str, *, allow_partial: bool = False) -> object:
    """The value, or None if it is none."""
    try:
        value: object = from_json(text, allow_partial=allow_partial)
    except ValueError:
        return None
    return value


def _check_length(text: str) -> None:
    if len(text) > LONGEST:
        raise ModelFailed("The model does not come to an end.", "malformed")


def _bare(text: str) -> str:
    """The JSON without the fence that some models put around it, and without their thoughts."""
    bare = _THINKING.sub("", text).strip()
    return bare.removeprefix("```json").removeprefix("```").removesuffix("```").strip()


def _quoted(said: Said) -> DraftSentence:
    return DraftSentence(
        said.text.strip(),
        tuple(dict.fromkeys(each.passage for each in said.evidence)),
        tuple(each.quote for each in said.evidence if each.quote.strip()),
    )


def _certain(text: str, start: int, end: int) -> bool:
    """Whether a sentence of `text[start:]` ends there whatever follows, with all its markers."""
    markers = _MARKERS.match(text, end)
    behind = markers.end() if markers else end
    rest = text[behind : behind + _LONGEST_MARKER].lstrip()
    if not rest or (rest[0] in _OPENERS and len(rest) < _LONGEST_MARKER - 1):
        return False  # a marker may come, or more of one
    if _WORD.match(text, behind):
        return True
    return all(any(stop == end for _, stop in spans(f"{text[:end]} {probe}", start)) for probe in _PROBES)


def _marked(text: str) -> DraftSentence:
    numbers = [number for marker in _MARKER.finditer(text) for number in _numbers(marker.group())]
    return DraftSentence(_MARKER.sub("", text).strip(), tuple(dict.fromkeys(numbers)))


def _numbers(marker: str) -> Iterator[int]:
    """What it names, ranges as all that is in them; what stands behind a dagger is no number of a passage."""
    for part in _SEPARATOR.split(_DAGGER.sub("", marker)):
        ends = [int(number) for number in _NUMBER.findall(part)]
        yield from range(ends[0], ends[-1] + 1) if len(ends) == 2 else ends
