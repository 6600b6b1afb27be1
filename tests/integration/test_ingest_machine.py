"""The whole of ingestion under everything that can happen to its workers: a state machine that Hypothesis drives.

A worker is killed between any two of its steps (before or after a transaction, a call to a store, a blob, the encoder or
the parser), or suspended there while another one does its work and people upload, delete and cancel; then it goes on.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import event, select, update

from ibid import children, claims, families, integrity, jobs, uploads, versions
from ibid.blobs.memory import MemoryBlobStore
from ibid.bootstrap import open_parts
from ibid.claims import Claim
from ibid.clock import now
from ibid.db.session import Database
from ibid.db.tables import Base, Blob, ChunkRow, Document, Embedding, Job, Parse, Version
from ibid.documents import Accepted
from ibid.jobs import AlreadyLive, JobEnded
from ibid.nudge.memory import MemoryNudge
from ibid.settings import Settings
from ibid.types import TERMINAL, JobState, Scope
from ibid.vectors.errors import Fenced
from ibid.vectors.memory import MemoryVectorStore
from ibid.vectors.port import Fence
from ingest.work import work
from tests.unit.shop import LEASE, MailReader, Shop

NAMES = ("a.txt", "b.txt", "mail.txt")
TEXTS = (
    "One bridge.\n\nIt was built in 1931.",
    "One bridge.\n\nIt was built in 1932.\n\nLorries may not cross it.",
    "Another text.",
    "A mail.\n\nfirst.txt: The pump. / It was replaced.\n\nsecond.txt: The valve.",
    "A mail, once more.\n\nsecond.txt: The valve, changed.\n\nthird.txt: The pipe.",
)
MANY = 10_000  # failures, so that no healthy document is given up here


class Killed(BaseException):
    """What `kill -9` leaves: nothing is caught, and an open transaction is rolled back."""


@dataclass
class Fate:
    """What happens at the worker's so-many-th step from now."""

    at: int = 0
    act: Callable[[], None] = field(default=lambda: None)

    def step(self) -> None:
        self.at -= 1
        if self.at == 0:
            self.act()


class Watched:
    """A port of the worker; its fate may meet it before and after each call."""

    def __init__(self, port: Any, fate: Fate) -> None:
        self._port, self._fate = port, fate

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._port, name)
        if not callable(value):
            return value

        if name == "get":  # an encoder, whose calls are steps
            return lambda asked: Watched(value(asked), self._fate)

        def call(*arguments: Any, **named: Any) -> Any:
            self._fate.step()
            given = value(*arguments, **named)
            self._fate.step()
            return given

        return call

    @contextmanager
    def begin(self, **named: bool) -> Iterator[Any]:
        self._fate.step()
        with self._port.begin(**named) as session:
            yield session
        self._fate.step()

    def read(self) -> Any:
        """What happens before a read happens before the step that follows it."""
        return self._port.read()


class OwnedStore(MemoryVectorStore):
    """Asks SQL, as the process that owns a store does, whether the writer's attempt is still the one that may write."""

    def __init__(self, db: Database) -> None:
        super().__init__()
        self._db = db

    def upsert(self, generation_id: str, points: Any, *, fence: Fence | None = None) -> None:
        if fence is not None:
            with self._db.read() as session:
                if not claims.may_write(session, fence.job_id, fence.attempt):
                    raise Fenced("The attempt is over.")
        super().upsert(generation_id, points, fence=fence)


class Ingestion(RuleBasedStateMachine):
    """Uploads, deletions and workers of all fates over one collection."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        config = Settings(data_dir=Path(self.folder.name), embedder="hashing", sample=False)
        self.db = Database(config.sql_url)
        event.listen(self.db.engine, "connect", lambda made, _: made.execute("PRAGMA synchronous=OFF"))
        event.listen(self.db.engine, "connect", lambda made, _: made.execute("PRAGMA busy_timeout=300"))
        Base.metadata.create_all(self.db.engine)
        parts = open_parts(
            config, db=self.db, store=OwnedStore(self.db), blobs=MemoryBlobStore(), nudge=MemoryNudge()
        )
        self.shop = Shop(parts, Scope("key_admin", "admin"))
        self.shop.use(MailReader())
        self.sent: dict[tuple[str, int], str] = {}
        self.held: list[Claim] = []

    def teardown(self) -> None:
        try:
            self.settle()
            self.everything_agrees()
        finally:
            self.db.dispose()
            self.folder.cleanup()

    @initialize(text=st.sampled_from(TEXTS))
    def begin(self, text: str) -> None:
        self.upload("mail.txt", text)

    @rule(name=st.sampled_from(NAMES), text=st.sampled_from(TEXTS))
    def upload(self, name: str, text: str) -> None:
        accepted: Accepted = self.shop.upload(text, name)
        self.sent[accepted.document_id, accepted.version] = text

    @rule(index=st.integers(0, 9))
    def delete(self, index: int) -> None:
        if there := self.living():
            self.shop.delete(there[index % len(there)].id)

    @rule(index=st.integers(0, 9))
    def cancel(self, index: int) -> None:
        with self.db.begin() as session:
            running = list(session.scalars(select(Job.id).where(Job.state.not_in(TERMINAL)).order_by(Job.id)))
            if running:
                with suppress(JobEnded, AlreadyLive):
                    jobs.cancel(session, self.shop.scope, running[index % len(running)])

    def delete_held(self) -> None:
        """Delete what the suspended worker is working on."""
        held = {claim.document_id for claim in self.held}
        for document in self.living():
            if document.id in held and document.parent_id is None:  # what is inside goes with it
                self.shop.delete(document.id)

    def cancel_held(self) -> None:
        with self.db.begin() as session:
            for claim in self.held:
                with suppress(JobEnded, AlreadyLive):
                    jobs.cancel(session, self.shop.scope, claim.id)

    @rule()
    def work(self) -> None:
        self.shop.work()

    @rule(at=st.integers(1, 70), limit=st.integers(1, 4), text=st.sampled_from(TEXTS))
    def worker_is_killed(self, at: int, limit: int, text: str) -> None:
        def die() -> None:
            raise Killed

        self.upload("a.txt", text)
        try:
            self.work_until(at, die, self.claim(limit))
        except Killed:
            self.others_notice()

    @rule(
        at=st.integers(1, 70),
        limit=st.integers(1, 4),
        text=st.sampled_from(TEXTS),
        meanwhile=st.lists(
            st.one_of(
                st.tuples(st.sampled_from(["delete_held", "cancel_held", "others_notice", "work"])),
                st.tuples(st.just("upload"), st.sampled_from(NAMES), st.sampled_from(TEXTS)),
                st.tuples(st.sampled_from(["delete", "cancel"]), st.integers(0, 9)),
            ),
            min_size=1,
            max_size=4,
        ),
    )
    def worker_is_suspended(self, at: int, limit: int, text: str, meanwhile: list[tuple[Any, ...]]) -> None:
        def happen() -> None:
            for name, *arguments in meanwhile:
                getattr(self, name)(*arguments)

        self.upload("mail.txt", text)
        self.held = self.claim(limit)
        self.work_until(at, happen, self.held)

    @invariant()
    def no_name_is_there_twice(self) -> None:
        names = Counter((document.parent_id, document.name) for document in self.living())
        assert not names or max(names.values()) == 1

    def claim(self, limit: int) -> list[Claim]:
        with self.db.begin() as session:
            return claims.claim(session, "w", lease=LEASE, limit=limit)

    def work_until(self, at: int, act: Callable[[], None], held: list[Claim]) -> bool:
        """Work with something to happen at a step; whether the work had so many."""
        fate, tools = Fate(at, act), self.shop.tools
        watched: dict[str, Any] = {
            name: Watched(getattr(tools, name), fate)
            for name in ("db", "store", "blobs", "encoders", "reader")
        }
        if held:
            work(replace(tools, **watched), held)
        return fate.at <= 0

    def others_notice(self) -> None:
        """The leases of whoever works run out, and the jobs are due at once."""
        self.shop.expire_leases()
        with self.db.begin() as session:
            claims.sweep(session, max_failures=MANY)
            versions.clear_cancelled(session)
        self.shop.due_now()

    def living(self) -> list[Document]:
        with self.db.read() as session:
            there = select(Document).where(Document.deleted_at.is_(None)).order_by(Document.id)
            return list(session.scalars(there))

    def settle(self) -> None:
        """Whatever has happened: one honest worker ends everything."""
        for _ in range(50):
            self.others_notice()
            self.shop.work()
            with self.db.read() as session:
                if not session.scalar(select(Job.id).where(Job.state.not_in(TERMINAL)).limit(1)):
                    break
        with self.db.begin() as session:
            session.execute(update(Blob).values(touched_at=now() - timedelta(days=1)))
            orphans = uploads.orphans(session)
        uploads.erase(self.db, self.shop.parts.blobs, orphans)

    def everything_agrees(self) -> None:
        with self.db.read() as session:
            states = {job.id: JobState(job.state) for job in session.scalars(select(Job))}
            assert set(states.values()) <= {JobState.SUCCEEDED, JobState.CANCELLED}, states
            for document in self.living():
                versions = session.scalars(select(Version).where(Version.document_id == document.id)).all()
                read = [v for v in versions if states[v.job_id] is JobState.SUCCEEDED]
                newest = max(read, key=lambda version: version.number, default=None)
                assert document.current_version_id == (newest.id if newest else None)
                if newest is not None:
                    self.is_read_whole(session, document, newest)
            alive = {document.id for document in self.living()}
            assert {v.document_id for v in session.scalars(select(Version))} <= alive
            keys = {row.embedding_key for row in session.scalars(select(ChunkRow))}
            assert set(session.scalars(select(Embedding.key))) <= keys
            referred = set(session.scalars(select(Version.parse_key).where(Version.parse_key.is_not(None))))
            assert set(session.scalars(select(Parse.key))) == referred
            assert set(self.shop.parts.blobs.keys()) == set(session.scalars(select(Blob.key)))
        for found in integrity.verify(self.shop.parts, self.shop.scope, self.shop.collection, repair=False):
            assert (found.orphans, found.gaps, found.stale) == (0, 0, 0)

    def is_read_whole(self, session: Any, document: Document, version: Version) -> None:
        text = session.get_one(Parse, version.parse_key).text
        assert text == self.sent.get((document.id, version.number), text)
        chunks = session.scalars(select(ChunkRow).where(ChunkRow.version_id == version.id)).all()
        assert chunks
        assert all(chunk.text == text[chunk.start : chunk.end] for chunk in chunks)
        assert all(session.get(Embedding, chunk.embedding_key) for chunk in chunks)
        wanted = {row.name for row in children.of_parse(session, version.parse_key)}
        assert {child.name for child in families.inside(session, document.id)} <= wanted


Ingestion.TestCase.settings = settings(
    max_examples=20, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
TestIngestion = Ingestion.TestCase


class TestEveryStep:
    """What chance may not find in a while: each of these at every step of reading a mail's second version."""

    @pytest.mark.parametrize(
        "meanwhile",
        [
            ["die"],
            ["cancel_held"],
            ["delete_held", "work"],
            ["others_notice", "work"],
            ["others_notice", "cancel_held"],
            ["newer"],
            ["others_notice", "newer", "work"],
        ],
        ids=", ".join,
    )
    def test_is_met_by(self, meanwhile: list[str]) -> None:
        machine = Ingestion()
        try:
            at = 1
            while self.is_met(machine, at, meanwhile):
                at += 1
            assert at > 20
        finally:
            machine.teardown()  # which compares what is there

    def is_met(self, machine: Ingestion, at: int, meanwhile: list[str]) -> bool:
        """Whether there is so late a step."""
        name = f"mail-{at}.txt"

        def happen() -> None:
            for act in meanwhile:
                if act == "die":
                    raise Killed
                if act == "newer":
                    machine.upload(name, f"Newer than {at}.")
                else:
                    getattr(machine, act)()

        machine.upload(name, f"A mail.\n\nfirst.txt: Pump {at}. / It leaks.\n\nsecond.txt: The valve.")
        machine.work()
        machine.upload(name, f"Mail {at} once more.\n\nsecond.txt: The valve, changed.\n\nthird.txt: A pipe.")
        machine.held = machine.claim(1)
        try:
            met = machine.work_until(at, happen, machine.held)
        except Killed:
            met = True
        machine.others_notice()
        machine.work()
        return met
