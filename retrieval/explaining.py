"""Why a search did not show what it should have: the stage at which that was lost, and what to do about it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from ibid import access, described, jobs
from ibid.db.tables import ChunkRow, Document, Job, Parse, Version
from ibid.errors import Invalid
from ibid.layout import decode_report
from ibid.types import Hit, Scope
from ibid.vectors.port import Candidate
from retrieval import fusion, quotes
from retrieval.analysis import quoted
from retrieval.kit import Kit
from retrieval.plan import BALANCED, Plan
from retrieval.questions import cleaned
from retrieval.refining import places_of
from retrieval.search import SearchResult, check_as_of, search
from retrieval.target import Asked, Target, query_of, target_of

LOOKED_THROUGH: Final = 10_000
"""Candidates of each leg among which a rank is looked for."""


class ExpectedInvalid(Invalid):
    """What should have been found is not said so that it can be looked for."""

    code = "expected_invalid"


class Stage(StrEnum):
    """Where a passage was lost on its way to the reader, in the order of that way; or that it was shown."""

    NOT_READ = "not_read"
    NOT_PARSED = "not_parsed"
    LEFT_OUT = "left_out"
    NOT_LIVE = "not_live"
    ACCESS = "access"
    FILTER = "filter"
    FEEDBACK = "feedback"
    CANDIDATES = "candidates"
    FUSION = "fusion"
    RERANKING = "reranking"
    QUOTED = "quoted"
    EXACT = "exact"
    DIVERSITY = "diversity"
    BUDGET = "budget"
    SHOWN = "shown"


@dataclass(frozen=True, slots=True)
class Expected:
    """What should have been found: a document, or of it a page (from 1), or a sentence."""

    document_id: str
    page: int | None = None
    sentence: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The stage, in a sentence, with advice. Ranks are counted from 1, None where there is none.

    `split` says that the sentence lies in several chunks, of which each has only a part of its meaning. The ranks are
    those of the best of its chunks in each leg, of their fusion among all candidates, and of the passage shown.
    """

    stage: Stage
    reason: str
    advice: str
    document_id: str
    document: str
    version: int | None = None
    chunk_ids: tuple[str, ...] = ()
    split: bool = False
    dense_rank: int | None = None
    sparse_rank: int | None = None
    fused_rank: int | None = None
    passage_rank: int | None = None


_OPTIONAL: Final = (
    (
        Stage.BUDGET,
        "max_tokens",
        "The passages before it fill the tokens that all may have together.",
        "Allow more tokens (`max_tokens`).",
    ),
    (
        Stage.DIVERSITY,
        "diversity",
        "It is too much like passages that are shown.",
        "Ask for less diversity, or for more passages (`limit`).",
    ),
    (
        Stage.EXACT,
        "exact_weight",
        "Others have more of the identifiers, numbers and dates of the question.",
        "Give them less weight (`exact_weight`).",
    ),
    (
        Stage.RERANKING,
        "rerank",
        "The reranker has put others above it.",
        "Give the reranker less weight (`rerank_weight`), or leave it out (`rerank`: 0).",
    ),
    (
        Stage.FEEDBACK,
        "feedback",
        "The best passages of the first search have turned the question away from it.",
        "Turn it less (`feedback`).",
    ),
)
"""Stages that a plan may do without, the last first: the knob that is off in the preset, the reason and the advice."""


def explain(kit: Kit, known: Scope, collection_ref: str, asked: Asked, expected: Expected) -> Explanation:
    """Follow what was expected through the stages of the search that is asked.

    `known` is what the asker may know of, which for an administrator who acts for somebody is more than the search's
    own scope sees. What is not known is not found (`DocumentNotFound`), however it was lost.
    """
    if expected.page is not None and expected.sentence is not None:
        raise ExpectedInvalid("Name a page or a sentence of the document, not both.", param="sentence")
    check_as_of(kit, asked.scope)
    asked = replace(asked, question=cleaned(asked.question, kit.settings.max_question_chars))
    with kit.db.read() as session:
        target = target_of(session, known, collection_ref)
        asked = replace(asked, plan=target.plan_for(asked))
        document = access.document(session, known, expected.document_id)
        if document.collection_id != target.collection_id:
            raise access.DocumentNotFound(f"The collection has no document {expected.document_id!r}.")
        lost = _Lost(session, asked, target, document, expected)
        explained = lost.before_the_search()
    if explained is not None:
        return explained

    def found(plan: Plan) -> SearchResult:
        return search(
            kit,
            asked.scope,
            target.collection_id,
            asked.question,
            asked.limit,
            document_ids=asked.document_ids,
            filters=asked.filters,
            plan=plan,
        )

    return _in_the_search(kit, asked, target, lost.so_far, lost.spans, found)


class _Lost:
    """The stages that SQL knows of, one after the other; `so_far` has what is known by the last of them."""

    def __init__(
        self, session: Session, asked: Asked, target: Target, document: Document, expected: Expected
    ) -> None:
        self._session = session
        self._asked = asked
        self._target = target
        self._document = document
        self._expected = expected
        self._version: Version | None = None
        self.spans: tuple[tuple[str, int, int], ...] = ()
        self.so_far = Explanation(Stage.SHOWN, "", "", document.id, document.name)

    def before_the_search(self) -> Explanation | None:
        """The stage at which it was lost before any leg could propose it."""
        stages: Sequence[Callable[[], Explanation | None]] = (
            self._read,
            self._live,
            self._parsed_and_kept,
            self._visible,
            self._let_through,
            self._quoted,
        )
        return next((lost for stage in stages if (lost := stage()) is not None), None)

    def _at(self, stage: Stage, reason: str, advice: str) -> Explanation:
        return replace(self.so_far, stage=stage, reason=reason, advice=advice)

    def _read(self) -> Explanation | None:
        versions = select(Version).where(Version.document_id == self._document.id)
        if self._session.scalar(versions.where(Version.live_from.is_not(None)).limit(1)) is not None:
            return None
        newest = self._session.scalars(versions.order_by(Version.number.desc()).limit(1)).one()
        job = self._session.get_one(Job, newest.job_id)
        state = jobs.shown(job)
        return self._at(
            Stage.NOT_READ,
            f"No version of the document has been read: the job of the newest is {state}.",
            f"GET /v1/jobs/{job.id} says how far it is, or why it failed.",
        )

    def _live(self) -> Explanation | None:
        self._version = self._session.scalar(
            select(Version).where(
                Version.document_id == self._document.id, access.version_live(self._asked.scope.as_of)
            )
        )
        if self._version is None:
            return self._at(
                Stage.NOT_LIVE,
                "No version of the document was live at the time that was asked for.",
                "Ask for a later moment, or leave out the time.",
            )
        self.so_far = replace(self.so_far, version=self._version.number)
        return None

    def _parsed_and_kept(self) -> Explanation | None:
        version = self._version
        parse = self._session.get(Parse, version.parse_key) if version and version.parse_key else None
        if version is None or parse is None:
            return self._at(Stage.NOT_READ, "The version's text is gone.", "Upload the document again.")
        chunks = select(ChunkRow).where(
            ChunkRow.version_id == version.id, ChunkRow.generation_id == self._target.generation_id
        )
        if self._expected.sentence is not None:
            span = quotes.find(parse.text, self._expected.sentence, 0, len(parse.text))
            if span is None:
                return self._unread(parse, "These words are not in the text that was read of the document.")
            chunks = chunks.where(ChunkRow.start < span[1], ChunkRow.end > span[0])
        elif self._expected.page is not None:
            chunks = chunks.where(ChunkRow.page == self._expected.page)
        found = self._session.scalars(chunks.order_by(ChunkRow.ordinal)).all()
        if not found and self._expected.page is not None:
            return self._unread(parse, f"No text of page {self._expected.page} is searched.")
        if not found:
            return self._at(
                Stage.LEFT_OUT,
                "The words were read, and are in no chunk: page headers, page footers and hidden text are not searched.",
                "Ask for words of the text itself; GET …/receipt counts what is hidden.",
            )
        self.spans = tuple((version.id, chunk.start, chunk.end) for chunk in found)
        self.so_far = replace(
            self.so_far,
            chunk_ids=tuple(chunk.id for chunk in found),
            split=self._expected.sentence is not None and len(found) > 1,
        )
        return None

    def _unread(self, parse: Parse, reason: str) -> Explanation:
        """With what the parser says of pages that it could not or did not read."""
        report = decode_report(parse.layout)
        kinds = {
            "hold no text": report.pages_empty,
            "could not be read": report.pages_unreadable,
            "wait for OCR": report.pages_waiting,
        }
        told = [f"{', '.join(map(str, pages))} {what}" for what, pages in kinds.items() if pages]
        pages = f" Of its pages {'; '.join(told)}." if told else ""
        return self._at(
            Stage.NOT_PARSED,
            reason + pages,
            "Compare GET /v1/documents/{id}/versions/{number}/text with the document; its receipt has the parser's warnings.",
        )

    def _visible(self) -> Explanation | None:
        try:
            access.document(self._session, self._asked.scope, self._document.id)
        except access.DocumentNotFound:
            return self._at(
                Stage.ACCESS,
                "Whoever asks may not see the document: neither its access list nor its collection's names them.",
                "PUT /v1/documents/{id}/metadata changes the access list.",
            )
        return None

    def _let_through(self) -> Explanation | None:
        if self._asked.filters is None:
            return None
        said = described.says(self._session, self._asked.filters)
        holds = select(Document.id).where(Document.id == self._document.id, said)
        if self._session.scalar(holds) is not None:
            return None
        return self._at(
            Stage.FILTER,
            "The filter does not hold for the document's metadata.",
            "GET /v1/documents/{id} shows them; text, numbers and booleans are never equal to each other.",
        )

    def _quoted(self) -> Explanation | None:
        if not (self._target.plan_for(self._asked).quoted and self._asked.analysis.phrases):
            return None
        rows = self._session.scalars(
            select(ChunkRow).where(ChunkRow.id.in_(self.so_far.chunk_ids)).order_by(ChunkRow.ordinal)
        )
        analysis = self._asked.analysis
        holding = [
            row for row in rows if quoted(analysis, places_of(self._document.name, row.heading, row.text))
        ]
        if holding:  # the search can show no other chunk of it
            self.spans = tuple((row.version_id, row.start, row.end) for row in holding)
            self.so_far = replace(self.so_far, chunk_ids=tuple(row.id for row in holding))
            return None
        return self._at(
            Stage.QUOTED,
            "The question has words in quotation marks that no passage of it holds as they stand there.",
            "Leave out the quotation marks, or turn the knob `quoted` off.",
        )


def _in_the_search(
    kit: Kit,
    asked: Asked,
    target: Target,
    so_far: Explanation,
    spans: Sequence[tuple[str, int, int]],
    found: Callable[[Plan], SearchResult],
) -> Explanation:
    """The stages of the search itself; `found` is what it finds by a plan."""
    plan = target.plan_for(asked)
    result = found(plan)
    query = replace(query_of(kit, asked, target), candidates=result.candidates)
    wanted = set(so_far.chunk_ids)
    ranked = fusion.fused(kit.vectors.candidates(target.generation_id, query), plan)
    many = kit.vectors.candidates(target.generation_id, replace(query, candidates=LOOKED_THROUGH))
    known = replace(
        so_far,
        dense_rank=_rank(many, wanted, lambda each: each.dense),
        sparse_rank=_rank(many, wanted, lambda each: each.sparse),
        fused_rank=next((n for n, each in enumerate(ranked, 1) if each.candidate.id in wanted), None),
        passage_rank=_among(result.hits, spans),
    )
    if known.passage_rank is not None:
        shown = f"It is passage {known.passage_rank} of {len(result.hits)}."
        return replace(known, stage=Stage.SHOWN, reason=shown, advice="")
    lost = _left_out(known, plan, spans, found)
    if lost is not None:
        return lost
    if known.fused_rank is None:
        return replace(
            known,
            stage=Stage.CANDIDATES,
            reason=f"Neither leg has it among its best {query.candidates}.",
            advice=_nearer(split=known.split),
        )
    return replace(
        known,
        stage=Stage.FUSION,
        reason=f"It is candidate {known.fused_rank} of {len(ranked)}, and the passages above it fill the {asked.limit} shown.",
        advice=f"Ask for more passages (`limit`), or more exactly. {_nearer(split=known.split)}",
    )


def _left_out(
    known: Explanation,
    plan: Plan,
    spans: Sequence[tuple[str, int, int]],
    found: Callable[[Plan], SearchResult],
) -> Explanation | None:
    """The last of the optional stages without which it is shown, each tried without those after it."""
    for stage, knob, reason, advice in _OPTIONAL:
        off: dict[str, Any] = {knob: getattr(BALANCED, knob)}
        without = replace(plan, **off)
        if without != plan and _among(found(without).hits, spans):
            return replace(known, stage=stage, reason=reason, advice=advice)
        plan = without
    return None


def _nearer(*, split: bool) -> str:
    if split:
        return "The sentence lies in several chunks: a reindex with larger ones would keep it together."
    return "Ask with words that the passage has, or more of its meaning."


def _rank(
    many: Sequence[Candidate], wanted: set[str], score: Callable[[Candidate], float | None]
) -> int | None:
    """How many have a better score than the best that is wanted, and one; None if it has none, or ranks too low to tell."""
    mine = [value for each in many if each.id in wanted and (value := score(each)) is not None]
    if not mine:
        return None
    better = sum((value := score(each)) is not None and value > max(mine) for each in many)
    return better + 1 if better < LOOKED_THROUGH else None


def _among(hits: Sequence[Hit], spans: Sequence[tuple[str, int, int]]) -> int | None:
    """The place of the first that shows one of the spans, from 1."""
    return next((n for n, hit in enumerate(hits, 1) if _shows(hit, spans)), None)


def _shows(hit: Hit, spans: Sequence[tuple[str, int, int]]) -> bool:
    return any(
        hit.version_id == version and hit.start < end and hit.end > start for version, start, end in spans
    )
