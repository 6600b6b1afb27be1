"""Receipts: what each stage of ingestion saw and made of a version; put together from SQL, and kept at the job's end."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from pydantic import TypeAdapter
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ibid import jobs
from ibid.db.tables import ChunkRow, Collection, Document, Indexing, Job, Parse, Version
from ibid.layout import decode_report
from ibid.types import JobState, ParseReport


@dataclass(frozen=True, slots=True)
class PageCounts:
    """`total` is None where the format has no pages. Empty pages were read and hold no text; unreadable ones may.

    The text of those in `ocr` was recognised from their picture; that of those `waiting` was not, in this version.
    """

    total: int | None = None
    with_text: int | None = None
    ocr: tuple[int, ...] = ()
    empty: tuple[int, ...] = ()
    unreadable: tuple[int, ...] = ()
    waiting: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ElementCounts:
    """What the parser told apart."""

    total: int | None = None
    tables: int | None = None
    images_skipped: int | None = None
    links: int | None = None
    hidden_characters: int | None = None


@dataclass(frozen=True, slots=True)
class ChunkCounts:
    """`made` is the chunker's own count, `stored_sql` and `stored_vectors` are counted where they are stored."""

    made: int | None = None
    reused: int | None = None
    embedded: int | None = None
    stored_sql: int | None = None
    stored_vectors: int | None = None


@dataclass(frozen=True, slots=True)
class StageSeconds:
    """Seconds of the document's own parse, or its share of one with others; the other stages are those of its batch."""

    parse: float | None = None
    chunk: float | None = None
    embed: float | None = None
    index: float | None = None

    def of_stages(self) -> dict[str, float]:
        """What is known, by the name of the stage."""
        return {stage: value for stage, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is known of a version: a number is None, and not 0, until the stage that counts it has ended."""

    document_id: str
    version: int
    state: JobState
    generation_id: str
    parser: str | None = None
    pages: PageCounts = PageCounts()
    characters: int | None = None
    languages: tuple[str, ...] = ()
    elements: ElementCounts = ElementCounts()
    chunks: ChunkCounts = ChunkCounts()
    warnings: tuple[str, ...] = ()
    seconds: StageSeconds = StageSeconds()

    @property
    def whole(self) -> bool:
        """Whether nothing is missing but what waits: every page was read or waits, every chunk is stored twice.

        A version that was overtaken while its collection was reindexed has no chunks in the new generation, and
        misses none.
        """
        chunks = self.chunks
        return chunks.made == chunks.stored_sql == chunks.stored_vectors and not self.pages.unreadable


_RECEIPT: Final = TypeAdapter(Receipt)


def of(session: Session, version: Version) -> Receipt:
    """The receipt as it was kept when the version's job first ended well; before that, what SQL holds so far."""
    state = jobs.shown(session.get_one(Job, version.job_id))
    if version.receipt:
        return _RECEIPT.validate_python(version.receipt | {"state": state})
    return so_far(session, version, state, {})


def keep(version: Version, receipt: Receipt) -> None:
    """Keep the receipt with its version."""
    kept: dict[str, Any] = asdict(receipt)
    del kept["state"]  # the job's, and told by it
    version.receipt = kept


def so_far(
    session: Session,
    version: Version,
    state: JobState,
    seconds: Mapping[str, float],
    report: ParseReport | None = None,
) -> Receipt:
    """The counts in the collection's active generation. `report` is that of the version's parse, if it is at hand."""
    document = session.get_one(Document, version.document_id)
    generation_id = session.get_one(Collection, document.collection_id).active_generation_id
    receipt = Receipt(
        document_id=document.id,
        version=version.number,
        state=state,
        generation_id=generation_id,
        chunks=_chunks(session, generation_id, version.id),
    )
    parse = session.get(Parse, version.parse_key) if version.parse_key else None
    if parse is None:
        return receipt
    report = report or decode_report(parse.layout)
    spent = {stage: round(value, 3) for stage, value in {"parse": parse.seconds, **seconds}.items()}
    return replace(
        receipt,
        parser=report.parser,
        pages=_pages(report),
        characters=len(parse.text),
        languages=report.languages,
        elements=ElementCounts(
            report.elements, report.tables, report.images_skipped, report.links, report.hidden_characters
        ),
        warnings=report.warnings + _disagreement(receipt.chunks),
        seconds=StageSeconds(**spent),
    )


def _pages(report: ParseReport) -> PageCounts:
    return PageCounts(
        report.pages,
        report.pages_with_text,
        report.pages_ocr,
        report.pages_empty,
        report.pages_unreadable,
        report.pages_waiting,
    )


def _disagreement(chunks: ChunkCounts) -> tuple[str, ...]:
    if chunks.made == chunks.stored_sql == chunks.stored_vectors:
        return ()
    stored = f"{chunks.stored_sql} are in the database and {chunks.stored_vectors} in the vector store"
    return (f"Of {chunks.made} chunks {stored}. Reindex the collection.",)


def _chunks(session: Session, generation_id: str, version_id: str) -> ChunkCounts:
    """All unknown until the generation wholly holds the version."""
    indexing = session.get(Indexing, (generation_id, version_id))
    if indexing is None:
        return ChunkCounts()
    rows = (
        select(func.count())
        .select_from(ChunkRow)
        .where(ChunkRow.generation_id == generation_id, ChunkRow.version_id == version_id)
    )
    return ChunkCounts(
        made=indexing.made,
        reused=indexing.made - indexing.embedded,
        embedded=indexing.embedded,
        stored_sql=session.scalar(rows) or 0,
        stored_vectors=indexing.chunks,
    )
