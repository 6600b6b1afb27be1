"""A collection with in-memory stores and a real database, and the moves of the worker that reads into it."""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from sqlalchemy import func, select, update

from ibid import access, claims, collections, documents, integrity, uploads
from ibid.bootstrap import Parts
from ibid.claims import Claim
from ibid.clock import now
from ibid.db.tables import Job
from ibid.documents import Accepted, Upload
from ibid.types import Attachment, Element, ElementKind, JobState, Parsed, ParseReport, Scope
from ingest.tools import Tools
from ingest.work import work
from worker.rooms import ROOMS

LEASE = timedelta(seconds=20)
FACTS = "The bridge is 40 metres long.\n\nIt was built in 1931 by Ada Holm.\n\nLorries may not cross it."


class PlainReader:
    """Reads UTF-8 text, a paragraph an element; `before` may raise."""

    def __init__(self) -> None:
        self.parsed = 0
        self.before: Callable[[str], None] = lambda _text: None

    def close(self) -> None:
        pass

    def parse_together(self, files: Sequence[tuple[Path, str]], media_type: str) -> list[None]:
        return [None] * len(files)  # each is read alone

    def parse(self, path: Path, filename: str, media_type: str) -> Parsed:
        text = path.read_text()
        self.before(text)
        self.parsed += 1
        elements, start = [], 0
        for paragraph in text.split("\n\n"):
            elements.append(Element(ElementKind.PARAGRAPH, start, start + len(paragraph)))
            start += len(paragraph) + 2
        return Parsed(text, tuple(elements), (), ParseReport("plain", elements=len(elements)))


class MailReader(PlainReader):
    """A paragraph `name: text` is a file inside, in which ` / ` parts its paragraphs, ` // ` those of what is inside it."""

    def parse(self, path: Path, filename: str, media_type: str) -> Parsed:
        parsed = super().parse(path, filename, media_type)
        found = [part.split(": ", 1) for part in parsed.text.split("\n\n") if ": " in part]
        inside = tuple(Attachment(name, _unfolded(text)) for name, text in found)
        return replace(parsed, attachments=inside)


def _unfolded(text: str) -> bytes:
    return re.sub(r" (/+) ", lambda found: f" {found[1][1:]} " if found[1][1:] else "\n\n", text).encode()


class Shop:
    """A collection, a reader and a worker's moves."""

    def __init__(self, parts: Parts, scope: Scope) -> None:
        self.parts, self.scope, self.reader = parts, scope, PlainReader()
        self.tools = Tools(parts.settings, parts.db, parts.store, parts.blobs, parts.encoders, self.reader)
        with parts.db.begin() as session:
            self.collection = collections.create(
                session, name="facts", description="", grants=None, recipe=parts.recipe()
            ).id

    def use(self, reader: PlainReader) -> None:
        """Read with another reader from now on."""
        self.reader = reader
        self.tools = replace(self.tools, reader=reader)

    def upload(self, text: str, name: str = "bridge.txt", **described: object) -> Accepted:
        kept = uploads.keep(self.parts.db, self.parts.blobs, io.BytesIO(text.encode()))
        with self.parts.db.begin() as session:
            return documents.accept(
                session, self.scope, self.collection, Upload(name, "text/plain", kept, **described)
            )

    def claim(self) -> list[Claim]:
        with self.parts.db.begin() as session:
            return claims.claim(session, "w", lease=LEASE, limit=16)

    def lose(self) -> str:
        """A job whose worker is gone."""
        self.upload(FACTS)
        (held,) = self.claim()
        self.expire_leases()
        return held.id

    def expire_leases(self) -> None:
        with self.parts.db.begin() as session:
            session.execute(update(Job).where(Job.state == JobState.RUNNING).values(lease_until=now()))

    def work(self) -> None:
        """Work until nothing is due."""
        while claims := self.claim():
            work(self.tools, claims, ROOMS)

    def state(self, job_id: str | None) -> str:
        return self.job(job_id).state

    def job(self, job_id: str | None) -> Job:
        with self.parts.db.read() as session:
            return session.get_one(Job, job_id)

    def count(self, table: type) -> int:
        with self.parts.db.read() as session:
            return session.scalar(select(func.count()).select_from(table)) or 0

    def due_now(self) -> None:
        with self.parts.db.begin() as session:
            session.execute(update(Job).values(not_before=now()))

    def points(self) -> int:
        return sum(self.parts.store.count(generation_id) for generation_id in self.parts.store.generations())

    def live(self, document_id: str) -> int | None:
        with self.parts.db.read() as session:
            document = access.document(session, self.scope, document_id)
            return documents.view(session, document).live_version

    def agree(self) -> None:
        """SQL and the store hold the same."""
        for found in integrity.verify(self.parts, self.scope, self.collection, repair=False):
            assert (found.orphans, found.gaps, found.stale) == (0, 0, 0)
            assert found.points == found.chunks

    def delete(self, document_id: str) -> None:
        with self.parts.db.begin() as session:
            documents.delete(session, self.scope, document_id, grace=None)
