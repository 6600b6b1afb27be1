"""The page in a real browser against a real server: upload, ask, click a citation, read the highlighted words."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import func, select

from ibid.db.tables import ChunkRow, Version
from ibid.vectors.edge import EdgeVectorStore
from tests.e2e.browsing import PATIENCE, keep, link, sign_in
from tests.main_job import DOCUMENTS
from tests.running import ADMIN_KEY, ENDED, Server, new_collection, serving

READABLE = 4.5
"""WCAG AA's least contrast of text."""
HANDBOOK = (
    "# Harbour handbook\n\n## Berths\n\nThe harbour 😀 has 42 berths for guests. A guest berth costs 25 crowns a night.\n\n"
    "## Fuel\n\nThe fuel pontoon opens at 07:30. Petrol is not sold on Sundays.\n"
)

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("page"), IBID_SAMPLE="true") as running:
        yield running


class TestPage:
    def test_link_upload_ask_and_citation(self, page: Page, server: Server, tmp_path: Path) -> None:
        page.goto(link(server))
        expect(page.get_by_test_id("collection-chooser")).to_contain_text("sample")
        assert "token" not in page.url

        page.get_by_test_id("new-collection").click()
        page.get_by_test_id("collection-name").fill("harbour")
        page.get_by_test_id("create-collection").click()
        expect(page.get_by_test_id("collection-name")).to_have_count(0)
        handbook = tmp_path / "handbook.md"
        handbook.write_text(HANDBOOK)
        page.get_by_test_id("file-input").set_input_files(handbook)
        row = page.locator("[data-testid=document-row][data-name='handbook.md'][data-state=succeeded]")
        expect(row).to_be_visible(timeout=PATIENCE)

        page.get_by_test_id("question").fill("What does a guest berth cost a night?")
        page.get_by_test_id("ask").click()
        turn = page.locator("[data-testid=turn][data-status=completed]")
        expect(turn).to_be_visible(timeout=PATIENCE)
        sentence = turn.get_by_test_id("answer-sentence").filter(has_text="25 crowns").first
        expect(sentence).to_have_attribute("data-support", "verified")

        sentence.get_by_test_id("citation").first.click()
        mark = page.get_by_test_id("quote-mark")
        expect(mark).to_have_text("A guest berth costs 25 crowns a night.")
        expect(mark).to_be_in_viewport()
        expect(page.get_by_test_id("reader-document")).to_contain_text("handbook.md")
        page.keyboard.press("Escape")
        expect(page.get_by_test_id("reader")).to_be_hidden()
        keep(page, "answered")

    def test_without_a_link_it_asks_to_sign_in(self, page: Page, server: Server) -> None:
        sign_in(page, server)
        expect(page.get_by_test_id("collection-chooser")).to_contain_text("sample")

    def test_a_question_that_the_documents_do_not_answer(self, page: Page, server: Server) -> None:
        sign_in(page, server)
        page.get_by_test_id("collection-chooser").select_option(label="sample")
        expect(page.locator("[data-testid=document-row][data-state=succeeded]")).to_have_count(
            6, timeout=PATIENCE
        )
        page.get_by_test_id("question").fill("What is the capital of Mongolia?")
        page.get_by_test_id("ask").click()
        refusal = page.get_by_test_id("refusal")
        expect(refusal).to_be_visible(timeout=PATIENCE)
        refusal.get_by_test_id("nearest-passage").first.click()
        expect(page.get_by_test_id("quote-mark")).to_be_visible()
        keep(page, "refused")

    def test_after_a_session_that_ended_the_next_person_finds_nothing(
        self, page: Page, server: Server
    ) -> None:
        sign_in(page, server)
        page.get_by_test_id("question").fill("What is the capital of Mongolia?")
        page.get_by_test_id("ask").click()
        expect(page.get_by_test_id("refusal")).to_be_visible(timeout=PATIENCE)
        page.context.clear_cookies()
        page.get_by_test_id("question").fill("And of Laos?")
        page.get_by_test_id("ask").click()
        expect(page.get_by_test_id("sign-in")).to_contain_text("Your session has ended.")
        page.get_by_test_id("api-key").fill(ADMIN_KEY)
        page.get_by_test_id("sign-in-submit").click()
        expect(page.get_by_test_id("collection-chooser")).to_contain_text("sample")
        expect(page.get_by_test_id("turn")).to_have_count(0)


class TestComfort:
    def test_keyboard_alone_in_the_dark(self, browser: Browser, server: Server) -> None:
        page = browser.new_page(color_scheme="dark")
        page.goto(server.url)
        step_to(page, "api-key")
        page.keyboard.type(ADMIN_KEY)
        page.keyboard.press("Enter")
        expect(page.locator("[data-testid=document-row][data-state=succeeded]")).to_have_count(
            6, timeout=PATIENCE
        )
        step_to(page, "question")
        page.keyboard.type("How many books may a member borrow?")
        page.keyboard.press("Enter")
        expect(page.locator("[data-testid=turn][data-status=completed]")).to_be_visible(timeout=PATIENCE)
        step_to(page, "citation", key="Shift+Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_test_id("quote-mark")).to_be_in_viewport()
        assert contrast(page, "[data-testid=quote-mark]") >= READABLE
        keep(page, "dark")
        page.keyboard.press("Escape")
        expect(page.get_by_test_id("reader")).to_be_hidden()
        expect(page.locator("[data-testid=citation]:focus")).to_have_count(1)
        for read in ("[data-testid=answer-sentence]", "[data-testid=document-row]", "[data-testid=question]"):
            assert contrast(page, read) >= READABLE
        assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
        assert luminance(page, "body") < 0.05
        page.close()

    def test_files_dropped_anywhere(self, page: Page, server: Server) -> None:
        with server.client() as client:
            new_collection(client, "dropped")
        sign_in(page, server)
        page.get_by_test_id("collection-chooser").select_option(label="dropped")
        expect(page.get_by_test_id("collection-chooser").locator("option:checked")).to_have_text("dropped")
        carried = page.evaluate_handle(
            """text => {
                const carried = new DataTransfer();
                carried.items.add(new File([text], "dropped.md", {type: "text/markdown"}));
                return carried;
            }""",
            HANDBOOK,
        )
        for event in ("dragenter", "dragover", "drop"):
            page.dispatch_event("[data-testid=question]", event, {"dataTransfer": carried})
        row = page.locator("[data-testid=document-row][data-name='dropped.md'][data-state=succeeded]")
        expect(row).to_be_visible(timeout=PATIENCE)


class TestManyFiles:
    def test_real_documents_of_every_kind_end(
        self, browser: Browser, data: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """The vectors' meaning does not matter here, so the encoder is the quick one."""
        files = [
            *sorted((data / "contoso").glob("*.pdf")),
            *(data / "documents" / name for name in DOCUMENTS),
        ]
        with serving(tmp_path_factory.mktemp("many"), IBID_EMBEDDER="hashing") as server:
            with server.client() as client:
                new_collection(client, "many")
            page = browser.new_page()
            page.goto(link(server))
            page.get_by_test_id("file-input").set_input_files(files)
            rows = [f"[data-testid=document-row][data-state={state}]" for state in sorted(ENDED)]
            expect(page.locator(", ".join(rows))).to_have_count(len(files), timeout=4 * PATIENCE)
            succeeded = page.locator("[data-testid=document-row][data-state=succeeded]").count()
            assert succeeded * 10 >= len(files) * 9
            keep(page, "many")
            page.close()
            with server.client() as client:
                self.agree(server, client, len(files))

    @staticmethod
    def agree(server: Server, client: httpx.Client, count: int) -> None:
        """Receipts, SQL and the store tell of the same chunks; the store is read once its server has let go of it."""
        documents = client.get("/v1/collections/many/documents", params={"limit": 200}).json()["data"]
        assert len(documents) == count
        receipts = [client.get(f"/v1/documents/{one['id']}/receipt").json() for one in documents]
        told = {one["document_id"]: one["chunks"] for one in receipts if one["state"] != "failed"}
        server.stop()
        store = EdgeVectorStore(server.folder / "data" / "vectors")
        (generation,) = store.generations()
        with server.database() as db, db.read() as session:
            for document_id, chunks in told.items():
                of_document = select(Version.id).where(Version.document_id == document_id)
                rows = select(func.count()).select_from(ChunkRow).where(ChunkRow.version_id.in_(of_document))
                assert session.scalar(rows) == chunks["made"] == chunks["stored_sql"] > 0
                assert store.count(generation, document_id=document_id) == chunks["stored_vectors"]
                assert chunks["stored_vectors"] == chunks["made"]
        store.close()


def step_to(page: Page, test_id: str, *, key: str = "Tab") -> None:
    """Press the key until the focus is there, as somebody without a mouse does."""
    for _ in range(60):
        if page.evaluate("document.activeElement?.dataset.testid ?? ''") == test_id:
            return
        page.keyboard.press(key)
    pytest.fail(f"{key} never reaches {test_id}")


def luminance(page: Page, selector: str, what: str = "backgroundColor") -> float:
    """WCAG's relative luminance, 0 to 1, of a color as computed; a transparent background is that behind it."""
    red, green, blue = page.evaluate(
        """([selector, what]) => {
            let at = document.querySelector(selector);
            const seen = () => getComputedStyle(at)[what].match(/[0-9.]+/g).map(Number);
            while (what === "backgroundColor" && seen()[3] === 0 && at.parentElement) at = at.parentElement;
            return seen().slice(0, 3);
        }""",
        [selector, what],
    )
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (red / 255, green / 255, blue / 255)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(page: Page, selector: str) -> float:
    """WCAG's contrast ratio of an element's letters with what they stand on."""
    dark, light = sorted([luminance(page, selector), luminance(page, selector, "color")])
    return (light + 0.05) / (dark + 0.05)
