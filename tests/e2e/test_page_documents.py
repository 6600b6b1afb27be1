"""The documents of the page: receipts, versions, files inside others, archives, addresses, and what failed."""

from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.browsing import PATIENCE, keep, sign_in
from tests.pdfs import Sheet, Words, damaged, make_pdf
from tests.running import Server, await_jobs, new_collection, serving, upload
from tests.site import Page as SitePage
from tests.site import Site, serving_pages
from tests.unit.test_archives import zipped

FEE = "A guest berth costs 25 crowns a night."
DEARER = "A guest berth costs 28 crowns a night."
TEXTS = ("The bridge is 40 metres long.", "It was built in 1931.", "Lorries may not cross it.")

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving_pages() as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that fetches addresses, those of this machine too."""
    settings = {"IBID_EMBEDDER": "hashing", "IBID_URL_INGESTION": "true", "IBID_URL_ALLOW_PRIVATE": "true"}
    with serving(tmp_path_factory.mktemp("documents"), **settings) as running:
        yield running


def open_collection(page: Page, server: Server, name: str, *files: tuple[str, bytes]) -> None:
    """A new collection with files that were read, one after the other, open on the page."""
    with server.client() as client:
        new_collection(client, name)
        for file in files:
            await_jobs(client, [str(entry["job_id"]) for entry in upload(client, name, file)])
    sign_in(page, server)
    page.get_by_test_id("collection-chooser").select_option(label=name)
    expect(page.get_by_test_id("collection-chooser").locator("option:checked")).to_have_text(name)


def row(page: Page, name: str, state: str = "succeeded") -> Locator:
    return page.locator(f"[data-testid=document-row][data-name='{name}'][data-state={state}]")


def handbook(text: str) -> tuple[str, bytes]:
    return "handbook.md", f"# Harbour\n\n{text}\n\nPetrol is not sold on Sundays.\n".encode()


class TestReceipt:
    def test_is_folded_and_tells_every_stage(self, page: Page, server: Server) -> None:
        sheets = [*(Sheet([Words(72, 700, text)]) for text in TEXTS), Sheet()]
        open_collection(page, server, "receipts", ("bridge.pdf", make_pdf(sheets)))
        document = row(page, "bridge.pdf")
        expect(document).to_be_visible(timeout=PATIENCE)
        expect(page.get_by_test_id("receipt")).to_have_count(0)
        document.get_by_test_id("details").click()
        receipt = document.get_by_test_id("receipt")
        for words in (
            "4 pages",
            "3 pages with text",
            "1 empty (page 4)",
            "in English",
            "reader: pdfium",
            "known before",
            "in the database",
            "in the vector store",
            "waited",
        ):
            expect(receipt).to_contain_text(words)
        keep(page, "receipt")
        document.get_by_test_id("details").click()
        expect(receipt).to_have_count(0)

    def test_what_is_missing_is_told_without_asking(self, page: Page, server: Server) -> None:
        sheets = [Sheet([Words(72, 700, text)]) for text in TEXTS]
        open_collection(page, server, "missing", ("bridge.pdf", damaged(make_pdf(sheets), 2)))
        document = row(page, "bridge.pdf", "partially_succeeded")
        expect(document.get_by_test_id("job-warning")).to_contain_text("Page 2 could not be read")
        document.get_by_test_id("details").click()
        expect(document.get_by_test_id("receipt")).to_contain_text("1 unreadable (page 2)")


class TestVersions:
    def test_are_listed_read_compared_and_restored(self, page: Page, server: Server) -> None:
        open_collection(page, server, "versions", handbook(FEE), handbook(DEARER))
        document = row(page, "handbook.md")
        document.get_by_test_id("details").click()
        versions = document.get_by_test_id("version")
        expect(versions).to_have_count(2)
        expect(document.locator("[data-testid=version][data-live=true]")).to_have_attribute(
            "data-number", "2"
        )
        old = document.locator("[data-testid=version][data-number='1']")

        old.get_by_test_id("read-version").click()
        expect(page.get_by_test_id("reader-text")).to_contain_text(FEE)

        versions.first.get_by_test_id("compare-version").click()
        expect(page.get_by_test_id("piece-added")).to_contain_text(DEARER)
        expect(page.get_by_test_id("piece-removed")).to_contain_text(FEE)
        keep(page, "compared")
        page.get_by_test_id("piece-removed").click()
        expect(page.get_by_test_id("quote-mark")).to_have_text(FEE)
        page.get_by_test_id("reader-close").click()

        old.get_by_test_id("restore-version").click()
        expect(document.locator("[data-testid=version][data-live=true]")).to_have_attribute(
            "data-number", "3", timeout=PATIENCE
        )
        document.locator("[data-testid=version][data-number='3']").get_by_test_id("compare-version").click()
        page.get_by_test_id("compare-against").select_option("1")
        expect(page.get_by_test_id("no-difference")).to_be_visible()


class TestFilesInside:
    def test_attachments_stand_under_their_mail(self, page: Page, server: Server, tmp_path: Path) -> None:
        mail = EmailMessage()
        mail["Subject"] = "Plans"
        mail.set_content("We meet at the harbour at noon. The plan is attached.")
        mail.add_attachment("The new pier opens in May.", filename="pier.txt")
        (tmp_path / "plans.eml").write_bytes(mail.as_bytes())
        open_collection(page, server, "mails")
        page.get_by_test_id("file-input").set_input_files(tmp_path / "plans.eml")
        child = page.get_by_test_id("inside").locator("[data-name='pier.txt'][data-state=succeeded]")
        expect(child).to_be_visible(timeout=PATIENCE)
        page.reload()
        expect(
            row(page, "plans.eml").get_by_test_id("inside").locator("[data-name='pier.txt']")
        ).to_be_visible()
        keep(page, "inside")


class TestArchives:
    def test_unpacking_is_offered(self, page: Page, server: Server, tmp_path: Path) -> None:
        archive = tmp_path / "shelf.zip"
        archive.write_bytes(zipped(("a/fees.txt", FEE.encode()), ("film.mp4", b"x")))
        open_collection(page, server, "archives")
        page.get_by_test_id("file-input").set_input_files(archive)
        expect(page.locator("[data-testid=upload-row][data-state=archive]")).to_be_visible()
        page.get_by_test_id("unpack").click()
        expect(row(page, "fees.txt")).to_be_visible(timeout=PATIENCE)
        arrival = page.locator("[data-testid=arrival-row][data-state=partially_succeeded]")
        expect(arrival.get_by_test_id("refusal-of-file")).to_contain_text("film.mp4")
        keep(page, "unpacked")
        arrival.get_by_role("button", name="Dismiss").click()
        expect(page.get_by_test_id("arrival-row")).to_have_count(0)


class TestAddress:
    def test_is_fetched(self, page: Page, server: Server, site: Site) -> None:
        site.pages["/rules.html"] = SitePage(
            b"<p>Dogs are on a lead.</p>", headers={"Content-Type": "text/html"}
        )
        open_collection(page, server, "addresses")
        page.get_by_test_id("add-address").click()
        page.get_by_test_id("address").fill(site.url("/rules.html"))
        page.get_by_test_id("fetch-address").click()
        expect(row(page, "rules.html")).to_be_visible(timeout=PATIENCE)
        expect(page.get_by_test_id("arrival-row")).to_have_count(0)

    def test_that_fails_says_why(self, page: Page, server: Server, site: Site) -> None:
        open_collection(page, server, "dead links")
        page.get_by_test_id("add-address").click()
        page.get_by_test_id("address").fill(site.url("/gone.html"))
        page.get_by_test_id("fetch-address").click()
        arrival = page.locator("[data-testid=arrival-row][data-state=failed]")
        expect(arrival.get_by_test_id("job-error")).to_contain_text("status 404", timeout=PATIENCE)
        failed = page.get_by_test_id("failed-jobs")
        expect(failed).to_contain_text("1 job failed")
        arrival.get_by_role("button", name="Dismiss").click()
        site.pages["/gone.html"] = SitePage(b"<p>It is back.</p>", headers={"Content-Type": "text/html"})
        failed.locator("summary").click()
        failed.get_by_test_id("retry-one").click()
        expect(row(page, "gone.html")).to_be_visible(timeout=PATIENCE)
        expect(failed).to_have_count(0)

    def test_is_not_offered_where_the_operator_has_not_allowed_it(
        self, page: Page, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        with serving(tmp_path_factory.mktemp("closed"), IBID_EMBEDDER="hashing") as server:
            open_collection(page, server, "closed")
            expect(page.get_by_test_id("drop-zone")).to_be_visible()
            expect(page.get_by_test_id("add-address")).to_have_count(0)


class TestFailedJobs:
    def test_are_listed_with_code_and_words_and_tried_again(self, page: Page, server: Server) -> None:
        broken = [(f"broken-{n}.docx", b"PK\x03\x04 no document") for n in range(2)]
        open_collection(page, server, "failures", *broken)
        failed = page.get_by_test_id("failed-jobs")
        expect(failed.locator("summary")).to_have_text("2 jobs failed")
        expect(page.get_by_test_id("failed-job").first).to_be_hidden()
        failed.locator("summary").click()
        letter = failed.locator("[data-testid=failed-job][data-code=unreadable]").filter(
            has_text="broken-0.docx"
        )
        expect(letter).to_contain_text("damaged")
        expect(letter).to_contain_text("unreadable")
        keep(page, "failed")
        with server.client() as client:
            before = attempts(client.get("/v1/jobs", params={"collection": "failures"}).json())
            with page.expect_response(lambda reply: reply.url.endswith("/retry")):
                letter.get_by_test_id("retry-one").click()
            await_jobs(client, list(before))
            expect(failed.locator("summary")).to_have_text("2 jobs failed", timeout=PATIENCE)
            with page.expect_response(lambda reply: reply.url.endswith("/v1/jobs/retry")):
                failed.get_by_test_id("retry-all").click()
            await_jobs(client, list(before))
            after = attempts(client.get("/v1/jobs", params={"collection": "failures"}).json())
        assert sorted(after[job] - before[job] for job in before) == [1, 2]


def attempts(jobs: dict[str, list[dict[str, object]]]) -> dict[str, int]:
    return {str(job["id"]): int(str(job["attempt"])) for job in jobs["data"]}
