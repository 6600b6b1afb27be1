"""Withdrawal: what was taken from a document is out of everybody's reach in the commit that deletes it.

Rows and bytes that nobody can reach any more go later, with the deletion's job (`forgetting`).
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.orm import Session

from ibid.db.tables import (
    Answer,
    AnswerCitation,
    AnswerNearest,
    AnswerSentence,
    AnswerSource,
    Document,
    Job,
    Parse,
    PartialUpload,
    Version,
)
from ibid.errors import Gone
from ibid.terms import terms
from ibid.types import JobKind, Support

AT_ONCE: Final = 500
Counts = dict[str, int]
Documents = Collection[str] | Select[str]
"""Ids of documents, or the query that gives them."""


class SourceDeleted(Gone):
    """A document that the reply was made from was deleted, so it cannot be given again as it was."""

    code = "source_deleted"


def withdraw(session: Session, ids: Documents) -> dict[str, Counts]:
    """Withdraw documents from answers, jobs and uploads; gives by document how much of each kind.

    To be called after `deleted_at` was set, in the same transaction. The flush takes the documents' row locks first:
    a writer of answers holds those rows shared while it writes, so what it wrote is seen here or was never written.
    """
    session.flush()
    counts: dict[str, Counts] = defaultdict(lambda: {"answer_sentences": 0, "nearest_passages": 0})
    for document_id, emptied in _empty_sentences(session, ids).items():
        counts[document_id]["answer_sentences"] = emptied
    nearest = delete(AnswerNearest).where(AnswerNearest.document_id.in_(ids))
    for document_id, gone in Counter(session.scalars(nearest.returning(AnswerNearest.document_id))).items():
        counts[document_id]["nearest_passages"] = gone
    cited = update(AnswerCitation).where(AnswerCitation.document_id.in_(ids))
    session.execute(cited.values(start=0, end=0, page=None, boxes=[]))
    told = Job.error_message.is_not(None) | Job.error_code.is_not(None)
    ours = (Job.document_id.in_(ids), Job.kind != JobKind.PURGE)
    session.execute(update(Job).where(*ours, told).values(error_message="The document was deleted."))
    session.execute(update(Job).where(*ours).values(statistics={}))
    over = update(PartialUpload).where(PartialUpload.document_id.in_(ids))
    session.execute(over.values(expires_at=PartialUpload.created_at))
    return counts


def stands_alone(text: str, support: str, question: str, quotes: Sequence[str | None]) -> bool:
    """Whether a sentence may stay when a document that its model was shown is out of sight.

    It may if it is verified, none of the quotes that it cites is lacking (None), and every word of it is in these or in
    the question, so that none can come from anywhere else.
    """
    evidence = [quote for quote in quotes if quote is not None]
    if not quotes or len(evidence) < len(quotes) or support != Support.VERIFIED:
        return False
    held = {term for each in (question, *evidence) for term in terms(each)}
    return held.issuperset(terms(text))


def _empty_sentences(session: Session, ids: Documents) -> dict[str, int]:
    """Empty the sentences that cite the documents, and those that may have their words without citing them.

    A model that was shown a passage may use its words anywhere. Only a verified sentence whose every word is in the
    living quotes it cites, or was in the question, is kept. Which answers are concerned stays known, without a span,
    so that the deletion's job looks at each of them again. Each emptied sentence is counted for one of the documents.
    """
    citing = select(AnswerCitation.answer_id, AnswerCitation.document_id).where(
        AnswerCitation.document_id.in_(ids)
    )
    shown = select(AnswerSource.answer_id, AnswerSource.document_id).where(AnswerSource.document_id.in_(ids))
    rows = session.execute(citing.union(shown)).all()
    # That with the lowest id: of a document and one inside it, the document.
    of = {
        row.answer_id: row.document_id for row in sorted(rows, key=lambda row: row.document_id, reverse=True)
    }
    emptied: Counter[str] = Counter()
    answers = sorted(of)
    for start in range(0, len(answers), AT_ONCE):
        some = answers[start : start + AT_ONCE]
        quotes = _living_quotes(session, some)
        sentences = session.execute(
            select(AnswerSentence, Answer.question)
            .join(Answer, Answer.id == AnswerSentence.answer_id)
            .where(AnswerSentence.answer_id.in_(some), AnswerSentence.withdrawn.is_(False))
            .order_by(AnswerSentence.answer_id, AnswerSentence.ordinal)
            .with_for_update(of=AnswerSentence)  # in one order: another deletion may empty some of the same
            .execution_options(populate_existing=True)
        ).all()
        for sentence, question in sentences:
            cited = [quotes.get((sentence.answer_id, n)) for n in sentence.citations]
            if not stands_alone(sentence.text, sentence.support, question, cited):
                sentence.text, sentence.withdrawn = "", True
                emptied[of[sentence.answer_id]] += 1
        session.flush()
    return emptied


def _living_quotes(session: Session, answers: Sequence[str]) -> dict[tuple[str, int], str]:
    """The cited words of documents that are not deleted, by answer and number."""
    length = AnswerCitation.end - AnswerCitation.start
    rows = session.execute(
        select(
            AnswerCitation.answer_id,
            AnswerCitation.n,
            func.substr(Parse.text, AnswerCitation.start + 1, length),
        )
        .join(Version, Version.id == AnswerCitation.version_id)
        .join(Parse, Parse.key == Version.parse_key)
        .join(Document, Document.id == AnswerCitation.document_id)
        .where(AnswerCitation.answer_id.in_(answers), Document.deleted_at.is_(None))
    )
    return {(answer_id, n): quote for answer_id, n, quote in rows}
