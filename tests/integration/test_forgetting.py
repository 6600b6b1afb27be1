"""A deletion shows that it has forgotten: its words are in no row and no file, and its certificate says where was looked."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from sqlalchemy import select

from ibid import audit, collections, deletions, documents, forgetting, generations, replies, resumable
from ibid.chat.port import DraftSentence, Prompt
from ibid.clock import now
from ibid.db.tables import AnswerSentence, Base, Blob, Embedding, Erasure, Job, Parse, Webhook
from ibid.deletions import Filter
from ibid.types import Attachment, JobState
from ingest import erasing, indexing, purging
from ingest.work import work
from retrieval import answers, records
from retrieval.kit import Kit
from tests.model_stub import Alone
from tests.shops import ADMIN, opened
from tests.unit.shop import Shop

WORDS = ("quillwort", "zephyrine", "brackenfold", "marchpane", "oldenwick")
TEXT = f"The {WORDS[0]} ferry takes 40 cars.\n\nIts captain is {WORDS[1]} Holm.\n\nNobody swims there."
OTHER = "The bridge is 40 metres long.\n\nIt was built in 1931."
QUESTION = "How many cars does the ferry take?"


class Rewording(Alone):
    """A model that uses a passage's words in a sentence that cites nothing."""

    name = "rewording"

    async def draft(self, prompt: Prompt):
        yield DraftSentence(f"The {WORDS[0]} ferry takes 40 cars.", (1,), ())
        yield DraftSentence(f"Everybody loves how {WORDS[1]} sings at dawn.", (), ())


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    edge = request.param == "sqlite"
    with opened(tmp_path, request.param, "edge" if edge else "memory") as running:
        yield running


def everywhere(shop: Shop) -> Iterator[tuple[str, bytes]]:
    """All rows of all tables, by table, and all files and blobs, by their path or key."""
    with shop.parts.db.read() as session:
        for table in Base.metadata.sorted_tables:
            rows = [tuple(row) for row in session.execute(select(table))]
            yield table.name, repr(rows).encode()
    for path in shop.parts.settings.data_dir.rglob("*"):
        if path.is_file():
            yield str(path), path.read_bytes()
    for key in shop.parts.blobs.keys():  # noqa: SIM118 - the port's
        yield key, shop.parts.blobs.read(key)


def told(shop: Shop) -> list[str]:
    """Where any of the words is found."""
    return sorted(
        name for name, content in everywhere(shop) if any(word.encode() in content for word in WORDS)
    )


def ask(shop: Shop, model: object) -> str:
    parts = shop.parts
    kit = Kit(parts.db, parts.store, parts.encoders, model, parts.settings)
    with parts.db.begin() as session:
        answer = records.start(session, ADMIN, shop.collection, QUESTION, parts.settings)
    anyio.run(answers.run, kit, ADMIN, answer)
    return answer


def furnish(shop: Shop) -> str:
    """A document that is in every table, under its words; gives its id."""
    parse = shop.reader.parse
    inside = (
        Attachment(f"{WORDS[2]}.txt", f"Inside: {WORDS[2]}.".encode()),
        Attachment(f"{WORDS[2]}.bin", b"\0"),
    )
    shop.reader.parse = lambda *given: replace(
        parse(*given), attachments=inside if "ferry" in given[0].read_text() else ()
    )
    accepted = shop.upload(TEXT, name=f"{WORDS[3]}.txt", metadata={"by": WORDS[4]}, grants=["user:ann"])
    shop.work()
    shop.upload(TEXT + f"\n\nSecond: {WORDS[0]}.", name=f"{WORDS[3]}.txt")
    shop.work()
    ask(shop, Rewording())
    with shop.parts.db.begin() as session:
        mine = replies.reserve(session, "key_a", "once", "hash")
        replies.save(session, mine, 202, {"documents": [{"id": accepted.document_id, "name": WORDS[3]}]})
        session.add(Webhook(id="hook", url="http://down", secret="s", created_at=now()))
        audit.record(session, audit.Who("key_a", "ann", "req"), "document.upload", accepted.document_id)
    upload_in_parts(shop, accepted)
    return accepted.document_id


def upload_in_parts(shop: Shop, accepted: documents.Accepted) -> None:
    db, content = shop.parts.db, WORDS[0].encode()
    new = resumable.NewUpload(f"{WORDS[3]}.txt", len(content), None, {"by": WORDS[4]}, None)
    with db.begin() as session:
        made = resumable.create(
            session, ADMIN, shop.collection, new, most=100, kept=resumable.timedelta(hours=1)
        )
    resumable.store(db, shop.parts.blobs, ADMIN, made.id, 0, content)
    with db.begin() as session:
        resumable.end(resumable.find(session, ADMIN, made.id), accepted)


def delete(shop: Shop, document_id: str) -> str:
    with shop.parts.db.begin() as session:
        return documents.delete(session, ADMIN, document_id, grace=None).id


class TestScan:
    def test_knows_every_table(self) -> None:
        scanned = set(forgetting.scanned_tables())
        assert scanned | forgetting.HOLD_NOTHING.keys() == set(Base.metadata.tables)
        assert not scanned & forgetting.HOLD_NOTHING.keys()


class TestDocument:
    def test_is_in_no_row_and_no_file_afterwards(self, shop: Shop) -> None:
        shop.upload(OTHER)
        document_id = furnish(shop)
        before = told(shop)
        assert {"versions", "parses", "chunks", "attachments", "saved_replies", "partial_uploads"} <= set(
            before
        )
        assert {"documents", "answer_sentences"} <= set(before)
        assert any("/" in name for name in before)
        job_id = delete(shop, document_id)
        shop.work()
        assert told(shop) == []
        job = shop.job(job_id)
        assert job.state == JobState.SUCCEEDED
        (generation,) = shop.parts.store.generations()
        assert job.statistics["removed"] == {
            "versions": 2,
            "receipts": 2,
            "texts": 2,
            "chunks": 2,
            "embeddings": 2,
            "attachments": 4,
            "documents_inside": 1,
            "blobs": 3,
            "answer_sentences": 2,
            "nearest_passages": 0,
            "fit_questions": 0,
            "saved_replies": 1,
            "upload_parts": 1,
            "points": {generation: {"state": "active", "points": 2}},
        }
        assert job.statistics["scan"]["found"] == 0
        assert shop.count(Erasure) == 0
        shop.agree()

    def test_sentences_that_the_delete_missed_are_found(self, shop: Shop) -> None:
        document = shop.upload(TEXT)
        shop.work()
        ask(shop, Rewording())
        with shop.parts.db.read() as session:
            before = {row.ordinal: row.text for row in session.scalars(select(AnswerSentence))}
        shop.delete(document.document_id)
        with shop.parts.db.begin() as session:
            for row in session.scalars(select(AnswerSentence)):
                row.text, row.withdrawn = before[row.ordinal], False
        assert any("answer_sentences" in name for name in told(shop))
        shop.work()
        assert told(shop) == []

    def test_what_jobs_said_of_it_goes_with_the_delete(self, shop: Shop) -> None:
        accepted, other = shop.upload(TEXT), shop.upload(OTHER, name="other.txt")
        shop.work()
        with shop.parts.db.begin() as session:
            for job_id in (accepted.job_id, other.job_id):
                job = session.get_one(Job, job_id)
                job.statistics = {"warnings": [f"{WORDS[0]}.bin was not read"]}
                job.error_code, job.error_message = "unreadable", f"{WORDS[3]}.txt is damaged."
        delete(shop, accepted.document_id)
        mine, others = shop.job(accepted.job_id), shop.job(other.job_id)
        assert (mine.statistics, mine.error_message) == ({}, "The document was deleted.")
        assert WORDS[3] in others.error_message
        assert others.statistics

    def test_certificate_names_what_is_outside(self, shop: Shop) -> None:
        data = shop.parts.settings.data_dir
        data.mkdir(exist_ok=True)
        (data / "ibid-before-upgrade-from-0001.db").touch()
        job_id = delete(shop, shop.upload(TEXT).document_id)
        shop.work()
        said = " ".join(shop.job(job_id).statistics["outside"])
        for word in ("Logs", "Backups", "SQLite" if shop.parts.db.sqlite else "PostgreSQL"):
            assert word in said
        assert ("ibid-before-upgrade-from-0001.db" in said) == shop.parts.db.sqlite

    def test_bytes_that_another_document_holds_are_kept(self, shop: Shop) -> None:
        first, second = shop.upload(TEXT), shop.upload(TEXT, name="copy.txt")
        shop.work()
        job_id = delete(shop, first.document_id)
        shop.work()
        certificate = shop.job(job_id).statistics
        kept = {each["table"]: each["why"] for each in certificate["kept"]}
        assert kept["blobs"] == forgetting.SAME_BYTES
        assert kept["parses"] == forgetting.SAME_TEXT
        assert shop.live(second.document_id) == 1
        job_id = delete(shop, second.document_id)
        shop.work()
        assert not {"blobs", "parses"} & {each["table"] for each in shop.job(job_id).statistics["kept"]}
        assert told(shop) == []

    def test_its_job_does_not_end_while_something_is_left(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        document_id = furnish(shop)
        job_id = delete(shop, document_id)
        monkeypatch.setattr(erasing.replies, "withdraw", lambda *_: 0)
        shop.work()
        job = shop.job(job_id)
        assert (job.state, job.error_code) == (JobState.QUEUED, "not_forgotten")
        assert "1 in saved_replies" in job.error_message
        monkeypatch.undo()
        shop.due_now()
        shop.work()
        assert shop.state(job_id) == JobState.SUCCEEDED
        assert shop.job(job_id).statistics["removed"]["versions"] == 2  # by the first attempt

    def test_points_of_every_generation_are_counted(self, shop: Shop) -> None:
        accepted = shop.upload(TEXT)
        shop.work()
        with shop.parts.db.begin() as session:
            generations.start_reindex(session, ADMIN, shop.collection, shop.parts.recipe())
        shop.work()
        job_id = delete(shop, accepted.document_id)
        shop.work()
        points = shop.job(job_id).statistics["removed"]["points"]
        assert sorted(each["state"] for each in points.values()) == ["active", "standby"]
        assert all(each["points"] == 1 for each in points.values())

    def test_bytes_without_a_row_are_found(self, shop: Shop) -> None:
        accepted = shop.upload(TEXT)
        shop.work()
        with shop.parts.db.read() as session:
            digest = session.scalars(select(Blob.sha256)).one()
        shop.parts.blobs.put(f"{digest[:2]}/{digest}/blob_lost", [TEXT.encode()])
        job_id = delete(shop, accepted.document_id)
        shop.work()
        assert shop.job(job_id).statistics["removed"]["blobs"] == 2
        assert list(shop.parts.blobs.keys()) == []

    def test_vectors_of_a_batch_under_way_are_not_kept(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gone, stays = shop.upload(TEXT), shop.upload(OTHER, name="other.txt")
        batch = shop.claim()
        known = indexing._known_keys

        def deleted_now(*given: object) -> set[str]:
            monkeypatch.undo()
            delete(shop, gone.document_id)
            shop.work()
            return known(*given)

        monkeypatch.setattr(indexing, "_known_keys", deleted_now)
        work(shop.tools, batch)
        assert shop.live(stays.document_id) == 1
        assert shop.count(Embedding) == 1

    def test_texts_and_vectors_of_nothing_go_too(self, shop: Shop) -> None:
        """A worker of an earlier version may have left them, and nobody knows of which document."""
        with shop.parts.db.begin() as session:
            session.add(Parse(key="k", text=WORDS[0], layout=b"", seconds=0.0, created_at=now()))
            session.add(Embedding(key="k", vector=b""))
        job_id = delete(shop, shop.upload(OTHER).document_id)
        shop.work()
        removed = shop.job(job_id).statistics["removed"]
        assert (removed["stray_texts"], removed["stray_embeddings"]) == (1, 1)
        assert told(shop) == []


class TestMany:
    def test_by_filter_each_has_a_certificate(self, shop: Shop) -> None:
        for name in ("a.tmp", "b.tmp", "c.txt"):
            shop.upload(f"{TEXT} {name}" if name != "c.txt" else OTHER, name=name)
        shop.work()
        with shop.parts.db.begin() as session:
            ids = deletions.matching(session, ADMIN, shop.collection, Filter(name="*.tmp"))
            made = [job.id for job in deletions.delete(session, ADMIN, ids, grace=None)]
        shop.work()
        assert [shop.job(job_id).statistics["removed"]["versions"] for job_id in made] == [1, 1]
        assert told(shop) == []

    def test_of_a_collection_one_certificate(self, shop: Shop) -> None:
        furnish(shop)
        shop.upload(TEXT + " And more.", name="more.txt")
        shop.work()
        before = shop.points()
        with shop.parts.db.begin() as session:
            job_id = collections.delete(session, ADMIN, shop.collection, grace=None).id
        shop.work()
        certificate = shop.job(job_id).statistics
        ((_, generation),) = certificate["removed"]["points"].items()
        assert generation == {"state": "dropped", "points": before}
        assert certificate["removed"]["versions"] == 5
        assert certificate["removed"]["answer_sentences"] == 2
        assert told(shop) == []
        assert [shop.count(table) for table in (Parse, Blob, Embedding, Erasure)] == [0] * 4
        assert certificate["counts"] == purging.EXACT

    def test_of_a_collection_counts_points_that_an_attempt_dropped_before_it_died(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shop.upload(TEXT)
        shop.work()
        (before,) = {shop.parts.store.count(id_) for id_ in shop.parts.store.generations()}
        with shop.parts.db.begin() as session:
            job_id = collections.delete(session, ADMIN, shop.collection, grace=None).id

        def dies(*_: object) -> None:
            raise purging.NotForgotten("Something went wrong.")

        monkeypatch.setattr(purging, "_forget_arrivals", dies)
        shop.work()
        monkeypatch.undo()
        assert shop.parts.store.generations() == set()
        shop.due_now()
        shop.work()
        certificate = shop.job(job_id).statistics
        assert [each["points"] for each in certificate["removed"]["points"].values()] == [before]
        assert certificate["counts"] == purging.AT_LEAST
        assert set(certificate) == {"removed", "counts", "kept", "held_by", "held_by_more", "scan", "outside"}
