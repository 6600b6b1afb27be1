"""The main job as a suite that each mode runs: real documents in, checked citations out.

A subclass gives a class-scoped (or wider) fixture `server`, whose worker is at work.
"""

import json
import random
import re
from collections.abc import Iterator
from functools import cache
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from pdfminer.converter import TextConverter
from pdfminer.layout import LAParams
from pdfminer.pdfinterp import PDFPageInterpreter, PDFResourceManager
from pdfminer.pdfpage import PDFPage
from sqlalchemy import func, select

from ibid.db.tables import ChunkRow, Indexing, Version
from ibid.media import BY_EXTENSION, extension
from tests.running import Server, await_jobs, new_collection, upload

# One file for each supported extension of the folder.
DOCUMENTS = (
    "README-w-include.org",
    "README-w-include.rst",
    "arbitrary-records.json",
    "arbitrary-records.ndjson",
    "book-war-and-peace-1p.txt",
    "csv-with-escaped-commas.csv",
    "docx-tables.docx",
    "eml__fake-email.eml",
    "example-10k-1p.html",
    "factbook-utf-16.xml",
    "fake-doc.rtf",
    "fake-email.msg",
    "fake-power-point-table.pptx",
    "fake.odt",
    "img__chi_sim_image.jpeg",
    "img__example.jpg",
    "img__table-multi-row-column-cells.png",
    "language-docs__eng_spa_mult.epub",
    "pdf__embedded-link.pdf",
    "simple-table.md",
    "stanley-cups-with-emoji.tsv",
    "stanley-cups.xlsx",
)


@pytest.mark.data
@pytest.mark.slow
class MainJob:
    """What somebody does with Ibid, from the first upload to a deletion."""

    questions: ClassVar[int] = 100  # how many are asked

    @pytest.fixture(scope="class")
    @classmethod
    def client(cls, server: Server) -> Iterator[httpx.Client]:
        with server.client() as opened:
            yield opened

    @pytest.fixture(scope="class")
    @classmethod
    def contoso(cls, client: httpx.Client, data: Path) -> list[dict[str, Any]]:
        """The six PDFs, uploaded in one request and read to the end."""
        new_collection(client, "contoso")
        files = [(path.name, path.read_bytes()) for path in sorted((data / "contoso").glob("*.pdf"))]
        accepted = upload(client, "contoso", *files)
        await_jobs(client, [document["job_id"] for document in accepted])
        return accepted

    def test_every_document_ends_and_nine_in_ten_succeed(self, client: httpx.Client, data: Path) -> None:
        new_collection(client, "documents")
        files = [(name, (data / "documents" / name).read_bytes()) for name in DOCUMENTS]
        accepted = upload(client, "documents", *files)
        jobs = await_jobs(client, [document["job_id"] for document in accepted])
        ends = {document["name"]: jobs[document["job_id"]] for document in accepted}
        failed = {name: job["error"] for name, job in ends.items() if job["state"] != "succeeded"}
        assert len(ends) == len(DOCUMENTS)
        assert len(failed) <= len(DOCUMENTS) // 10, failed

    def test_every_supported_extension_is_there_once(self, data: Path) -> None:
        present = {extension(path.name) for path in (data / "documents").iterdir()}
        assert sorted(map(extension, DOCUMENTS)) == sorted(present & BY_EXTENSION.keys())

    def test_contoso_succeeds(self, client: httpx.Client, contoso: list[dict[str, Any]]) -> None:
        assert len(contoso) == 6
        states = [client.get(f"/v1/jobs/{document['job_id']}").json()["state"] for document in contoso]
        assert set(states) == {"succeeded"}

    def test_receipts_agree_with_sql_and_store(
        self, server: Server, client: httpx.Client, contoso: list[dict[str, Any]]
    ) -> None:
        report = client.post("/v1/collections/contoso/verify", json={"repair": False}).json()["generations"]
        total = 0
        with server.database() as db, db.read() as session:
            for document in contoso:
                receipt = client.get(f"/v1/documents/{document['id']}/receipt").json()
                version = select(Version.id).where(Version.document_id == document["id"])
                rows = session.scalar(
                    select(func.count()).select_from(ChunkRow).where(ChunkRow.version_id.in_(version))
                )
                stored = session.scalar(select(Indexing.chunks).where(Indexing.version_id.in_(version)))
                assert rows == receipt["chunks"]["made"] == receipt["chunks"]["stored_sql"]
                assert stored == receipt["chunks"]["stored_vectors"] == rows
                assert rows
                total += rows
        assert [(g["chunks"], g["points"], g["orphans"], g["gaps"]) for g in report] == [(total, total, 0, 0)]

    def test_the_same_bytes_change_nothing(
        self, client: httpx.Client, contoso: list[dict[str, Any]], data: Path
    ) -> None:
        path = data / "contoso" / "PerksPlus.pdf"
        (again,) = upload(client, "contoso", (path.name, path.read_bytes()))
        assert (again["outcome"], again["job_id"], again["version"]) == ("unchanged", None, 1)

    def test_the_original_comes_back(
        self, client: httpx.Client, contoso: list[dict[str, Any]], data: Path
    ) -> None:
        for document in contoso:
            response = client.get(f"/v1/documents/{document['id']}/versions/1/original")
            assert response.content == (data / "contoso" / document["name"]).read_bytes()

    def test_citations_are_exact_and_another_extractor_finds_them(
        self, client: httpx.Client, contoso: list[dict[str, Any]], data: Path
    ) -> None:
        lines = (data / "contoso" / "qa.jsonl").read_text().splitlines()
        questions = [json.loads(line)["question"] for line in random.Random(7).sample(lines, self.questions)]
        texts = {d["id"]: client.get(f"/v1/documents/{d['id']}/versions/1/text").text for d in contoso}
        cited = 0
        for question in questions:
            answer = client.post("/v1/answers", json={"collection": "contoso", "question": question}).json()
            assert answer["status"] in {"completed", "refused"}
            cited += bool(answer["citations"])
            for citation in answer["citations"]:
                quote = texts[citation["document_id"]][citation["start"] : citation["end"]]
                assert quote == citation["quote"]
                assert citation["verified"]
                path = data / "contoso" / citation["document"]
                assert another_extractor_finds(quote, path, citation["page"]), (citation, question)
        assert cited >= 0.9 * self.questions

    def test_what_the_documents_do_not_hold_is_refused(
        self, client: httpx.Client, contoso: list[dict[str, Any]]
    ) -> None:
        body = {"collection": "contoso", "question": "What is the capital of Mongolia?"}
        answer = client.post("/v1/answers", json=body).json()
        assert (answer["status"], answer["sentences"], answer["citations"]) == ("refused", [], [])
        assert answer["nearest"]

    def test_a_new_version_takes_over(self, client: httpx.Client) -> None:
        new_collection(client, "replace")
        for number, town in enumerate(("Bergen", "Tromsø"), 1):
            (document,) = upload(client, "replace", ("office.txt", f"The head office is in {town}.".encode()))
            assert document["version"] == number
            await_jobs(client, [document["job_id"]])
            hits = search(client, "replace", "Where is the head office?")
            assert [(hit["version"], town in hit["text"]) for hit in hits] == [(number, True)]

    def test_deleted_is_gone_for_readers_at_once(self, client: httpx.Client) -> None:
        new_collection(client, "delete")
        secret = b"The safe's combination is 31-7-15."
        kept, doomed = upload(
            client, "delete", ("kept.txt", b"The safe is blue and heavy."), ("secret.txt", secret)
        )
        await_jobs(client, [kept["job_id"], doomed["job_id"]])
        question = {"collection": "delete", "question": "What is the combination of the safe?"}
        answer = client.post("/v1/answers", json=question).json()
        assert any("31-7-15" in sentence["text"] for sentence in answer["sentences"])
        job_id = client.delete(f"/v1/documents/{doomed['id']}").json()["job_id"]
        assert all(
            hit["document_id"] == kept["id"] for hit in search(client, "delete", "combination of the safe")
        )
        assert client.get(f"/v1/documents/{doomed['id']}").status_code == 404
        later = client.get(f"/v1/answers/{answer['id']}")
        assert "31-7-15" not in later.text
        assert any(sentence["withdrawn"] for sentence in later.json()["sentences"])
        await_jobs(client, [job_id])
        report = client.post("/v1/collections/delete/verify", json={"repair": False}).json()["generations"]
        assert [(g["points"], g["orphans"], g["gaps"]) for g in report] == [(1, 0, 0)]


def search(client: httpx.Client, collection: str, query: str) -> list[dict[str, Any]]:
    response = client.post("/v1/search", json={"collection": collection, "query": query, "limit": 10})
    assert response.status_code == 200, response.text
    return list(response.json()["hits"])


def squeezed(text: str) -> str:
    """Without white space and hyphens, which extractors treat differently."""
    return re.sub(r"[\s\-\u00ad\u2010\u2011]+", "", text)


# pdfminer's own layout analysis puts a list's bullet in the middle of a line when the list is set wide; with lines
# kept apart it does not.
LINE_MARGINS = (0.5, 0.1)


def another_extractor_finds(quote: str, path: Path, page: int) -> bool:
    """Whether pdfminer reads these words on the page, by its default layout or with lines kept apart."""
    return any(squeezed(quote) in page_text(path, page, margin) for margin in LINE_MARGINS)


@cache
def page_text(path: Path, page: int, line_margin: float) -> str:
    """The page's text by pdfminer, squeezed."""
    text, resources = StringIO(), PDFResourceManager()
    converter = TextConverter(resources, text, laparams=LAParams(line_margin=line_margin))
    PDFPageInterpreter(resources, converter).process_page(pages(path)[page - 1])
    return squeezed(text.getvalue())


@cache
def pages(path: Path) -> tuple[PDFPage, ...]:
    """All pages of a document, looked up in it once."""
    return tuple(PDFPage.get_pages(BytesIO(path.read_bytes())))
