"""Withdrawal: what was taken from a document is out of everybody's reach in the commit that deletes it.

Rows and bytes that nobody can reach any more go later, with the deletion's job (`forgetting`).
"""

from collections.abc import Iterable

from sqlalchemy import CompoundSelect, delete, func, select, update
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

Counts = dict[str, int]


class SourceDeleted(Gone):
    """A document that the reply was made from was deleted, so it cannot be given again as it was."""

    code = "source_deleted"


def withdraw(session: Session, document_id: str) -> Counts:
    """Withdraw a document from answers, jobs and uploads; gives how much of each kind.

    To be called after `deleted_at` was set, in the same transaction. The flush takes the document's row lock first:
    a writer of answers holds that row shared while it writes, so what it wrote is seen here or was never written.
    """
    session.flush()
    counts = {"answer_sentences": _empty_sentences(session, document_id)}
    nearest = delete(AnswerNearest).where(AnswerNearest.document_id == document_id)
    counts["nearest_passages"] = len(session.scalars(nearest.returning(AnswerNearest.rank)).all())
    cited = update(AnswerCitation).where(AnswerCitation.document_id == document_id)
    session.execute(cited.values(start=0, end=0, page=None, boxes=[]))
    told = Job.error_message.is_not(None) | Job.error_code.is_not(None)
    ours = (Job.document_id == document_id, Job.kind != JobKind.PURGE)
    session.execute(update(Job).where(*ours, told).values(error_message="The document was deleted."))
    session.execute(update(Job).where(*ours).values(statistics={}))
    over = update(PartialUpload).where(PartialUpload.outcome["id"].as_string() == document_id)
    session.execute(over.values(expires_at=PartialUpload.created_at))
    return counts


def stands_alone(text: str, evidence: Iterable[str]) -> bool:
    """Whether a sentence has all its words from the evidence, so that none can come from anywhere else."""
    held = {term for each in evidence for term in terms(each)}
    return held.issuperset(terms(text))


def _empty_sentences(session: Session, document_id: str) -> int:
    """Empty the sentences that cite the document, and those that may have its words without citing it.

    A model that was shown a passage may use its words anywhere. Only a verified sentence whose every word is in the
    living quotes it cites, or was in the question, is kept. Which answers are concerned stays known, without a span,
    so that the deletion's job looks at each of them again.
    """
    cited = select(AnswerCitation.answer_id).where(AnswerCitation.document_id == document_id)
    shown = select(AnswerSource.answer_id).where(AnswerSource.document_id == document_id)
    concerned = cited.union(shown)
    quotes = _living_quotes(session, concerned)
    sentences = session.execute(
        select(AnswerSentence, Answer.question)
        .join(Answer, Answer.id == AnswerSentence.answer_id)
        .where(AnswerSentence.answer_id.in_(concerned), AnswerSentence.withdrawn.is_(False))
    )
    emptied = 0
    for sentence, question in sentences:
        found = [quotes.get((sentence.answer_id, n)) for n in sentence.citations]
        evidence = [quote for quote in found if quote is not None]
        whole = bool(found) and len(evidence) == len(found) and sentence.support == Support.VERIFIED
        if not (whole and stands_alone(sentence.text, (question, *evidence))):
            sentence.text, sentence.withdrawn = "", True
            emptied += 1
    session.flush()
    return emptied


def _living_quotes(session: Session, answers: CompoundSelect[str]) -> dict[tuple[str, int], str]:
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
