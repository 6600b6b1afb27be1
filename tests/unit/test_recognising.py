"""Two speeds: text is searchable at once, pictures are recognised afterwards, as a version of their own."""

from dataclasses import replace
from datetime import timedelta

import pytest

from ibid import claims, jobs, receipts, versions
from ibid.bootstrap import Parts
from ibid.clock import now
from ibid.db.tables import Embedding, Job, RecognisedRow
from ibid.documents import Accepted
from ibid.types import JobState, Scope
from ingest import recognising
from ingest.parsing.errors import TimedOut
from ingest.tools import Stopping
from tests.unit.scans import MIXED, SCAN, TEXT, receipt, rows, scan_shop, text, upload, work_once
from tests.unit.shop import Shop


@pytest.fixture
def shop(parts: Parts, admin: Scope) -> Shop:
    return scan_shop(parts, admin)


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
