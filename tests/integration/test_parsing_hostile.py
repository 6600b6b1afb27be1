"""Files made to hurt, through the real parse server: each costs one error with a code, and nothing else."""

import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import docx
import openpyxl
import pytest

from ibid.errors import IbidError
from ibid.media import media_type
from ibid.settings import Settings
from ibid.types import Parsed
from ingest.parsing.client import ParseServer, _Running
from ingest.parsing.errors import SandboxMissing, TooLargeWhenUnpacked, Unreadable

MEMORY: Final = 512 * 2**20
LAUGHS: Final = (
    "<!DOCTYPE x [<!ENTITY e0 'lol lol lol lol'>"
    + "".join(f"<!ENTITY e{at} '{f'&e{at - 1};' * 10}'>" for at in range(1, 10))
    + "]>"
)
ODT_TYPE: Final = "application/vnd.oasis.opendocument.text"
ODT_BODY: Final = (
    '<office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><office:body><office:text>'
    "<text:p>MARK words</text:p></office:text></office:body></office:document-content>"
)
CHAPTER: Final = '<html xmlns="http://www.w3.org/1999/xhtml"><body><p>MARK words</p></body></html>'
EPUB: Final = {
    "mimetype": "application/epub+zip",
    "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0"><rootfiles>'
    '<rootfile full-path="book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>',
    "book.opf": '<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="i"><metadata '
    'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>t</dc:title><dc:identifier id="i">i</dc:identifier></metadata>'
    '<manifest><item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest>'
    '<spine><itemref idref="a"/></spine></package>',
    "a.xhtml": CHAPTER,
}


@pytest.fixture(scope="module")
def server() -> Iterator[ParseServer]:
    made = ParseServer(Settings(parse_seconds=10, parse_memory_bytes=MEMORY))
    yield made
    made.close()


@pytest.fixture
def parse(server: ParseServer, tmp_path: Path):
    def parse_bytes(name: str, data: bytes) -> Parsed:
        path = tmp_path / name
        path.write_bytes(data)
        return server.parse(path, name, media_type(name).name)

    return parse_bytes


def packed(parts: Mapping[str, bytes | str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def unpacked(data: bytes) -> dict[str, bytes | str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def word_parts() -> dict[str, bytes | str]:
    document, buffer = docx.Document(), io.BytesIO()
    document.add_paragraph("MARK words")
    document.save(buffer)
    return unpacked(buffer.getvalue())


def sheet_parts() -> dict[str, bytes | str]:
    book, buffer = openpyxl.Workbook(), io.BytesIO()
    book.active.append(["MARK words", "more"])
    book.save(buffer)
    parts = unpacked(buffer.getvalue())
    # Words in the sheet itself, as other programs write them.
    inline = (
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData><row r="1">'
    )
    cell = '<c r="A1" t="inlineStr"><is><t>MARK words</t></is></c></row></sheetData></worksheet>'
    return parts | {"xl/worksheets/sheet1.xml": inline + cell}


def odt_parts() -> dict[str, bytes | str]:
    manifest = '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"></manifest:manifest>'
    styles = (
        '<office:document-styles xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0">'
        "<office:font-face-decls/><office:styles/><office:automatic-styles/><office:master-styles/>"
        "</office:document-styles>"
    )
    return {
        "mimetype": ODT_TYPE,
        "content.xml": ODT_BODY,
        "styles.xml": styles,
        "META-INF/manifest.xml": manifest,
    }


KINDS: Final = {
    "a.docx": (word_parts, "word/document.xml"),
    "a.xlsx": (sheet_parts, "xl/worksheets/sheet1.xml"),
    "a.odt": (odt_parts, "content.xml"),
    "a.epub": (lambda: dict(EPUB), "a.xhtml"),
}


def changed(name: str, prolog: str, mark: str, encoding: str = "utf-8") -> bytes:
    """A good file of the kind whose main part begins with the prolog, with another word for MARK."""
    make, part = KINDS[name]
    parts = make()
    data = parts[part]
    xml = data.decode() if isinstance(data, bytes) else data
    body = xml.partition("?>")[2] if xml.startswith("<?xml") else xml
    declared = f'<?xml version="1.0" encoding="{encoding}"?>'
    parts[part] = (declared + prolog + body.replace("MARK", mark)).encode(encoding)
    return packed(parts)


class TestEntities:
    @pytest.mark.parametrize("name", KINDS)
    def test_the_same_file_without_them_is_read(self, parse, name: str):
        assert "good words" in parse(name, changed(name, "", "good")).text

    @pytest.mark.parametrize("name", KINDS)
    def test_billion_laughs(self, parse, server: ParseServer, name: str):
        with pytest.raises(Unreadable, match="entities"):
            parse(name, changed(name, LAUGHS, "&e9;"))
        assert server.peak_bytes < MEMORY

    @pytest.mark.parametrize("name", KINDS)
    def test_a_file_of_this_machine(self, parse, tmp_path: Path, name: str):
        secret = tmp_path / "secret.txt"
        secret.write_text("Words of another file.")
        prolog = f'<!DOCTYPE x [<!ENTITY e SYSTEM "{secret.as_uri()}">]>'
        with pytest.raises(Unreadable, match="entities"):
            parse(name, changed(name, prolog, "&e;"))

    def test_in_another_encoding(self, parse):
        with pytest.raises(Unreadable, match="entities"):
            parse("a.docx", changed("a.docx", LAUGHS, "&e9;", "utf-16"))

    def test_a_document_type_without_them_is_read(self, parse):
        assert "good words" in parse("a.epub", changed("a.epub", "<!DOCTYPE html>", "good")).text


class TestBombs:
    def test_one_part(self, parse):
        with pytest.raises(TooLargeWhenUnpacked):
            parse("a.docx", packed(word_parts() | {"word/media/a.bin": bytes(100 * 2**20)}))

    def test_many_small_parts(self, parse):
        with pytest.raises(TooLargeWhenUnpacked):
            parse("a.docx", packed(word_parts() | {f"word/media/{at}": bytes(60 * 2**20) for at in range(9)}))

    def test_a_part_that_says_it_is_small(self, parse):
        """What its header does not promise is not unpacked."""
        size = 100 * 2**20
        data = packed({"[Content_Types].xml": bytes(size)})
        data = data.replace(size.to_bytes(4, "little"), (1000).to_bytes(4, "little"))
        with pytest.raises(Unreadable):
            parse("a.docx", data)

    def test_an_archive_in_an_archive_is_not_opened(self, parse):
        inner = packed({"a": bytes(60 * 2**20)})
        for _ in range(5):
            inner = packed({"a.zip": inner})
        assert parse("a.docx", packed(word_parts() | {"word/media/a.zip": inner})).text == "MARK words"

    def test_a_sheet_that_says_it_is_large(self, parse):
        parts = sheet_parts()
        sheet = str(parts["xl/worksheets/sheet1.xml"])
        parts["xl/worksheets/sheet1.xml"] = sheet.replace(
            "<sheetData>", '<dimension ref="A1:XFD1048576"/><sheetData>'
        )
        assert "MARK words" in parse("a.xlsx", packed(parts)).text


class TestDepth:
    @pytest.mark.parametrize(
        ("name", "data"),
        [
            ("a.html", b"<div>" * 100_000 + b"words" + b"</div>" * 100_000),
            (
                "a.eml",
                b"Subject: s\n"
                + b"".join(
                    b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (at, at)
                    for at in range(2_000)
                ),
            ),
            (
                "a.docx",
                packed(word_parts() | {"word/document.xml": b"<a>" * 100_000 + b"<p/>" + b"</a>" * 100_000}),
            ),
        ],
        ids=["page", "mail", "office"],
    )
    def test_is_refused(self, parse, name: str, data: bytes):
        with pytest.raises(Unreadable):
            parse(name, data)

    @pytest.mark.parametrize(
        ("name", "data"),
        [
            ("a.rtf", rb"{\rtf1 " + b"{" * 50_000 + b"words" + b"}" * 50_001),
            ("a.json", b"[" * 500_000 + b"1"),
        ],
        ids=["groups", "arrays"],
    )
    def test_is_read_where_it_does_no_harm(self, parse, name: str, data: bytes):
        assert parse(name, data).text


class TestPaths:
    @pytest.mark.parametrize("name", KINDS)
    def test_names_of_parts_are_no_paths(self, parse, tmp_path: Path, name: str):
        make, _ = KINDS[name]
        outside = {f"{'../' * depth}evil-{depth}.txt": "evil" for depth in range(1, 6)}
        parts = make() | outside | {f"{tmp_path}/evil-0.txt": "evil", "..\\evil.txt": "evil"}
        assert "MARK words" in parse(name, packed(parts)).text
        assert list(tmp_path.parent.rglob("evil*")) == []

    def test_a_mail_names_no_path(self, parse):
        mail = (
            b"Subject: s\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\nwords\n--x\n"
            b'Content-Type: text/plain\nContent-Disposition: attachment; filename="../../../etc/cron.d/evil"\n\nevil\n--x--\n'
        )
        assert [item.name for item in parse("a.eml", mail).attachments] == ["evil"]


class TestRequireSandbox:
    def test_reads_where_the_network_is_cut(self, tmp_path: Path):
        path = tmp_path / "a.txt"
        path.write_text("Some words.")
        server = ParseServer(Settings(require_sandbox=True))
        try:
            assert server.parse(path, "a.txt", "text/plain").text == "Some words."
        finally:
            server.close()

    def test_refuses_where_it_is_not(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        path = tmp_path / "a.txt"
        path.write_text("Some words.")
        # As on a system without either; this one has a way.
        monkeypatch.setattr(_Running, "_greeting", lambda running: bool(running) and False)
        server = ParseServer(Settings(require_sandbox=True))
        with pytest.raises(SandboxMissing, match="IBID_REQUIRE_SANDBOX"):
            server.parse(path, "a.txt", "text/plain")
        assert server.pid is None


class TestAfterwards:
    def test_the_server_goes_on(self, parse, server: ParseServer):
        with pytest.raises(IbidError):
            parse("a.docx", b"PK\x03\x04")
        pid = server.pid
        assert parse("a.txt", b"Some words.").text == "Some words."
        assert server.pid == pid
