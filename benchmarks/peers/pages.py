"""Pages of PDFs as texts, for frameworks that bring no reader, by the fastest of the usual libraries."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pypdfium2


def page_count(files: Sequence[Path]) -> int:
    """How many pages the files have together."""
    return sum(len(pypdfium2.PdfDocument(file)) for file in files)


def pages(files: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """The name and text of each page that has any."""
    for file in files:
        document = pypdfium2.PdfDocument(file)
        for number, page in enumerate(document, 1):
            text = page.get_textpage().get_text_bounded()
            if text.strip():
                yield f"{file.name}#{number}", text
        document.close()
