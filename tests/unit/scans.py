"""Documents of which some pages are pictures, and a shop that reads them."""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ibid import documents, uploads, versions
from ibid.bootstrap import Parts
from ibid.db.tables import Version
from ibid.documents import Accepted, Upload
from ibid.receipts import Receipt
from ibid.types import Element, ElementKind, Parsed, ParseReport, Scope
from ingest.parsing.recognised import RecognisedLine, RecognisedPage
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


def scan_shop(parts: Parts, admin: Scope) -> Shop:
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
