"""Pages are recognised one by one: each is kept as it is done, and one that fails or kills costs no other."""

from dataclasses import replace

import pytest
from sqlalchemy import select

from ibid import claims, jobs, versions
from ibid.bootstrap import Parts
from ibid.db.tables import Job, RecognisedRow, Version
from ibid.documents import Accepted
from ibid.types import JobState, Scope
from ingest import recognising
from ingest.parsing.errors import ParserDied, ParsersKilled, TimedOut
from tests.unit.scans import MIXED, SCAN, TEXT, receipt, rows, scan_shop, text, upload, work_once
from tests.unit.shop import Shop


@pytest.fixture
def shop(parts: Parts, admin: Scope) -> Shop:
    return scan_shop(parts, admin)


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
