"""Cleaning up after a delete: readers stopped seeing it at its commit; here the rows, points and bytes go.

The job of a deleted document or collection ends only after a scan of everything has found nothing more of it, and its
statistics are the certificate: what was removed, what was kept and why, where was looked, and what is outside.
"""

from typing import Any, Final

from sqlalchemy import delete, or_, select, update

from ibid import arrivals, claims, fits, forgetting, generations, holders, strays, uploads, versions, writing
from ibid.claims import Claim
from ibid.clock import now
from ibid.db import schema
from ibid.db.session import Database
from ibid.db.tables import ChunkRow, Collection, Erasure, Generation, Indexing, Version
from ibid.errors import Unavailable
from ibid.forgetting import Found, Traces
from ibid.types import JobState
from ibid.vectors.port import Fence
from ingest.erasing import erase, forget_chunks, points_of
from ingest.tools import Tools

ROUNDS: Final = 3

DROPPED: Final = "points_of_dropped_generations"

EXACT: Final = "exact"
AT_LEAST: Final = "at least: an earlier attempt ended early, and what it removed last may not be counted"

ALL_BYTES: Final = "every key under the hash of the document's bytes, and every part of its uploads"
KNOWN_BYTES: Final = (
    "every row of bytes with the hash of the document's, and every part of its uploads; not keys that no row knows, since a "
    "bucket may be shared"
)

OUTSIDE: Final = (
    "Logs of Ibid and of what stands before it are outside: they hold ids, addresses and states, and no text.",
    (
        "Archives and addresses that wait or are kept for another try, but for those named in `held_by`, and uploads that "
        "have not ended: what is in them was not looked at. They go when their jobs end well, or some hours after."
    ),
    "The same words in other bytes, such as a copy in another format or a packed one, were not looked for.",
    "Backups and snapshots of the data are outside; delete or rewrite them by your own rules.",
    "What disks, file systems and object stores keep of files that were removed is outside.",
    (
        "Vectors of removed points are no longer found, but the vector store overwrites them only when it rewrites its files, "
        "at the latest when the generation is replaced by a reindex and dropped. They hold numbers and no text."
    ),
    "Memory of running processes is outside; nothing shows it, and it ends with them.",
    (
        "A copy that a process was reading when it was killed is outside: `ibid-scratch-*` in its machine's temporary folder, "
        "which the next worker there removes after a minute."
    ),
)
SQLITE: Final = (
    (
        "SQLite overwrote the deleted rows (`secure_delete`), and its write-ahead log was emptied afterwards. Rows that were "
        "deleted by a version of Ibid before this certificate may be in free pages; `VACUUM` removes those."
    ),
)
SERVER: Final = (
    (
        "PostgreSQL overwrites deleted rows when it needs their room, after a vacuum; its write-ahead log, archives and "
        "replicas follow their own settings."
    ),
)


class NotForgotten(Unavailable):
    """The scan found something of a deleted document again and again; the job goes on until it finds nothing."""

    code = "not_forgotten"


def purge(tools: Tools, held: Claim) -> None:
    """Remove what was deleted: a document, a generation, a version's passages, or a whole collection."""
    if held.generation_id is not None:
        statistics = {"removed": _purge_generation(tools, held, held.generation_id)}
    elif held.version_id is not None:
        statistics = {"removed": _purge_version(tools, held, held.version_id)}
    else:
        statistics = _forget(tools, held)
    with tools.db.begin() as session:
        claims.finish(session, held, JobState.SUCCEEDED, statistics)
        session.execute(delete(Erasure).where(Erasure.job_id == held.id))


def _purge_generation(tools: Tools, held: Claim, generation_id: str) -> dict[str, Any]:
    tools.store.drop(generation_id)
    with tools.db.begin() as session:
        claims.progress(session, held, "removing")
        session.execute(delete(Indexing).where(Indexing.generation_id == generation_id))
        session.execute(update(Generation).where(Generation.id == generation_id).values(state="dropped"))
        fits.forget(session, [generation_id])
    return {"generations": 1} | forget_chunks(tools, held, ChunkRow.generation_id == generation_id)


def _purge_version(tools: Tools, held: Claim, version_id: str) -> dict[str, Any]:
    """Remove the passages of a version that was superseded, or given up before anybody saw it.

    The text of a superseded one stays, so that answers which cite it can be read. Who tries one that was given up again
    waits while this goes on, and what began before this did is left alone: nothing is removed without a look whether
    the attempt goes on, and what SQL says is stored goes first, so that a try after a crash in here stores it again.
    """
    with tools.db.begin() as session:
        claims.progress(session, held, "removing")
        over = select(Version.id).where(
            Version.id == version_id, or_(Version.live_to.is_not(None), versions.given_up())
        )
        if session.scalar(over) is None:
            return {}
        session.execute(delete(Indexing).where(Indexing.version_id == version_id))
        written = {generation.id for generation in generations.written(session, held.collection_id)}
    fence = Fence(held.id, held.attempt)
    for generation_id in sorted(tools.store.generations().intersection(written)):
        with writing.points(tools.db, version_id):
            with tools.db.begin(durable=False) as session:
                claims.check(session, held)
            tools.store.delete(generation_id, version_id=version_id, fence=fence)
    return dict(forget_chunks(tools, held, ChunkRow.version_id == version_id))


def _forget(tools: Tools, held: Claim) -> dict[str, Any]:
    """Forget one document or all of a collection; gives the certificate."""
    with tools.db.begin() as session:
        claims.progress(session, held, "removing")
        waiting = forgetting.unfinished(session, held)
    dropped = _drop_generations(tools, held) if held.document_id is None else {}
    if held.document_id is None:
        _forget_arrivals(tools, held.collection_id)
    states = _generations(tools, held)
    for done, document_id in enumerate(waiting):
        tools.go_on()
        with tools.db.begin() as session:
            claims.progress(session, held, "removing", done, len(waiting), "documents")
        _forget_document(tools, held, document_id, list(states))
    swept = _without_strays(tools)
    tools.db.scrub()
    return _certificate(tools, held, states, dropped, swept)


def _certificate(
    tools: Tools, held: Claim, states: dict[str, str], dropped: dict[str, int], swept: dict[str, int]
) -> dict[str, Any]:
    """What a deletion shows: `states` are of the generations where it looked, `dropped` counts points."""
    with tools.db.read() as session:
        removed, kept = forgetting.totals(session, held)
        holding = holders.noted(*forgetting.held_by(session, held))
    removed |= {f"stray_{name}": n for name, n in swept.items() if n}
    points = {
        id_: {"state": state, "points": removed.pop(points_of(id_), 0)} for id_, state in states.items()
    }
    points |= {id_: {"state": "dropped", "points": n} for id_, n in dropped.items()}
    gone = {name: removed.pop(name) for name in list(removed) if name.startswith(points_of(""))}
    points |= {
        name.removeprefix(points_of("")): {"state": "dropped", "points": n} for name, n in gone.items()
    }
    scan = {
        "at": now().isoformat(),
        "found": 0,
        "tables": forgetting.scanned_tables(),
        "tables_that_hold_nothing_of_documents": dict(forgetting.HOLD_NOTHING),
        "generations": sorted(states),
        "blobs": ALL_BYTES if tools.settings.standalone else KNOWN_BYTES,
    }
    return {
        "removed": removed | {"points": points},
        "counts": EXACT if held.attempt == 1 else AT_LEAST,
        "kept": kept,
        **holding,
        "scan": scan,
        "outside": _outside(tools.db),
    }


def _forget_arrivals(tools: Tools, collection_id: str) -> None:
    with tools.db.begin() as session:
        unused = arrivals.forget(session, collection_id)
    uploads.erase(tools.db, tools.blobs, unused)


def _forget_document(tools: Tools, held: Claim, document_id: str, stored: list[str]) -> None:
    """Remove and scan until nothing is left; raises `NotForgotten` if something always is."""
    for _ in range(ROUNDS):
        with tools.db.begin() as session:
            writing.check(session, held.collection_id, document_id)
            traces = forgetting.trace(session, held, document_id)
        erase(tools, held, traces, stored)
        found = _look(tools, traces, stored)
        if all(each.stays for each in found):
            with tools.db.begin() as session:
                claims.check(session, held)
                forgetting.finish(session, held, document_id, found)
            return
    left = ", ".join(sorted(f"{each.rows} in {each.table}" for each in found if not each.stays))
    raise NotForgotten(
        f"Something of the deleted document is still there: {left}. It is removed again later."
    )


def _look(tools: Tools, traces: Traces, stored: list[str]) -> list[Found]:
    """Everything that is found of the document, in SQL, among the bytes, and in the vector store."""
    # A bucket may be shared with another Ibid, whose bytes of the same content are not ours to look for.
    contents = traces.contents if tools.settings.standalone else ()
    listed = {key for digest in contents for key in tools.blobs.keys(f"{digest[:2]}/{digest}")}
    with tools.db.read() as session:  # after the bytes: the row of a new upload of them is written before
        found = forgetting.scan(session, traces)
        stray = listed - forgetting.blob_keys(session, traces)
    found += [Found("bytes", len(stray), "")] if stray else []
    for upload_id in traces.uploads:
        parts = list(tools.blobs.keys(f"parts/{upload_id}"))
        found += [Found("bytes of uploads", len(parts), "")] if parts else []
    for generation_id in tools.store.generations().intersection(stored):
        points = tools.store.count(generation_id, document_id=traces.document_id)
        found += [Found(f"vectors of {generation_id}", points, "")] if points else []
    return found


def _without_strays(tools: Tools) -> dict[str, int]:
    removed: dict[str, int] = {}
    for _ in range(ROUNDS):
        for name, n in strays.remove(tools.db).items():
            removed[name] = removed.get(name, 0) + n
        with tools.db.read() as session:
            found = strays.count(session)
        if not any(found.values()):
            return removed
    raise NotForgotten("Texts or vectors that belong to nothing come up again. They are removed again later.")


def _generations(tools: Tools, held: Claim) -> dict[str, str]:
    """States of the store's generations that may hold points of the collection: its own, and any unknown to SQL."""
    with tools.db.read() as session:
        rows = session.execute(select(Generation.id, Generation.collection_id, Generation.state)).all()
    elsewhere = {id_ for id_, collection_id, _ in rows if collection_id != held.collection_id}
    states = {id_: state for id_, _, state in rows}
    return {id_: states.get(id_, "unknown") for id_ in sorted(tools.store.generations() - elsewhere)}


def _drop_generations(tools: Tools, held: Claim) -> dict[str, int]:
    """Drop all generations of a deleted collection; gives how many points each had.

    They are counted before they go, and the counts kept, so that an attempt after a crash knows them.
    """
    with tools.db.begin() as session:
        ours = session.scalars(
            select(Generation.id).where(Generation.collection_id == held.collection_id)
        ).all()
    stored = tools.store.generations().intersection(ours)
    counts = {id_: tools.store.count(id_) for id_ in sorted(stored)}
    with tools.db.begin() as session:
        job = claims.check(session, held)
        before = job.statistics.get(DROPPED, {})
        counts = {id_: max(before.get(id_, 0), counts.get(id_, 0)) for id_ in {*before, *counts}}
        job.statistics = {DROPPED: counts}
    for id_ in sorted(ours):
        tools.store.drop(id_)
    with tools.db.begin() as session:
        # Its access list stays: it says who may see this job.
        session.execute(
            update(Collection).where(Collection.id == held.collection_id).values(name="", description="")
        )
        session.execute(update(Generation).where(Generation.id.in_(ours)).values(state="dropped"))
        fits.forget(session, ours)
    return counts


def _outside(db: Database) -> list[str]:
    """What no certificate of ours can speak for, in words."""
    copies = [path.name for path in schema.copies(db)]
    said = [*OUTSIDE, *(SQLITE if db.sqlite else SERVER)]
    if copies:
        said.append(
            f"Copies of the database that were made before upgrades still hold what was in it then: {', '.join(copies)}. "
            "Delete them once you no longer need to go back."
        )
    return said
