"""The job of a fit: each question is asked of the engine once, and what follows from it is kept in one commit.

It begins anew when it was interrupted: until its end it keeps nothing but how far it is. What is given to it and what
it makes of the collection's text is in memory alone, and in no log and no report.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, select

from ibid import access, claims, fingerprints, fits
from ibid.claims import Claim
from ibid.db.tables import ChunkRow, Document, Parse, Version
from retrieval import fitting, making, quotes
from retrieval.fitting import Question
from retrieval.kit import Kit
from retrieval.plan import BALANCED
from retrieval.target import Asked, Target, query_of, seen, target_in

MOST: Final = 200
"""So many questions are made at most."""
LOOKED_AT: Final = 1000
"""Passages among which these are looked for, as not each has a sentence that is long enough."""
TOGETHER: Final = 20
"""Questions after which it is said how far the job is."""

Kind = Literal["documents", "pages", "chunks"]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A question, and the documents, pages or chunks that answer it."""

    text: str
    kind: Kind
    gold: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Where a chunk stands."""

    id: str
    document_id: str
    version_id: str
    start: int
    end: int
    page: int | None

    def thing(self, kind: Kind) -> str:
        """What of this kind it is in."""
        if kind == "documents":
            return self.document_id
        return f"{self.document_id}#{self.page}" if kind == "pages" else self.id


_WHERE: Final = (ChunkRow.id, Document.id, Version.id, ChunkRow.start, ChunkRow.end, ChunkRow.page)
"""The columns of a `_Chunk`."""


def fit(kit: Kit, held: Claim, go_on: Callable[[], None]) -> None:
    """Fit the claim's generation, and end its job; `go_on` is called between two questions and may raise."""
    with kit.db.read() as session:
        asked_for = fits.pending(session, held)
        target = target_in(session, asked_for.generation_id)
    if target is None:
        raise fits.gone()
    if asked_for.source == fits.GIVEN:
        wanted, left_out = _given(kit, target, asked_for.questions or [], go_on)
    else:
        wanted, left_out = _made(kit, target), 0
    judged = []
    for number, each in enumerate(wanted):
        if number % TOGETHER == 0:
            _show(kit, held, number, len(wanted))
        go_on()
        judged.append(fitting.judged(_asked(kit, target, each)))
    report = fitting.fit(judged, asked_for.source, left_out)
    with kit.db.begin() as session:
        claims.progress(session, held, "fitted", len(wanted), len(wanted), "questions")
        fits.settle(session, held, report.as_json(), adopted=report.adopted, weights=report.weights)


def _show(kit: Kit, held: Claim, done: int, total: int) -> None:
    with kit.db.begin(durable=False) as session:
        claims.progress(session, held, "asking", done, total, "questions")


def _asked(kit: Kit, target: Target, wanted: _Wanted) -> Question:
    """What the engine proposes for the question, and where that stands."""
    query = query_of(kit, Asked(access.EVERYTHING, wanted.text, 1, None, None, BALANCED), target)
    candidates = tuple(kit.vectors.candidates(target.generation_id, query))
    those = ChunkRow.id.in_([each.id for each in candidates])
    things = {chunk.id: chunk.thing(wanted.kind) for chunk in _read(kit, target, those)}
    return Question(fingerprints.of(wanted.text), candidates, things, wanted.gold)


def _given(
    kit: Kit, target: Target, golden: Sequence[Mapping[str, Any]], go_on: Callable[[], None]
) -> tuple[list[_Wanted], int]:
    """Those of the questions whose answers are live, and how many are left out."""
    by_document: dict[str, list[fits.Golden]] = defaultdict(list)
    for each in golden:
        by_document[each["document_id"]].append(fits.Golden(**each))
    found: list[_Wanted] = []
    for document_id, about in by_document.items():
        go_on()
        found += _resolved(kit, target, document_id, about)
    return _joined(found), len(golden) - len(found)


def _resolved(kit: Kit, target: Target, document_id: str, golden: Sequence[fits.Golden]) -> Iterator[_Wanted]:
    """Questions about one document, with what in its chunks answers them."""
    chunks = _read(kit, target, Document.id == document_id)
    text = _text(kit, chunks[0].version_id) if chunks and any(each.sentence for each in golden) else ""
    for each in golden:
        kind: Kind = "chunks" if each.sentence else "documents" if each.page is None else "pages"
        answering = chunks
        if each.sentence:
            span = quotes.find(text, each.sentence, 0, len(text))
            answering = [chunk for chunk in chunks if span and chunk.start < span[1] and chunk.end > span[0]]
        elif each.page is not None:
            answering = [chunk for chunk in chunks if chunk.page == each.page]
        if answering:
            yield _Wanted(each.query, kind, frozenset(chunk.thing(kind) for chunk in answering))


def _made(kit: Kit, target: Target) -> list[_Wanted]:
    """Questions made of the collection's text: of the passages whose ids, which are hashes, come first."""
    first = seen(select(*_WHERE, ChunkRow.text), access.EVERYTHING, target).order_by(ChunkRow.id)
    with kit.db.read() as session:
        rows = [(_Chunk(*row[:-1]), row[-1]) for row in session.execute(first.limit(LOOKED_AT))]
    known = making.holding(text for _, text in rows)
    found = (
        _Wanted(question, "pages", frozenset({chunk.thing("pages")}))
        for chunk, text in rows
        if (question := making.question_of(text, chunk.id, known)) is not None
    )
    return _joined(found)[:MOST]


def _joined(wanted: Iterable[_Wanted]) -> list[_Wanted]:
    """One question for those that are alike, which all their answers answer."""
    gold: dict[tuple[str, Kind], frozenset[str]] = {}
    for each in wanted:
        key = (each.text, each.kind)
        gold[key] = gold.get(key, frozenset()) | each.gold
    return [_Wanted(*key, answers) for key, answers in gold.items()]


def _read(kit: Kit, target: Target, those: ColumnElement[bool]) -> list[_Chunk]:
    """The live chunks of the generation for which that holds."""
    chunks = seen(select(*_WHERE), access.EVERYTHING, target).where(those).order_by(ChunkRow.ordinal)
    with kit.db.read() as session:
        return [_Chunk(*row) for row in session.execute(chunks)]


def _text(kit: Kit, version_id: str) -> str:
    of_version = select(Parse.text).join(Version, Version.parse_key == Parse.key)
    with kit.db.read() as session:
        return session.scalar(of_version.where(Version.id == version_id)) or ""
