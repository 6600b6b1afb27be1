"""Whether a page on which pdfium finds nothing is blank, or holds what cannot be read.

pdfium passes over a content stream that cannot be decoded and gives an empty page. It hands no stream out, but writes
the page into a file of its own as it is, where the stream stands in a known form.
"""

import re
import zlib
from contextlib import closing
from io import BytesIO
from typing import Final

import pypdfium2 as pdfium

_CONTENTS: Final = re.compile(rb"/Contents ?(\[[^\]]*\]|\d+ 0 R)")
_REFERENCE: Final = re.compile(rb"(\d+) 0 R")
_LENGTH: Final = re.compile(rb"/Length (\d+)")
_DEFLATED: Final = re.compile(rb"/Filter ?(?:\[ ?/FlateDecode ?\]|/FlateDecode\b)")
_ENOUGH: Final = 1024
"""Bytes of a stream that show whether it can be decoded."""


def is_damaged(document: pdfium.PdfDocument, index: int) -> bool:
    """Whether a content stream of the page (from 0) cannot be decoded. Told of deflated ones, which nearly all are."""
    with closing(pdfium.PdfDocument.new()) as copy:
        copy.import_pages(document, [index])
        written = BytesIO()
        copy.save(written)
    data = written.getvalue()
    contents = _CONTENTS.search(data)
    numbers = _REFERENCE.findall(contents[1]) if contents else []
    return any(_is_undecodable(data, number) for number in numbers)


def _is_undecodable(data: bytes, number: bytes) -> bool:
    found = re.search(rb"[\r\n]%s 0 obj\s+<<(.*?)>>\s*stream\r?\n" % number, data, re.DOTALL)
    if found is None or not _DEFLATED.search(found[1]):
        return False
    length = _LENGTH.search(found[1])
    stream = data[found.end() : found.end() + int(length[1])] if length else b""
    try:
        zlib.decompressobj().decompress(stream, _ENOUGH)
    except zlib.error:
        return True
    return False
