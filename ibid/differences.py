"""What differs between two versions of a document: elements removed and added, as spans of either canonical text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

from sqlalchemy.orm import Session

from ibid import access
from ibid.db.tables import Parse, Version
from ibid.layout import decode_layout
from ibid.types import Element, Scope
from ibid.versions import TextNotReady

MOST_PAIRS: Final = 4_000_000
"""Pairs of elements that are compared at most; beyond, all between the equal ends counts as changed."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Neighbouring elements as one span of a canonical text, with its words."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Difference:
    """`removed` are spans of the text compared against, `added` of the version's own.

    `coarse` says that both are so long and so different that only their equal ends were told apart.
    """

    removed: tuple[Piece, ...]
    added: tuple[Piece, ...]
    coarse: bool


@dataclass(frozen=True, slots=True)
class _Side:
    text: str
    elements: tuple[Element, ...]

    def words(self) -> list[str]:
        return [self.text[element.start : element.end] for element in self.elements]

    def piece(self, first: int, last: int) -> Piece:
        start, end = self.elements[first].start, self.elements[last - 1].end
        return Piece(start, end, self.text[start:end])


def between(session: Session, scope: Scope, document_id: str, number: int, against: int) -> Difference:
    """What version `number` has that `against` has not, and the other way round; both must have been read."""
    before = _side(session, access.version(session, scope, document_id, against)[1])
    after = _side(session, access.version(session, scope, document_id, number)[1])
    changes, coarse = _changes(before.words(), after.words())
    return Difference(
        tuple(before.piece(a, b) for a, b, _, _ in changes if a < b),
        tuple(after.piece(c, d) for _, _, c, d in changes if c < d),
        coarse,
    )


def _side(session: Session, version: Version) -> _Side:
    found = session.get(Parse, version.parse_key) if version.parse_key else None
    if found is None:
        raise TextNotReady(
            f"Version {version.number} has no text yet. GET /v1/jobs/{version.job_id} tells how far it is."
        )
    return _Side(found.text, decode_layout(found.layout).elements)


def _changes(before: Sequence[str], after: Sequence[str]) -> tuple[list[tuple[int, int, int, int]], bool]:
    """Ranges of elements that differ, and whether they are only what is between equal ends."""
    head = _equal(zip(before, after, strict=False))
    tail = _equal(zip(reversed(before[head:]), reversed(after[head:]), strict=False))
    old, new = before[head : len(before) - tail], after[head : len(after) - tail]
    if len(old) * len(new) > MOST_PAIRS:
        return [(head, head + len(old), head, head + len(new))], True
    found = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return [(head + a, head + b, head + c, head + d) for tag, a, b, c, d in found if tag != "equal"], False


def _equal(pairs: Iterator[tuple[str, str]]) -> int:
    """How many pairs are equal before the first that is not."""
    count = 0
    for one, other in pairs:
        if one != other:
            break
        count += 1
    return count
