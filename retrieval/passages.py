"""Passages from chunks: neighbours that were both found are one passage, so that five passages are five places.

A chunk is as long as its vector can carry; what a reader wants to see is the place. A passage never crosses a page, and
its text is the canonical text from its first chunk to its last. Nothing but white space stands between two of them:
what the chunker left out, such as hidden text, is not shown because its neighbours were found.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Final

from sqlalchemy import CompoundSelect, Integer, String, and_, bindparam, func, or_, select, union_all
from sqlalchemy.orm import Session

from ibid.db.tables import ChunkRow, Parse, Version
from ibid.types import Hit

APART: Final = 2
"""Code points between two chunks at most: a line's end or two. An element that was left out takes more."""


@dataclass(frozen=True, slots=True)
class Found:
    """A chunk that a search found, its place among those of its version, its tokens, and under which key its vector is."""

    hit: Hit
    ordinal: int
    tokens: int
    embedding_key: str


def places(found: Iterable[Found], limit: int, longest: int) -> list[list[Found]]:
    """The first `limit` passages, each as its chunks with the best first; `found` is best first and read no further.

    A chunk joins the best passage that it is next to, on the same page, if that has fewer than `longest` chunks.
    """
    made: list[list[Found]] = []
    for each in found:
        joined = next((place for place in made if len(place) < longest and _next_to(each, place)), None)
        if joined is not None:
            joined.append(each)
        elif len(made) < limit:
            made.append([each])
        else:
            break
    return made


def grown(session: Session, made: Sequence[Sequence[Found]], most: int) -> list[Sequence[Found]]:
    """The passages, each with the chunks around it in its section until it has `most`: those under the same heading.

    A chunk goes to the better passage; a passage ends where a page does, or where something was left out.
    """
    around = _around(session, made, most)
    taken = {(place[0].hit.version_id, found.ordinal) for place in made for found in place}
    return [_grown(place, around, taken, most) for place in made]


def whole(session: Session, made: Sequence[Sequence[Found]]) -> tuple[Hit, ...]:
    """One hit for each passage: that of its best chunk, with the words of all.

    With its own alone if the text is purged by now, or says something between its chunks after all.
    """
    spans = [_span(place) for place in made]
    texts = _texts(session, {at: span for at, span in enumerate(spans) if len(made[at]) > 1})
    return tuple(
        replace(place[0].hit, start=start, end=end, text=texts[at])
        if at in texts and _seamless(place, start, texts[at])
        else place[0].hit
        for at, (place, (_, start, end)) in enumerate(zip(made, spans, strict=True))
    )


def _around(session: Session, made: Sequence[Sequence[Found]], most: int) -> dict[tuple[str, int], ChunkRow]:
    """The chunks that may belong to the passages, by version and place."""
    near = [
        and_(
            ChunkRow.generation_id == place[0].hit.generation_id,
            ChunkRow.version_id == place[0].hit.version_id,
            ChunkRow.ordinal.between(
                min(found.ordinal for found in place) - most, max(found.ordinal for found in place) + most
            ),
        )
        for place in made
    ]
    rows = session.scalars(select(ChunkRow).where(or_(*near))) if near else ()
    return {(row.version_id, row.ordinal): row for row in rows}


def _grown(
    place: Sequence[Found],
    around: Mapping[tuple[str, int], ChunkRow],
    taken: set[tuple[str, int]],
    most: int,
) -> list[Found]:
    """On both sides by turns: what follows first, since a passage is read on from where it begins."""
    best, chunks = place[0].hit, list(place)
    ends = {step: choose(place, key=lambda found: found.ordinal) for step, choose in ((1, max), (-1, min))}
    while len(chunks) < most and ends:
        for step, end in tuple(ends.items()):
            row = around.get((best.version_id, end.ordinal + step))
            if row is None or len(chunks) == most or not _continues(row, end, best, taken):
                del ends[step]
                continue
            ends[step] = _found(row, best)
            chunks.append(ends[step])
            taken.add((row.version_id, row.ordinal))
    return chunks


def _continues(row: ChunkRow, end: Found, best: Hit, taken: AbstractSet[tuple[str, int]]) -> bool:
    """Whether a chunk goes on where a passage ends, in the same section, and in no other passage."""
    free = (row.version_id, row.ordinal) not in taken
    return free and tuple(row.heading) == best.heading and _next_to(_found(row, best), [end])


def _found(row: ChunkRow, best: Hit) -> Found:
    """A chunk as if it had been found with the best of its passage."""
    hit = replace(best, chunk_id=row.id, text=row.text, start=row.start, end=row.end, page=row.page)
    return Found(hit, row.ordinal, row.tokens, row.embedding_key)


def _next_to(each: Found, place: Sequence[Found]) -> bool:
    mine = each.hit
    return any(
        (mine.version_id, mine.page) == (other.hit.version_id, other.hit.page)
        and abs(each.ordinal - other.ordinal) == 1
        and max(mine.start, other.hit.start) - min(mine.end, other.hit.end) <= APART
        for other in place
    )


def _seamless(place: Sequence[Found], start: int, text: str) -> bool:
    """Whether only white space stands between the chunks in the text, which begins at `start`."""
    hits = sorted((found.hit for found in place), key=lambda hit: hit.start)
    return not any(text[one.end - start : other.start - start].strip() for one, other in pairwise(hits))


def _span(place: Sequence[Found]) -> tuple[str, int, int]:
    """Version, start and end."""
    hits = [found.hit for found in place]
    return hits[0].version_id, min(hit.start for hit in hits), max(hit.end for hit in hits)


def _texts(session: Session, spans: Mapping[int, tuple[str, int, int]]) -> dict[int, str]:
    """Slices of canonical texts by number, in one question; SQL counts code points from one."""
    if not spans:
        return {}
    values = {
        f"{name}_{number}": value
        for number, (at, (version_id, start, end)) in enumerate(spans.items())
        for name, value in (
            ("at", at),
            ("version", version_id),
            ("start", start + 1),
            ("length", end - start),
        )
    }
    return dict(session.execute(_slices(len(spans)), values).all())


@cache
def _slices(count: int) -> CompoundSelect[int, str]:
    """So many slices; making it takes longer than asking it."""
    return union_all(
        *(
            select(
                bindparam(f"at_{number}", type_=Integer),
                func.substr(
                    Parse.text,
                    bindparam(f"start_{number}", type_=Integer),
                    bindparam(f"length_{number}", type_=Integer),
                ),
            )
            .join(Version, Version.parse_key == Parse.key)
            .where(Version.id == bindparam(f"version_{number}", type_=String))
            for number in range(count)
        )
    )
