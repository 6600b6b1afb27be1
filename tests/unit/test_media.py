import subprocess
import sys

import pytest

from ibid.media import BY_EXTENSION, UnsupportedType, check_upload, extension, media_type


class TestMediaType:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("a.pdf", "application/pdf"),
            ("A.B.PDF", "application/pdf"),
            ("dir/x.htm", "text/html"),
            ("x.py", "text/plain"),
            ("x.jsonl", "application/x-ndjson"),
            ("x.markdown", "text/markdown"),
        ],
    )
    def test_by_extension(self, name: str, expected: str):
        assert media_type(name).name == expected

    @pytest.mark.parametrize(
        ("name", "advice"),
        [
            ("a.doc", ".docx"),
            ("a.ppt", ".pptx"),
            ("a.exe", ".pdf, .docx"),
            ("noextension", "no extension"),
        ],
    )
    def test_unknown_kinds_are_refused_with_advice(self, name: str, advice: str):
        with pytest.raises(UnsupportedType, match=advice) as refused:
            media_type(name)
        assert refused.value.code == "unsupported_type"

    def test_extension_of_a_dot_file(self):
        assert extension(".env") == ""


class TestCheckUpload:
    @pytest.mark.parametrize(
        ("name", "head"),
        [
            ("a.pdf", b"\n\n%PDF-1.4"),
            ("a.docx", b"PK\x03\x04..."),
            ("a.txt", b"plain"),
            ("a.txt", "wide".encode("utf-16")),
            ("a.txt", "wide words".encode("utf-16-be")),
            ("a.txt", b"caf\xe9"),
            ("a.md", b""),
            ("a.html", b"<p>"),
        ],
    )
    def test_fitting_bytes_pass(self, name: str, head: bytes):
        assert check_upload(name, head) is BY_EXTENSION[extension(name)]

    @pytest.mark.parametrize(
        ("name", "head"),
        [
            ("a.pdf", b"<html>"),
            ("a.pdf", b""),
            ("a.docx", b"%PDF-1.4"),
            ("a.txt", b"\x7fELF\x02\x01\x01\x00\x00\x01\x02\x03"),
        ],
    )
    def test_a_name_that_lies_is_told(self, name: str, head: bytes):
        with pytest.raises(UnsupportedType, match=r"ends in \.\w+ but"):
            check_upload(name, head)

    def test_loads_no_parser(self):
        code = "import sys, ibid.media; print([m for m in sys.modules if m.split('.')[0] in ('ingest', 'pypdfium2', 'spacy')])"
        ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        assert ran.stdout.strip() == "[]"
