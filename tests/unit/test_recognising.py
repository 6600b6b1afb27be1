"""Two speeds: text is searchable at once, pictures are recognised afterwards, as a version of their own."""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from ibid import claims, documents, jobs, receipts, uploads, versions
from ibid.bootstrap import Parts
from ibid.clock import now
from ibid.db.tables import Embedding, Job, RecognisedRow, Version
from ibid.documents import Accepted, Upload
from ibid.receipts import Receipt
from ibid.types import Element, ElementKind, JobState, Parsed, ParseReport, Scope
from ingest import recognising
from ingest.parsing.errors import ParserDied, ParsersKilled, TimedOut
from ingest.parsing.recognised import RecognisedLine, RecognisedPage
from ingest.tools import Stopping
from ingest.work import work
from tests.unit.shop import Shop

TEXT = "The bridge is 40 metres long."
MIXED = f"{TEXT}\n\n[It was built in 1931 by Ada Holm.]\n\n[Lorries may not cross it.]"
SCAN = "[It was built in 1931 by Ada Holm.]\n\n[Lorries may not cross it.]"


class ScanReader:
    """Each paragraph is a page; in brackets, a picture of the words. `before` may raise."""

    def __init__(self) -> None:
        self.recognised: list[int] = []
        self.before: Callable[[int], None] = lambda _page: None

    def parse_together(self, files: Sequence[tuple[Path, str]], media_type: str) -> list[None]:
        return [None] * len(files)  # each is read alone

    def parse(
        self, path: Path, filename: str, media_type: str, pages: tuple[RecognisedPage, ...] = ()
    ) -> Parsed:
        known = {page.number: page for page in pages}
        text, elements, waiting, failed = "", [], [], []
        for number, paragraph in enumerate(path.read_text().split("\n\n"), start=1):
            if paragraph.startswith("[") and number not in known:
                waiting.append(number)
                continue
            if number in known and known[number].failure:
                failed.append(number)
                continue
            words = known[number].lines[0].text if number in known else paragraph
            start = len(text) + 2 if text else 0
            text = f"{text}\n\n{words}" if text else words
            elements.append(Element(ElementKind.PARAGRAPH, start, len(text), page=number))
        report = ParseReport(
            "scan", pages_ocr=tuple(known), pages_waiting=tuple(waiting), pages_unreadable=tuple(failed)
        )
        return Parsed(text, tuple(elements), (), report)

    def recognise(self, path: Path, media_type: str, page: int) -> RecognisedPage:
        self.before(page)
        self.recognised.append(page)
        words = path.read_text().split("\n\n")[page - 1].strip("[]")
        return RecognisedPage(page, (RecognisedLine(words, 0.99, 0, 0, 10, 10),))

    def close(self) -> None:
        pass


@pytest.fixture
def shop(parts: Parts, admin: Scope) -> Shop:
    made = Shop(parts, admin)
    made.reader = ScanReader()
    made.tools = replace(made.tools, reader=made.reader)
    return made


def upload(shop: Shop, text: str, name: str = "bridge.pdf") -> Accepted:
    kept = uploads.keep(shop.parts.db, shop.parts.blobs, io.BytesIO(text.encode()))
    with shop.parts.db.begin() as session:
        return documents.accept(session, shop.scope, shop.collection, Upload(name, "application/pdf", kept))


def work_once(shop: Shop) -> None:
    work(shop.tools, shop.claim())


def rows(shop: Shop, document_id: str) -> list[Version]:
    with shop.parts.db.read() as session:
        return versions.listing(session, shop.scope, document_id)[::-1]


def text(shop: Shop, document_id: str, number: int) -> str:
    with shop.parts.db.read() as session:
        return versions.text(session, shop.scope, document_id, number)


def receipt(shop: Shop, document_id: str) -> Receipt:
    with shop.parts.db.read() as session:
        return documents.receipt(session, shop.scope, document_id)


class TestKeptElsewhere:
    def test_leaves_nothing_of_what_was_recognised_so_far(self, shop: Shop) -> None:
        """Another document of the same bytes was done first."""

        def stop(page: int) -> None:
            if page == 2:
                raise Stopping("The worker was told to stop.")

        shop.reader.before = stop
        first = upload(shop, SCAN)
        for _ in range(2):  # pictures are recognised alone, after they were put off
            work_once(shop)
        assert shop.count(RecognisedRow) == 1
        shop.reader.before = lambda _page: None
        with shop.parts.db.begin() as session:
            session.get_one(Job, first.job_id).not_before = now() + timedelta(hours=1)
        copy = upload(shop, SCAN, "copy.pdf")
        shop.work()
        shop.due_now()
        shop.work()
        assert [shop.live(each.document_id) for each in (first, copy)] == [1, 1]
        assert shop.reader.recognised == [1, 1, 2]
        assert shop.count(RecognisedRow) == 0


class TestTextBesidePictures:
    def test_is_there_for_readers_before_a_picture_was_looked_at(self, shop: Shop) -> None:
        accepted = upload(shop, MIXED)
        work_once(shop)
        assert shop.live(accepted.document_id) == 1
        assert text(shop, accepted.document_id, 1) == TEXT
        assert shop.reader.recognised == []
        assert shop.state(accepted.job_id) == JobState.SUCCEEDED
        (warning,) = shop.job(accepted.job_id).statistics["warnings"]
        assert warning.startswith("Pages 2, 3: pictures without text. They are recognised next")

    def test_pictures_follow_as_a_version_of_the_same_bytes(self, shop: Shop) -> None:
        accepted = upload(shop, MIXED)
        shop.work()
        first, second = rows(shop, accepted.document_id)
        assert (first.sha256, first.blob_id) == (second.sha256, second.blob_id)
        assert (first.read_by, second.read_by) == ("text", "ocr")
        assert shop.live(accepted.document_id) == 2
        assert text(shop, accepted.document_id, 1) == TEXT
        assert text(shop, accepted.document_id, 2) == MIXED.replace("[", "").replace("]", "")
        assert shop.state(second.job_id) == JobState.SUCCEEDED
        found = receipt(shop, accepted.document_id)
        assert (found.pages.ocr, found.pages.waiting, found.warnings) == ((2, 3), (), ())
        shop.agree()

    def test_what_was_embedded_is_not_embedded_again(self, shop: Shop) -> None:
        long = "\n\n".join(f"Tower {n} is {n * 3} metres high and stands in ward {n % 7}." for n in range(60))
        upload(shop, f"{long}\n\n[Lorries may not cross it.]")
        work_once(shop)
        before = shop.count(Embedding)
        shop.work()
        assert before < shop.count(Embedding) <= before + 1

    def test_the_same_bytes_again_are_nothing_to_do(self, shop: Shop) -> None:
        accepted = upload(shop, MIXED)
        work_once(shop)
        assert upload(shop, MIXED).outcome == "unchanged"
        shop.work()
        assert upload(shop, MIXED).outcome == "unchanged"
        assert len(rows(shop, accepted.document_id)) == 2

    def test_newer_content_is_not_followed_by_pictures_of_the_older(self, shop: Shop) -> None:
        accepted = upload(shop, MIXED)
        newer = upload(shop, "The bridge was torn down.")
        shop.work()
        assert [row.read_by for row in rows(shop, accepted.document_id)] == ["text", "text"]
        assert shop.live(accepted.document_id) == newer.version == 2
        assert shop.reader.recognised == []
        overtaken = shop.job(accepted.job_id)
        assert overtaken.state == JobState.PARTIALLY_SUCCEEDED
        (warning,) = overtaken.statistics["warnings"]
        assert warning.startswith(
            "Pages 2, 3: pictures without text, which cannot be searched. A newer version"
        )

    def test_newer_content_that_comes_meanwhile_stays_the_newest(self, shop: Shop) -> None:
        accepted = upload(shop, MIXED)
        work_once(shop)
        newer = upload(shop, "The bridge was torn down.")
        shop.work()
        assert shop.live(accepted.document_id) == newer.version == 3

    def test_an_attempt_that_is_repeated_at_its_end_makes_no_second_one(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        accepted = upload(shop, MIXED)
        keep = claims.finish
        monkeypatch.setattr(claims, "finish", lambda *_: (_ for _ in ()).throw(claims.LeaseLost("gone")))
        work_once(shop)
        monkeypatch.setattr(claims, "finish", keep)
        shop.expire_leases()
        with shop.parts.db.begin() as session:
            claims.sweep(session, max_failures=3)
        shop.due_now()
        shop.work()
        assert [row.read_by for row in rows(shop, accepted.document_id)] == ["text", "ocr"]

    def test_a_restored_version_is_read_as_it_was(self, shop: Shop) -> None:
        accepted = upload(shop, MIXED)
        shop.work()
        upload(shop, "The bridge was torn down.")
        shop.work()
        shop.reader.recognised.clear()
        with shop.parts.db.begin() as session:
            made = versions.restore(session, shop.scope, accepted.document_id, 2)
        shop.work()
        assert text(shop, accepted.document_id, made.version) == text(shop, accepted.document_id, 2)
        assert (shop.live(accepted.document_id), shop.reader.recognised) == (4, [])

    def test_is_restored_with_its_words_where_ocr_was_switched_off_since(self, shop: Shop) -> None:
        accepted = upload(shop, MIXED)
        shop.work()
        words, read = text(shop, accepted.document_id, 2), len(shop.reader.recognised)
        upload(shop, TEXT)
        shop.work()
        settings = shop.tools.settings.model_copy(update={"ocr_pages": 0})
        shop.tools = replace(shop.tools, settings=settings)
        upload(shop, MIXED)
        shop.work()
        for number in (5, 6):
            with shop.parts.db.begin() as session:
                restored = versions.restore(session, shop.scope, accepted.document_id, 2)
            shop.work()
            assert (restored.outcome, restored.version) == ("updated" if number == 5 else "unchanged", 5)
        assert shop.live(accepted.document_id) == 5
        assert text(shop, accepted.document_id, 5) == words
        assert len(shop.reader.recognised) == read

    def test_restoring_the_faster_reading_of_the_newest_changes_nothing(self, shop: Shop) -> None:
        accepted = upload(shop, MIXED)
        shop.work()
        with shop.parts.db.begin() as session:
            assert versions.restore(session, shop.scope, accepted.document_id, 1).outcome == "unchanged"


class TestPicturesAlone:
    def test_are_recognised_in_the_same_job_and_no_empty_version_is_seen(self, shop: Shop) -> None:
        accepted = upload(shop, SCAN)
        shop.work()
        (only,) = rows(shop, accepted.document_id)
        assert (only.read_by, shop.live(accepted.document_id)) == ("ocr", 1)
        assert shop.state(accepted.job_id) == JobState.SUCCEEDED
        assert shop.count(RecognisedRow) == 0

    def test_do_not_keep_a_batch_waiting(self, shop: Shop) -> None:
        scan, plain = upload(shop, SCAN), upload(shop, TEXT, "text.pdf")
        work_once(shop)
        assert (shop.live(scan.document_id), shop.live(plain.document_id)) == (None, 1)
        assert shop.reader.recognised == []
        assert shop.job(scan.job_id).alone
        shop.work()
        assert shop.live(scan.document_id) == 1

    def test_are_not_recognised_twice_in_two_collections(self, shop: Shop) -> None:
        upload(shop, SCAN)
        shop.work()
        upload(shop, SCAN, "copy.pdf")
        shop.work()
        assert shop.reader.recognised == [1, 2]

    def test_are_refused_in_words_where_ocr_is_not_installed(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recognising, "ocr_installed", lambda: False)
        accepted = upload(shop, SCAN)
        shop.work()
        job = shop.job(accepted.job_id)
        assert (job.state, job.error_code) == (JobState.FAILED, "ocr_not_installed")
        assert "pip install 'ibid[ocr]'" in job.error_message
        monkeypatch.setattr(recognising, "ocr_installed", lambda: True)
        upload(shop, SCAN)  # the same bytes are tried again after a failure
        shop.work()
        assert shop.state(accepted.job_id) == JobState.SUCCEEDED

    def test_beside_text_the_receipt_says_that_they_stay_unread(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recognising, "ocr_installed", lambda: False)
        accepted = upload(shop, MIXED)
        shop.work()
        found = receipt(shop, accepted.document_id)
        assert (found.state, found.pages.waiting) == (JobState.PARTIALLY_SUCCEEDED, (2, 3))
        assert found.warnings == (
            "Pages 2, 3: pictures without text, which cannot be searched. OCR is not installed here.",
        )


class TestReadAgain:
    """Where OCR was installed after a document was read without it."""

    def read_without_ocr(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Accepted:
        with monkeypatch.context() as patched:
            patched.setattr(recognising, "ocr_installed", lambda: False)
            accepted = upload(shop, MIXED)
            shop.work()
        assert shop.state(accepted.job_id) == JobState.PARTIALLY_SUCCEEDED
        return accepted

    def retry(self, shop: Shop, job_id: str | None) -> None:
        with shop.parts.db.begin() as session:
            jobs.retry(session, shop.scope, job_id or "")

    def test_its_pictures_are_read_when_its_job_is_tried_again(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        accepted = self.read_without_ocr(shop, monkeypatch)
        before = receipt(shop, accepted.document_id)
        self.retry(shop, accepted.job_id)
        work_once(shop)
        assert shop.live(accepted.document_id) == 1
        first = shop.job(accepted.job_id)
        assert first.state == JobState.SUCCEEDED
        assert first.statistics["warnings"] == [
            "Pages 2, 3: pictures without text. They are recognised next, which makes a version of its own."
        ]
        with shop.parts.db.read() as session:
            again = receipts.of(session, rows(shop, accepted.document_id)[0])
        assert again.seconds == before.seconds
        shop.work()
        assert text(shop, accepted.document_id, 2) == MIXED.replace("[", "").replace("]", "")
        assert receipt(shop, accepted.document_id).state == JobState.SUCCEEDED
        shop.agree()

    def test_without_ocr_it_ends_as_before(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        accepted = self.read_without_ocr(shop, monkeypatch)
        before = receipt(shop, accepted.document_id)
        monkeypatch.setattr(recognising, "ocr_installed", lambda: False)
        self.retry(shop, accepted.job_id)
        shop.work()
        assert receipt(shop, accepted.document_id) == before

    def test_a_version_that_was_replaced_is_not(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        accepted = self.read_without_ocr(shop, monkeypatch)
        upload(shop, "The bridge was torn down.")
        with pytest.raises(jobs.JobNotRetryable, match="partially_succeeded"):
            self.retry(shop, accepted.job_id)

    def test_nor_one_whose_pages_cannot_be_read(self, shop: Shop) -> None:
        def refuse(page: int) -> None:
            if page == 1:
                raise TimedOut("It took too long.")

        shop.reader.before = refuse
        accepted = upload(shop, SCAN)
        shop.work()
        assert shop.state(accepted.job_id) == JobState.PARTIALLY_SUCCEEDED
        with pytest.raises(jobs.JobNotRetryable, match="pictures"):
            self.retry(shop, accepted.job_id)


class TestPages:
    def test_are_kept_one_by_one_so_that_a_lost_worker_costs_one(self, shop: Shop) -> None:
        accepted = upload(shop, SCAN)

        def die(page: int) -> None:
            if page == 2:
                raise SystemExit

        shop.reader.before = die
        with pytest.raises(SystemExit):
            work_once(shop)
        assert shop.count(RecognisedRow) == 1
        shop.reader.before = lambda _page: None
        shop.expire_leases()
        with shop.parts.db.begin() as session:
            claims.sweep(session, max_failures=3)
        assert shop.job(accepted.job_id).failures == 1
        shop.due_now()
        shop.work()
        assert shop.reader.recognised == [1, 2]
        assert (shop.state(accepted.job_id), shop.job(accepted.job_id).failures) == (JobState.SUCCEEDED, 0)

    def test_let_others_go_first_after_a_while(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        scan = upload(shop, SCAN)
        late: list[Accepted] = []
        shop.reader.before = lambda page: page == 1 and late.append(upload(shop, TEXT, "text.pdf"))
        monkeypatch.setattr(recognising.time, "monotonic", iter(range(100)).__next__)
        monkeypatch.setattr(recognising, "SLICE", 1.5)
        work_once(shop)
        assert (shop.reader.recognised, shop.state(scan.job_id)) == ([1], JobState.QUEUED)
        work_once(shop)
        assert shop.live(late[0].document_id) == 1
        monkeypatch.setattr(recognising, "SLICE", 1000.0)
        shop.work()
        assert (shop.reader.recognised, shop.state(scan.job_id)) == ([1, 2], JobState.SUCCEEDED)

    def test_that_cannot_be_read_cost_the_others_nothing(self, shop: Shop) -> None:
        def refuse(page: int) -> None:
            if page == 1:
                raise TimedOut("It took too long.")

        shop.reader.before = refuse
        accepted = upload(shop, SCAN)
        shop.work()
        found = receipt(shop, accepted.document_id)
        assert (found.state, found.pages.unreadable) == (JobState.PARTIALLY_SUCCEEDED, (1,))
        assert text(shop, accepted.document_id, 1) == "Lorries may not cross it."

    def test_whose_parser_dies_once_are_read_in_the_end(self, shop: Shop) -> None:
        deaths: list[int] = []

        def die(page: int) -> None:
            if deaths.count(page) < 2:
                deaths.append(page)
                raise ParserDied("The parser died.")

        shop.reader.before = die
        accepted = upload(shop, SCAN)
        for _ in range(5):
            shop.due_now()
            shop.work()
        assert deaths == [1, 1, 2, 2]
        assert shop.reader.recognised == [1, 2]
        found = receipt(shop, accepted.document_id)
        assert (found.state, found.pages.unreadable) == (JobState.SUCCEEDED, ())

    def test_whose_parser_always_dies_are_listed_as_not_read(self, shop: Shop) -> None:
        deaths: list[int] = []

        def die(page: int) -> None:
            if page == 1:
                deaths.append(page)
                raise ParserDied("The parser died.")

        shop.reader.before = die
        accepted = upload(shop, SCAN)
        for _ in range(5):
            shop.due_now()
            shop.work()
        assert (deaths, shop.reader.recognised) == ([1, 1, 1], [2])
        found = receipt(shop, accepted.document_id)
        assert (found.state, found.pages.unreadable) == (JobState.PARTIALLY_SUCCEEDED, (1,))

    def test_whose_parser_was_killed_from_outside_are_tried_for_as_long_as_it_takes(self, shop: Shop) -> None:
        kills: list[int] = []

        def kill(page: int) -> None:
            if len(kills) < 5:
                kills.append(page)
                raise ParsersKilled("It was killed.")

        shop.reader.before = kill
        accepted = upload(shop, SCAN)
        for _ in range(7):
            shop.due_now()
            shop.work()
        job = shop.job(accepted.job_id)
        assert (len(kills), job.state, job.failures) == (5, JobState.SUCCEEDED, 0)

    def test_all_of_whose_parsers_die_fail_after_the_tries_of_each(self, shop: Shop) -> None:
        deaths: list[int] = []

        def die(page: int) -> None:
            deaths.append(page)
            raise ParserDied("The parser died.")

        shop.reader.before = die
        accepted = upload(shop, SCAN)
        for _ in range(8):
            shop.due_now()
            shop.work()
        job = shop.job(accepted.job_id)
        assert deaths == [1, 1, 1, 2, 2, 2]
        assert (job.state, job.error_code, job.retryable) == (JobState.FAILED, "parser_died", True)

    def test_none_of_which_can_be_read_say_why(self, shop: Shop) -> None:
        def refuse(_page: int) -> None:
            raise TimedOut("It took too long.")

        shop.reader.before = refuse
        accepted = upload(shop, SCAN)
        shop.work()
        assert shop.job(accepted.job_id).error_code == "timed_out"

    def test_none_of_which_could_be_read_are_tried_again_when_asked(self, shop: Shop) -> None:
        def refuse(_page: int) -> None:
            raise TimedOut("It took too long.")

        for content in (SCAN, MIXED):
            shop.reader.before = refuse
            accepted = upload(shop, content, f"{len(content)}.pdf")
            shop.work()
            assert shop.count(RecognisedRow) == 0
            shop.reader.before = lambda _page: None
            upload(shop, content, f"{len(content)}.pdf")
            shop.work()
            assert receipt(shop, accepted.document_id).state == JobState.SUCCEEDED
            newest = rows(shop, accepted.document_id)[-1].number
            assert "built in 1931" in text(shop, accepted.document_id, newest)

    def test_of_a_version_that_fails_do_not_keep_an_access_list_from_the_points(self, shop: Shop) -> None:
        accepted = upload(shop, MIXED)

        def refuse(_page: int) -> None:
            with shop.parts.db.begin() as session:
                versions.describe(
                    session, shop.scope, accepted.document_id, metadata=None, grants=["user:ann"]
                )
            raise TimedOut("It took too long.")

        shop.reader.before = refuse
        shop.work()
        assert [shop.state(row.job_id) for row in rows(shop, accepted.document_id)] == ["succeeded", "failed"]
        shop.agree()

    def test_beyond_the_limit_are_not_read(self, shop: Shop) -> None:
        settings = shop.tools.settings.model_copy(update={"ocr_pages": 1})
        shop.tools = replace(shop.tools, settings=settings)
        accepted = upload(shop, SCAN)
        shop.work()
        assert shop.reader.recognised == [1]
        assert receipt(shop, accepted.document_id).pages.unreadable == (2,)

    def test_of_a_cancelled_job_are_no_longer_read(self, shop: Shop) -> None:
        accepted = upload(shop, SCAN)

        def cancel(_page: int) -> None:
            with shop.parts.db.begin() as session:
                jobs.cancel(session, shop.scope, accepted.job_id)

        shop.reader.before = cancel
        shop.work()
        assert (shop.reader.recognised, shop.state(accepted.job_id)) == ([1], JobState.CANCELLED)

    def test_of_a_deleted_document_are_removed(self, shop: Shop) -> None:
        accepted = upload(shop, SCAN)
        shop.reader.before = lambda page: page == 2 and shop.delete(accepted.document_id)
        shop.work()
        assert (shop.count(RecognisedRow), shop.count(Version)) == (0, 0)
        with shop.parts.db.read() as session:
            assert JobState.RUNNING not in session.scalars(select(Job.state)).all()
