"""What stands beside the text of an Office file: notes of speakers, footnotes and endnotes."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pptx
from lxml import etree  # type: ignore[import-untyped]

_WORD: Final = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_NOTES: Final = {"word/footnotes.xml": "footnote", "word/endnotes.xml": "endnote"}


def slide_notes(path: Path) -> dict[int, str]:
    """What the speaker wanted to say, by one-based number of the slide."""
    slides = enumerate(pptx.Presentation(str(path)).slides, 1)
    frames = {number: slide.notes_slide.notes_text_frame for number, slide in slides if slide.has_notes_slide}
    return {
        number: frame.text for number, frame in frames.items() if frame is not None and frame.text.strip()
    }


def document_notes(path: Path) -> Iterator[str]:
    """The footnotes, then the endnotes, of a Word file."""
    with zipfile.ZipFile(path) as archive:
        for part in sorted(_NOTES.keys() & set(archive.namelist()), reverse=True):
            root = etree.fromstring(
                archive.read(part), etree.XMLParser(resolve_entities=False, no_network=True)
            )
            for note in root.iter(f"{_WORD}{_NOTES[part]}"):
                # Those with a type are the lines between text and notes.
                if note.get(f"{_WORD}type") in {None, "normal"}:
                    yield "\n".join(filter(None, map(_words, note.iter(f"{_WORD}p"))))


def _words(paragraph: etree._Element) -> str:
    marks = {f"{_WORD}tab": "\t", f"{_WORD}br": "\n", f"{_WORD}noBreakHyphen": "-"}
    pieces = (
        (node.text or "") if node.tag == f"{_WORD}t" else marks.get(node.tag, "") for node in paragraph.iter()
    )
    return "".join(pieces).strip()
