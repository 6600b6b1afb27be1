"""Archives become documents: counted once whatever interrupts it, held to the rules of uploads, gone when done with."""

import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from io import BytesIO

import pytest
from sqlalchemy import select, update

from ibid import arrivals, claims, collections, deletions, documents, jobs, media, uploads
from ibid.arrivals import Archive
from ibid.bootstrap import Parts
from ibid.claims import LeaseLost
from ibid.clock import now
from ibid.db.tables import Arrival, Audit, Blob, Document, Job
from ibid.deletions import Filter
from ibid.media import UnsupportedType
from ibid.types import JobState, Scope
from ingest import unpacking
from ingest.archives import entries
from ingest.archives.bounds import Bounds
from ingest.work import work
from tests.unit.shop import FACTS, Shop
from tests.unit.test_archives import tarred, zipped
from worker import housekeeping

FILES = tuple((f"folder/{n}.txt", f"Pump {n} runs.".encode()) for n in range(12))
ANN = Scope(key_id="key_app", role="editor", principals=frozenset({"user:ann", "key:key_app"}), actor="ann")
BOB = Scope(key_id="key_app", role="editor", principals=frozenset({"user:bob", "key:key_app"}), actor="bob")


@pytest.fixture
def shop(parts: Parts, admin: Scope) -> Shop:
    return Shop(parts, admin)


def send(
    shop: Shop, content: bytes, name: str = "a.zip", scope: Scope | None = None, **described: object
) -> str:
    """The job that unpacks it."""
    kept = uploads.keep(shop.parts.db, shop.parts.blobs, BytesIO(content))
    with shop.parts.db.begin() as session:
        archive = Archive(name, kept, **described)
        return arrivals.unpack(session, scope or shop.scope, shop.collection, archive).job_id


def listed(shop: Shop, **filters: str) -> dict[str | None, documents.DocumentView]:
    with shop.parts.db.read() as session:
        rows = documents.listing(session, shop.scope, shop.collection, after=None, limit=200, **filters)
    return {row.external_id: row for row in rows}


def counts(shop: Shop, job_id: str) -> dict[str, object]:
    told = shop.job(job_id).statistics
    return {name: told[name] for name in ("created", "updated", "unchanged", "refused", "left_out")}


def only(**counted: int) -> dict[str, object]:
    """Counts of a job: those that are given, and otherwise none."""
    return dict.fromkeys(("created", "updated", "unchanged", "refused", "left_out"), 0) | counted


def only_blobs_of_documents(shop: Shop) -> bool:
    """Whether nothing is kept that no version needs."""
    kept = set(shop.parts.blobs.keys())
    with shop.parts.db.read() as session:
        rows = session.scalars(select(Blob)).all()
    return kept == {row.key for row in rows} and len(kept) == len({d.sha256 for d in listed(shop).values()})


class TestUnpack:
    @pytest.mark.parametrize("name", ["a.zip", "a.tar"])
    def test_makes_documents_once_and_keeps_nothing_else(self, shop: Shop, name: str) -> None:
        content = zipped(*FILES) if name == "a.zip" else tarred(*FILES)
        first = send(shop, content, name, metadata={"from": "archive"})
        shop.work()
        assert shop.state(first) == JobState.SUCCEEDED
        assert counts(shop, first) == only(created=12)
        found = listed(shop)
        assert set(found) == {path for path, _ in FILES}
        assert {(d.name, d.version, d.live_version) for d in found.values()} == {
            (path.removeprefix("folder/"), 1, 1) for path, _ in FILES
        }
        assert {d.batch_id for d in found.values()} == {first}
        assert all(d.metadata == {"from": "archive"} for d in found.values())
        assert only_blobs_of_documents(shop)
        shop.agree()
        again = send(shop, content, name)
        shop.work()
        assert counts(shop, again) == only(unchanged=12)
        assert set(listed(shop, batch=again)) == {path for path, _ in FILES}
        assert only_blobs_of_documents(shop)

    def test_new_bytes_are_new_versions(self, shop: Shop) -> None:
        send(shop, zipped(*FILES))
        shop.work()
        job_id = send(shop, zipped(("folder/0.txt", b"Pump 0 stands."), FILES[1], ("new.txt", b"New.")))
        shop.work()
        assert counts(shop, job_id) == only(created=1, updated=1, unchanged=1)
        assert listed(shop)["folder/0.txt"].live_version == 2

    def test_prefix_keeps_archives_apart(self, shop: Shop) -> None:
        for prefix in ("one", "two/"):
            send(shop, zipped(("README.md", b"x")), external_id=prefix)
        send(shop, zipped(("f/" * 200 + "a.txt", b"x")), external_id="p" * 200)
        shop.work()
        assert set(listed(shop)) == {"one/README.md", "two/README.md"}

    def test_refused_are_listed_with_a_reason(self, shop: Shop) -> None:
        files = [(f"{n}.mp4", b"x") for n in range(60)]
        content = zipped(("ok.txt", b"x"), ("f/", b""), ("no.pdf", b"no pdf"), *files)
        job_id = send(shop, content)
        shop.work()
        assert shop.state(job_id) == JobState.PARTIALLY_SUCCEEDED
        assert counts(shop, job_id) == only(created=1, refused=61, left_out=1)
        told = shop.job(job_id).statistics
        assert (len(told["refusals"]), told["more_refusals"]) == (50, 11)
        assert told["refusals"][0]["path"] == "no.pdf"
        assert told["refusals"][0]["code"] == "unsupported_type"
        assert "is not a PDF" in told["refusals"][0]["message"]

    def test_nothing_taken_fails_and_says_why(self, shop: Shop) -> None:
        refused = send(shop, zipped(("a.mp4", b"x")))
        empty = send(shop, zipped(("f/", b"")))
        damaged = send(shop, zipped(*FILES)[:200])
        shop.work()
        assert [shop.job(job_id).error_code for job_id in (refused, empty, damaged)] == [
            "all_refused",
            "empty_archive",
            "unreadable",
        ]
        assert shop.job(refused).statistics["refusals"][0]["path"] == "a.mp4"
        assert shop.count(Document) == 0

    def test_nothing_taken_can_be_tried_again_from_the_start(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise UnsupportedType("Not today.")

        with monkeypatch.context() as patched:
            patched.setattr(media, "check_upload", refuse)
            job_id = send(shop, zipped(*FILES))
            shop.work()
        assert shop.job(job_id).error_code == "all_refused"
        with shop.parts.db.begin() as session:
            jobs.retry(session, shop.scope, job_id)
        shop.work()
        assert shop.job(job_id).state == JobState.SUCCEEDED
        assert shop.count(Document) == len(FILES)

    def test_bomb_costs_one_error_and_nothing_is_taken(self, shop: Shop) -> None:
        bomb = [(f"{n}.txt", bytes(9 * 1024 * 1024)) for n in range(9)]
        for content, name in ((zipped(*FILES, *bomb), "a.zip"), (tarred(*FILES, *bomb), "a.tar")):
            shop.tools = replace(shop.tools, settings=settings(shop, max_unpacked_bytes=80 * 1024 * 1024))
            job_id = send(shop, content, name)
            shop.work()
            assert shop.job(job_id).error_code == "too_large_when_unpacked"
        assert shop.count(Document) == 0

    def test_is_written_down_as_done_by_the_sender(self, shop: Shop) -> None:
        job_id = send(shop, zipped(*FILES), scope=ANN)
        shop.work()
        with shop.parts.db.read() as session:
            rows = session.scalars(select(Audit)).all()
        assert {(row.actor, row.key_id, row.action, row.detail["brought_by"]) for row in rows} == {
            ("ann", "key_app", "document.upload", job_id)
        }
        assert len(rows) == 12


def settings(shop: Shop, **values: object):
    return shop.parts.settings.model_copy(update=values)


class Interrupted(RuntimeError):
    """Stands for `kill -9`: nothing that comes after it is done."""


def until_ended(shop: Shop, job_id: str) -> int:
    """Attempts until the job has ended, each of which may be killed."""
    for attempt in range(100):
        if shop.job(job_id).finished_at is not None:
            return attempt
        held = [claim for claim in shop.claim() if claim.id == job_id]
        with suppress(Interrupted):
            if held:
                work(shop.tools, held)
        shop.expire_leases()
        with shop.parts.db.begin() as session:
            claims.sweep(session, max_failures=3)
        shop.due_now()
    raise AssertionError("it does not end")


class TestInterruption:
    """Killed at every step of every entry, and gone on with by the next attempt."""

    @pytest.mark.parametrize("name", ["a.zip", "a.tar"])
    @pytest.mark.parametrize("step", ["keep", "accept", "after"])
    def test_at_any_step_counts_nothing_twice(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch, name: str, step: str
    ) -> None:
        files = [*FILES[:5], ("no.mp4", b"x"), *FILES[5:], ("f/", b"")]
        job_id = send(shop, zipped(*files) if name == "a.zip" else tarred(*files), name)
        real_keep, real_once = uploads.keep, unpacking._accept
        alive = {"n": 0}

        def die() -> None:
            alive["n"] += 1
            if alive["n"] % 3 == 0:
                raise Interrupted

        def keep(*given: object) -> uploads.Kept:
            kept = real_keep(*given)
            if step == "keep":
                die()
            return kept

        def once(*given: object) -> None:
            if step == "accept":
                die()
            real_once(*given)
            if step == "after":
                die()

        monkeypatch.setattr(uploads, "keep", keep)
        monkeypatch.setattr(unpacking, "_accept", once)
        attempts = until_ended(shop, job_id)
        assert attempts > 3
        assert shop.state(job_id) == JobState.PARTIALLY_SUCCEEDED
        assert counts(shop, job_id)["created"] == 12
        assert counts(shop, job_id)["refused"] == 1
        assert [(d.version, d.batch_id) for d in listed(shop).values()] == [(1, job_id)] * 12

    def test_late_worker_changes_nothing(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        job_id = send(shop, zipped(*FILES))
        real = unpacking._accept
        (late,) = shop.claim()

        def once(*given: object) -> None:
            monkeypatch.setattr(unpacking, "_accept", real)
            shop.expire_leases()
            with shop.parts.db.begin() as session:
                claims.sweep(session, max_failures=3)
            shop.due_now()
            shop.work()
            with pytest.raises(LeaseLost):
                real(*given)
            raise Interrupted

        monkeypatch.setattr(unpacking, "_accept", once)
        with pytest.raises(Interrupted):
            work(shop.tools, [late])
        assert counts(shop, job_id)["created"] == 12
        assert {d.version for d in listed(shop).values()} == {1}

    def test_told_to_stop_goes_back_and_on(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        job_id = send(shop, zipped(*FILES))
        real = unpacking._accept

        def once(this: unpacking._Unpacking, *more: object) -> None:
            real(this, *more)
            if this.tally.taken == 5:
                shop.tools.stopping.set()

        monkeypatch.setattr(unpacking, "_accept", once)
        work(shop.tools, shop.claim())
        assert (shop.state(job_id), len(listed(shop)), shop.job(job_id).failures) == (JobState.QUEUED, 5, 0)
        shop.tools.stopping.clear()
        shop.work()
        assert counts(shop, job_id)["created"] == 12

    def test_cancelled_keeps_what_it_took_and_can_go_on(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job_id = send(shop, zipped(*FILES))
        real = unpacking._accept

        def once(this: unpacking._Unpacking, *more: object) -> None:
            real(this, *more)
            if this.tally.taken == 5:
                with shop.parts.db.begin() as session:
                    jobs.cancel(session, shop.scope, job_id)

        monkeypatch.setattr(unpacking, "_accept", once)
        work(shop.tools, shop.claim())
        assert (shop.state(job_id), len(listed(shop))) == (JobState.CANCELLED, 5)
        monkeypatch.setattr(unpacking, "_accept", real)
        with shop.parts.db.begin() as session:
            jobs.retry(session, shop.scope, job_id)
        shop.work()
        assert counts(shop, job_id)["created"] == 12

    @pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz"])
    @pytest.mark.parametrize("before", [0, 5])
    def test_cancelled_while_it_is_listed_ends_there(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch, name: str, before: int
    ) -> None:
        """Also after an attempt that has taken some: they stay, and the job says how many."""
        noise = random.Random(1)
        files = [(f"{n}.txt", f"Pump {n}. {noise.randbytes(100_000).hex()}".encode()) for n in range(20)]
        packing = name.removeprefix("a.tar").removeprefix(".")
        job_id = send(shop, tarred(*files, mode=f"w:{packing}"), name)
        accept, survey, seen = unpacking._accept, entries.survey, []

        def stopped(this: unpacking._Unpacking, *more: object) -> None:
            accept(this, *more)
            if this.tally.taken == before:
                shop.tools.stopping.set()

        def cancelled(archive: entries.Archive, bounds: Bounds) -> list[entries.Entry]:
            class Counted:
                def entries(self) -> Iterator[entries.Found]:
                    for found in archive.entries():
                        seen.append(found)
                        yield found
                        with shop.parts.db.begin() as session:
                            jobs.cancel(session, shop.scope, job_id)

            return survey(Counted(), bounds)

        if before:
            monkeypatch.setattr(unpacking, "_accept", stopped)
            work(shop.tools, shop.claim())
            shop.tools.stopping.clear()
        monkeypatch.setattr(unpacking, "LOOK_SECONDS", 0.0)
        monkeypatch.setattr(entries, "survey", cancelled)
        shop.work()
        assert shop.state(job_id) == JobState.CANCELLED
        assert 0 < len(seen) < len(files)
        assert counts(shop, job_id) == only(created=before)
        assert len(listed(shop)) == before

    @pytest.mark.parametrize("name", ["a.zip", "a.tar"])
    def test_others_have_their_turn(self, shop: Shop, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        """A long archive does not keep a single file waiting; here it is too long after every entry."""
        monkeypatch.setattr(unpacking, "_turn_ends", lambda _began: 0.0)
        job_id = send(shop, zipped(*FILES) if name == "a.zip" else tarred(*FILES), name)
        (held,) = shop.claim()
        other = shop.upload(FACTS)
        work(shop.tools, [held])
        assert (shop.state(job_id), shop.job(job_id).progress_done) == (JobState.QUEUED, 1)
        work(shop.tools, shop.claim())
        assert shop.state(other.job_id) == JobState.SUCCEEDED
        shop.work()
        assert counts(shop, job_id)["created"] == 12
        assert shop.job(job_id).failures == 0
        assert {d.version for d in listed(shop).values()} == {1}

    def test_full_queue_is_waited_for(self, shop: Shop) -> None:
        shop.tools = replace(shop.tools, settings=settings(shop, max_queued=3))
        for n in range(3):
            shop.upload(FACTS, name=f"{n}.txt")
        job_id = send(shop, zipped(*FILES))
        (held,) = (claim for claim in self._claims(shop) if claim.id == job_id)
        work(shop.tools, [held])
        assert (shop.state(job_id), shop.job(job_id).error_code) == (JobState.QUEUED, "queue_full")

    @staticmethod
    def _claims(shop: Shop):
        """The archive's claim; the uploads wait on."""
        with shop.parts.db.begin() as session:
            ingests = session.scalars(select(Job).where(Job.kind == "ingest")).all()
            for job in ingests:
                job.not_before = now() + timedelta(hours=1)
        return shop.claim()


class TestBytes:
    def test_of_a_waiting_archive_are_no_orphans(self, shop: Shop) -> None:
        job_id = send(shop, zipped(*FILES))
        with shop.parts.db.begin() as session:
            session.execute(update(Blob).values(touched_at=now() - timedelta(days=2)))
            assert uploads.orphans(session) == set()
            blob_id = session.get_one(Arrival, job_id).blob_id
        assert uploads.erase(shop.parts.db, shop.parts.blobs, {blob_id}) == 0
        shop.work()
        assert shop.state(job_id) == JobState.SUCCEEDED

    def test_of_one_that_failed_are_kept_for_a_while(self, shop: Shop) -> None:
        job_id = send(shop, zipped(("a.mp4", b"x")))
        shop.work()
        housekeeping.sweep(shop.parts, now())
        assert shop.count(Blob) == 1
        with shop.parts.db.begin() as session:
            session.execute(update(Job).values(finished_at=now() - timedelta(hours=25)))
        housekeeping.sweep(shop.parts, now())
        assert shop.count(Blob) == 0
        with shop.parts.db.begin() as session, pytest.raises(jobs.JobNotRetryable, match="no longer kept"):
            jobs.retry(session, shop.scope, job_id)

    def test_shared_with_a_second_archive_stay_for_it(self, shop: Shop) -> None:
        first, second = send(shop, zipped(*FILES)), send(shop, zipped(*FILES), external_id="second")
        with shop.parts.db.begin() as session:
            session.get_one(Job, second).not_before = now() + timedelta(hours=1)
        shop.work()
        assert shop.state(first) == JobState.SUCCEEDED
        shop.due_now()
        shop.work()
        assert counts(shop, second)["created"] == 12

    def test_go_with_the_collection(self, shop: Shop) -> None:
        job_id = send(shop, zipped(*FILES))
        with shop.parts.db.begin() as session:
            collections.delete(session, shop.scope, shop.collection, grace=None)
        shop.work()
        assert shop.state(job_id) == JobState.CANCELLED
        assert shop.count(Blob) == 0


class TestBatch:
    def test_is_deleted_together(self, shop: Shop) -> None:
        shop.upload(FACTS, name="other.txt")
        job_id = send(shop, zipped(*FILES))
        shop.work()
        with shop.parts.db.begin() as session:
            ids = deletions.matching(session, shop.scope, shop.collection, Filter(batch=job_id))
            deletions.delete(session, shop.scope, ids, grace=None)
        shop.work()
        assert [d.name for d in listed(shop).values()] == ["other.txt"]

    def test_lets_go_of_what_is_uploaded_otherwise(self, shop: Shop) -> None:
        job_id = send(shop, zipped(*FILES[:2]))
        shop.work()
        shop.upload("Pump 0 stands.", name="0.txt", external_id="folder/0.txt")
        assert set(listed(shop, batch=job_id)) == {"folder/1.txt"}


class TestRights:
    def test_access_list_is_that_of_every_file_and_of_the_job(self, shop: Shop) -> None:
        job_id = send(shop, zipped(("a.txt", b"x"), ("secret.mp4", b"x")), scope=ANN, grants=["user:ann"])
        open_id = send(shop, zipped(("b.txt", b"y")), scope=ANN)
        shop.work()
        with shop.parts.db.read() as session:
            assert jobs.get(session, ANN, job_id).id == job_id
            assert jobs.get(session, BOB, open_id).id == open_id
            with pytest.raises(jobs.JobNotFound):
                jobs.get(session, BOB, job_id)
            seen = documents.listing(session, BOB, shop.collection, after=None, limit=10)
        assert [d.external_id for d in seen] == ["b.txt"]
        assert listed(shop)["a.txt"].access == ["user:ann"]

    def test_what_the_sender_may_not_see_is_not_replaced(self, shop: Shop) -> None:
        send(shop, zipped(("a.txt", b"mine")), scope=ANN, grants=["user:ann"])
        shop.work()
        job_id = send(shop, zipped(("a.txt", b"yours"), ("b.txt", b"x")), scope=BOB)
        shop.work()
        assert shop.job(job_id).statistics["refusals"][0]["code"] == "document_not_found"
        assert listed(shop)["a.txt"].version == 1
