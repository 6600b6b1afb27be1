"""What is embedded when something is uploaded again, wholly or with a change: counted where the encoder is asked."""

import io
import random
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from ibid import documents, media, uploads
from ibid.blobs.memory import MemoryBlobStore
from ibid.bootstrap import open_parts
from ibid.db.session import Database
from ibid.db.tables import Base, ChunkRow, Version
from ibid.documents import Upload
from ibid.embedding.port import Embedder, Matrix
from ibid.embedding.registry import EmbedderPool, load_embedder
from ibid.nudge.memory import MemoryNudge
from ibid.settings import Settings
from ibid.types import Parsed, Scope
from ibid.vectors.memory import MemoryVectorStore
from ingest.parsing.registry import parser_for
from tests.pdfs import Sheet, Words, make_pdf
from tests.unit.shop import Shop

PAGES = 100
WORDS = [
    "member",
    "loan",
    "shelf",
    "reading",
    "room",
    "quarter",
    "account",
    "notice",
    "return",
    "keeper",
    "volume",
    "charter",
    "window",
    "binding",
    "ledger",
    "index",
    "print",
    "folio",
    "visitor",
    "morning",
    "evening",
    "catalogue",
    "branch",
    "district",
    "archive",
    "survey",
    "river",
    "bridge",
    "harbour",
    "station",
    "market",
]


class CountingEmbedder:
    """Another embedder, and how many texts it was given to encode."""

    def __init__(self, inner: Embedder) -> None:
        self._inner = inner
        self.encoded = 0
        self.name, self.fingerprint = inner.name, inner.fingerprint
        self.dimensions, self.max_tokens = inner.dimensions, inner.max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._inner.count_tokens(texts)

    def encode(self, texts: Sequence[str]) -> Matrix:
        self.encoded += len(texts)
        return self._inner.encode(texts)

    def encode_query(self, text: str) -> Matrix:
        return self._inner.encode_query(text)


class OwnReader:
    """The product's parsers in this process."""

    def close(self) -> None:
        pass

    def parse_together(self, files: Sequence[tuple[Path, str]], media_type: str) -> list[None]:
        return [None] * len(files)  # each is read alone

    def parse(self, path: Path, filename: str, media_type: str) -> Parsed:
        return parser_for(media_type).parse(path, filename, media_type)


class CountingShop(Shop):
    """A shop whose encoder is counted and whose reader reads every format."""

    def __init__(self, folder: Path) -> None:
        settings = Settings(data_dir=folder, embedder="hashing", sample=False)
        self.encoder = CountingEmbedder(load_embedder("hashing", settings))
        db = Database(settings.sql_url)
        Base.metadata.create_all(db.engine)
        parts = open_parts(
            settings,
            db=db,
            store=MemoryVectorStore(),
            blobs=MemoryBlobStore(),
            encoders=EmbedderPool(lambda _: self.encoder),
            nudge=MemoryNudge(),
        )
        super().__init__(parts, Scope(key_id="key_admin", role="admin"))
        self.tools = replace(self.tools, reader=OwnReader())

    def put(self, name: str, data: bytes, **described: object) -> int:
        """Upload and work; gives how many texts were encoded for it."""
        before = self.encoder.encoded
        kept = uploads.keep(self.parts.db, self.parts.blobs, io.BytesIO(data))
        upload = Upload(name, media.media_type(name).name, kept, **described)
        with self.parts.db.begin() as session:
            accepted = documents.accept(session, self.scope, self.collection, upload)
        self.work()
        if accepted.job_id is not None:
            assert self.state(accepted.job_id) == "succeeded"
        return self.encoder.encoded - before

    def under(self, heading: str) -> int:
        """How many chunks of the newest version stand under the heading."""
        with self.parts.db.read() as session:
            newest = session.scalars(select(Version.id).order_by(Version.created_at.desc()).limit(1)).one()
            chunks = session.scalars(select(ChunkRow).where(ChunkRow.version_id == newest)).all()
        return sum(heading in chunk.heading for chunk in chunks)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[CountingShop]:
    made = CountingShop(tmp_path)
    yield made
    made.parts.close()


def prose(seed: int, sentences: int = 4) -> str:
    chance = random.Random(seed)
    made = (" ".join(chance.choices(WORDS, k=chance.randint(8, 16))) for _ in range(sentences))
    return " ".join(f"{words.capitalize()} s{seed}." for words in made)


Book = list[tuple[str, list[str]]]
"""Headings, each with its paragraphs."""


def book() -> Book:
    """About a hundred pages: four hundred words each, a heading on every one."""
    return [
        (f"{n}. The {WORDS[n % len(WORDS)]}", [prose(10 * n + k) for k in range(8)]) for n in range(PAGES)
    ]


def as_markdown(book: Book) -> bytes:
    return "\n\n".join("\n\n".join([f"## {heading}", *paragraphs]) for heading, paragraphs in book).encode()


def as_text(book: Book) -> bytes:
    """One heading after the other would be a paragraph like any other."""
    return "\n\n".join("\n\n".join(paragraphs) for _, paragraphs in book).encode()


def as_pdf(book: Book) -> bytes:
    """Each heading begins a page, as chapters do, so that a longer paragraph moves no page break but its own."""
    sheets = []
    for heading, paragraphs in book:
        words, y = [Words(60, 740, heading, 16, bold=True)], 731.0
        for paragraph in paragraphs:
            y -= 9
            for line in textwrap.wrap(paragraph, 95):
                y -= 13
                words.append(Words(60, y, line))
        sheets.append(Sheet(words))
    return make_pdf(sheets)


def reworded(book: Book, page: int) -> None:
    book[page][1][3] = book[page][1][3].replace(" ", " otherwise ", 1)


def inserted(book: Book, page: int) -> None:
    book[page][1].insert(3, prose(-1 - page))


def removed(book: Book, page: int) -> None:
    del book[page][1][3]


CHANGES = [*((reworded, page) for page in (0, PAGES // 2, PAGES - 1)), (inserted, 0), (removed, PAGES // 2)]
FORMS = {"book.md": as_markdown, "book.txt": as_text, "book.pdf": as_pdf}


class TestTwice:
    def test_embeds_nothing(self, shop: CountingShop, data: Path) -> None:
        """Nor does it under another name: what is embedded is known by its text."""
        files = [*sorted((data / "contoso").glob("*.pdf")), *sorted((data / "chunking/corpora").glob("*.md"))]
        assert len(files) == 11
        assert all(shop.put(file.name, file.read_bytes()) > 0 for file in files)
        assert [shop.put(file.name, file.read_bytes()) for file in files] == [0] * 11
        assert [shop.put(f"copy of {file.name}", file.read_bytes()) for file in files] == [0] * 11


class TestChanged:
    @pytest.mark.parametrize("name", FORMS)
    def test_a_paragraph_of_a_hundred_pages(self, shop: CountingShop, name: str) -> None:
        form = FORMS[name]
        assert shop.put(name, form(book())) > PAGES
        made = {}
        for change, page in CHANGES:
            changed = book()
            change(changed, page)
            made[change.__name__, page] = shop.put(name, form(changed))
        assert {case: count for case, count in made.items() if not 1 <= count <= 3} == {}

    @pytest.mark.parametrize("name", ["book.md", "book.pdf"])
    def test_a_heading_embeds_only_what_stands_under_it(self, shop: CountingShop, name: str) -> None:
        form = FORMS[name]
        shop.put(name, form(book()))
        for page in (0, PAGES // 2, PAGES - 1):
            changed = book()
            changed[page] = ("Otherwise called", changed[page][1])
            embedded = shop.put(name, form(changed))
            assert 1 <= embedded == shop.under("Otherwise called") < 8
