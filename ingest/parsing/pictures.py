"""Picture files through Pillow: each frame of a TIFF is a page; of an animation only the first is looked at."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ibid.types import Parsed, ParseReport
from ingest.parsing.assembly import Assembly
from ingest.parsing.errors import NoText, TooLargeWhenUnpacked, Unreadable
from ingest.parsing.hyphens import Divisions
from ingest.parsing.lines import Page, blocks
from ingest.parsing.ocr_lines import set_lines
from ingest.parsing.ocr_report import unread, warnings_of
from ingest.parsing.port import Pixels
from ingest.parsing.recognised import RecognisedPage

MOST_PIXELS: Final = 100_000_000
"""A page of A3 at 600 dots an inch has 70 million."""
SIDE: Final = 2_400
"""A page is looked at in at most so many pixels each way: A4 at 200 dots an inch."""
_LONG_SIDE: Final = 842.0
"""Of a page in points: the file does not say how large it is."""
_OPENED: Final = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF")
_PAGED: Final = "TIFF"
_NO_WORDS: Final = "No words were found in this picture. If there are some, make a larger or sharper picture."

# Checked by hand, with a sentence: Pillow only warns up to twice its limit.
Image.MAX_IMAGE_PIXELS = None


class PictureParser:
    """A picture has no text of its own: what was recognised in it is its text."""

    name: Final = "rapidocr"

    def parse(
        self, path: Path, filename: str, media_type: str, recognised: Sequence[RecognisedPage] = ()
    ) -> Parsed:
        """The pages with what was recognised in them; without that, a document that waits for it."""
        del filename, media_type
        with _opened(path) as image:
            count = getattr(image, "n_frames", 1) if image.format == _PAGED else 1
            pages = [_page(image, number) for number in range(1, count + 1)]
        known = {found.number: found for found in recognised}
        for page in pages:
            if page.number in known:
                set_lines(page, known[page.number], None)
        assembly = Assembly(Divisions(pages))
        for page, found in zip(pages, blocks(pages), strict=True):
            for block in found:
                assembly.add(page, block)
        if known and not assembly.builder.elements():
            raise NoText(unread(recognised) or _NO_WORDS)
        return Parsed(
            assembly.builder.text(),
            assembly.builder.elements(),
            assembly.boxes(),
            _report(assembly, pages, recognised),
        )

    def picture(self, path: Path, page: int) -> Pixels:
        """The page as displayed, in at most `SIDE` pixels each way."""
        with _opened(path) as image:
            if page > 1:
                _seek(image, page)
            _check_size(image)
            image.draft("RGB", (SIDE, SIDE))  # a JPEG is decoded at a half, a quarter or an eighth
            ImageOps.exif_transpose(image, in_place=True)
            return np.asarray(_on_white(_small(image)))


def _report(assembly: Assembly, pages: Sequence[Page], recognised: Sequence[RecognisedPage]) -> ParseReport:
    failed = {found.number for found in recognised if found.failure}
    read = {found.number for found in recognised} - failed
    with_text = tuple(page.number for page in pages if page.lines)
    return ParseReport(
        parser=PictureParser.name,
        pages=len(pages),
        pages_with_text=len(with_text),
        pages_empty=tuple(sorted(read.difference(with_text))),
        pages_unreadable=tuple(sorted(failed)),
        pages_ocr=with_text,
        pages_waiting=tuple(page.number for page in pages if page.number not in read | failed),
        elements=len(assembly.builder.elements()),
        warnings=tuple(warnings_of(recognised)),
    )


def _page(image: Image.Image, number: int) -> Page:
    if number > 1:
        _seek(image, number)
    width, height = image.size
    if image.getexif().get(0x0112, 1) in {5, 6, 7, 8}:  # orientations that lie on their side
        width, height = height, width
    scale = _LONG_SIDE / max(width, height, 1)
    return Page(number, width * scale, height * scale)


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise TooLargeWhenUnpacked(
            f"This picture has {width * height // 10**6} million pixels, and at most {MOST_PIXELS // 10**6} million "
            "are read. Save it smaller and upload that."
        )


def _small(image: Image.Image) -> Image.Image:
    """In at most `SIDE` pixels each way; black and white, or colours from a list, become such that can be mixed."""
    if image.mode in {"1", "P"}:
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    image.thumbnail((SIDE, SIDE))
    return image


def _on_white(image: Image.Image) -> Image.Image:
    """In red, green and blue; what is transparent is white."""
    if image.mode in {"RGBA", "LA", "PA"}:
        ground = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
    if image.mode.startswith(("I", "F")):  # more than 8 bits
        values = np.asarray(image, np.float32)
        most = 65535.0 if image.mode.startswith("I;16") or values.max(initial=0) > 255 else 255.0
        return Image.fromarray((np.clip(values / most, 0, 1) * 255).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def _seek(image: Image.Image, page: int) -> None:
    try:
        image.seek(page - 1)
    except (EOFError, OSError, ValueError, SyntaxError) as error:
        raise Unreadable(f"Page {page} of this picture is damaged. Save it again and upload that.") from error


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metadata that is not quite as it should be
            with Image.open(path, formats=_OPENED) as image:
                yield image
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
        message = "This picture is damaged and cannot be opened. Save it again and upload the new file."
        raise Unreadable(message) from error
