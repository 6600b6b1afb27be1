"""Receipts: what each stage saw of a version, counted from what is stored and not from what was meant to be."""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ibid.db.tables import ChunkRow, Collection, Indexing, Parse, Version
from ibid.layout import decode_layout


def receipt(
    session: Session,
    version: Version,
    collection: Collection,
    *,
    embedded: int,
    seconds: dict[str, float],
) -> dict[str, Any]:
    """Counts per stage, warnings in words, and seconds per stage, for the collection's active generation."""
    parse = session.get_one(Parse, version.parse_key)
    report = decode_layout(parse.layout).report
    generation_id = collection.active_generation_id
    chunks = session.scalar(
        select(func.count())
        .select_from(ChunkRow)
        .where(ChunkRow.version_id == version.id, ChunkRow.generation_id == generation_id)
    )
    made = chunks or 0
    stored = session.get(Indexing, (generation_id, version.id))
    return {
        "document_id": version.document_id,
        "version": version.number,
        "parser": report.parser,
        "pages": None
        if report.pages is None
        else {"total": report.pages, "with_text": report.pages_with_text, "empty": list(report.pages_empty)},
        "characters": len(parse.text),
        "elements": {
            "total": report.elements,
            "tables": report.tables,
            "images_skipped": report.images_skipped,
        },
        "chunks": {
            "made": made,
            "reused": max(0, made - embedded),
            "embedded": embedded,
            "stored_sql": made,
            "stored_vectors": stored.chunks if stored else 0,
        },
        "generation_id": generation_id,
        "warnings": list(report.warnings),
        "seconds": {"parse": round(parse.seconds, 3)}
        | {name: round(value, 3) for name, value in seconds.items()},
    }
