"""PDF files made by hand, so that a test knows where each word stands."""

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """A run of Latin text on its baseline, in points from the lower left corner."""

    x: float
    y: float
    text: str
    size: float = 11
    bold: bool = False


@dataclass(frozen=True)
class Sheet:
    """A page; `box` is its media box, `crop` its crop box, `rotate` in degrees clockwise.

    `under` and `over` are PDF operators that are drawn before and after the words.
    """

    words: Sequence[Words] = ()
    box: tuple[float, float, float, float] = (0, 0, 612, 792)
    crop: tuple[float, float, float, float] | None = None
    rotate: int = 0
    under: str = ""
    over: str = ""


def make_pdf(sheets: Sequence[Sheet], encrypt: bytes = b"") -> bytes:
    """The file. `encrypt` is an object that names a security handler."""
    fonts = "".join(
        f"/{name} << /Type /Font /Subtype /Type1 /BaseFont /{base} /Encoding /WinAnsiEncoding >> "
        for name, base in (("F1", "Helvetica"), ("F2", "Helvetica-Bold"))
    )
    kids = " ".join(f"{3 + 2 * index} 0 R" for index in range(len(sheets)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(sheets)} >>".encode(),
    ]
    for index, sheet in enumerate(sheets):
        crop = f"/CropBox [{numbers(sheet.crop)}]" if sheet.crop else ""
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [{numbers(sheet.box)}] {crop} /Rotate {sheet.rotate} "
            f"/Resources << /Font << {fonts} >> >> /Contents {4 + 2 * index} 0 R >>".encode()
        )
        content = "\n".join([sheet.under, *map(shown, sheet.words), sheet.over]).encode("cp1252")
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
    return put_together(objects, encrypt)


def numbers(box: tuple[float, float, float, float]) -> str:
    return " ".join(map(str, box))


def shown(words: Words) -> str:
    text = words.text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    return f"BT /{'F2' if words.bold else 'F1'} {words.size} Tf {words.x} {words.y} Td ({text}) Tj ET"


def put_together(objects: Sequence[bytes], encrypt: bytes) -> bytes:
    trailer = b""
    if encrypt:
        objects = [*objects, encrypt]
        trailer = b"/Encrypt %d 0 R /ID [<%s> <%s>]" % (len(objects), b"ab" * 16, b"ab" * 16)
    out = bytearray(b"%PDF-1.7\n")
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    head = b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, table)
    return (
        bytes(out)
        + head
        + b"trailer << /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % (size, trailer, len(out))
    )


def damaged(pdf: bytes, *pages: int) -> bytes:
    """The file with pages (from 1) that cannot be loaded: the list of pages refers to an object that cannot be."""
    for page in pages:
        kid = b"%d 0 R" % (1 + 2 * page)
        pdf = re.sub(rb"\b" + kid, b"0 0 R".ljust(len(kid)), pdf, count=1)
    return pdf


LOCKED = b"<< /Filter /Standard /V 1 /R 2 /P -4 /O <" + b"28" * 32 + b"> /U <" + b"00" * 32 + b"> >>"
"""A security handler whose user password nobody knows."""
