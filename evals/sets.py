"""Sets of questions: documents, what is asked of them, and which document, page or span of it answers."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ibid.errors import Invalid

Kind = Literal["documents", "pages", "spans"]


class SetInvalid(Invalid):
    """A folder of questions that cannot be read as one."""

    code = "set_invalid"


@dataclass(frozen=True, slots=True)
class Source:
    """A document: the name that questions know it by, the file name that says its format, and its bytes."""

    name: str
    filename: str
    read: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Gold:
    """What answers a question: a document, a page of it (one-based), or a span of its canonical text.

    `start` and `end` are code points. A quote is looked for in the text, nearest to `start`, since the text that a
    person quoted from may be laid out otherwise. `grade` is a relevance from 0.
    """

    document: str
    grade: int = 1
    page: int | None = None
    start: int | None = None
    end: int | None = None
    quote: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A question with all that answers it."""

    id: str
    text: str
    gold: tuple[Gold, ...]


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """Documents and questions. `left_out` is how many questions say that nothing answers them."""

    name: str
    kind: Kind
    sources: tuple[Source, ...]
    questions: tuple[Question, ...]
    left_out: int = 0

    @property
    def digest(self) -> str:
        """Hash of the questions and of what answers them; the documents have their own (`Filled.digest`)."""
        return hashlib.sha256(repr((self.kind, self.questions)).encode()).hexdigest()

    def sample(self, *, questions: int, others: int) -> "QuestionSet":
        """The first questions with what answers them, and the first other documents."""
        asked = self.questions[:questions]
        wanted = {gold.document for question in asked for gold in question.gold}
        rest = [source.name for source in self.sources if source.name not in wanted]
        wanted.update(rest[:others])
        return replace(
            self,
            sources=tuple(source for source in self.sources if source.name in wanted),
            questions=asked,
        )


def text_source(name: str, text: str) -> Source:
    """A document that is a plain text."""
    return Source(name, f"{name}.txt", text.encode)


def file_source(path: Path, name: str | None = None) -> Source:
    """A document that is a file, read when it is needed."""
    return Source(name or path.name, path.name, path.read_bytes)


def grouped(rows: Iterable[tuple[str, Gold]]) -> tuple[Question, ...]:
    """Rows of (question, what answers it): a question that comes again has more than one answer."""
    found: dict[str, list[Gold]] = {}
    for text, gold in rows:
        found.setdefault(text, []).append(gold)
    return tuple(
        Question(str(number), text, tuple(gold)) for number, (text, gold) in enumerate(found.items(), 1)
    )
