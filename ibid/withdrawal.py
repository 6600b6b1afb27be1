"""Withdrawal: what answers took from a document disappears in the commit that deletes the document."""

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from ibid.db.tables import AnswerCitation, AnswerNearest, AnswerSentence


def withdraw(session: Session, document_id: str) -> int:
    """Empty every sentence that cites the document and forget it as a nearest passage; gives the number of sentences.

    To be called after `deleted_at` was set, in the same transaction. The flush takes the document's row lock first:
    a writer of answers holds that row shared while it writes, so what it wrote is seen here or was never written.
    """
    session.flush()
    cited: dict[str, set[int]] = {}
    rows = select(AnswerCitation.answer_id, AnswerCitation.n).where(AnswerCitation.document_id == document_id)
    for answer_id, n in session.execute(rows):
        cited.setdefault(answer_id, set()).add(n)
    withdrawn = sum(_empty(session, answer_id, numbers) for answer_id, numbers in sorted(cited.items()))
    session.execute(delete(AnswerNearest).where(AnswerNearest.document_id == document_id))
    return withdrawn


def _empty(session: Session, answer_id: str, numbers: set[int]) -> int:
    sentences = session.scalars(
        select(AnswerSentence).where(
            AnswerSentence.answer_id == answer_id, AnswerSentence.withdrawn.is_(False)
        )
    )
    hit = [sentence for sentence in sentences if numbers.intersection(sentence.citations)]
    for sentence in hit:
        sentence.text, sentence.withdrawn = "", True
    session.flush()
    return len(hit)
