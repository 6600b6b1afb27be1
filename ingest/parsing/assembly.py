"""Blocks of pages put together to a canonical text with its headings and word boxes."""

import re
from typing import Final

from ibid.layout import BoxColumns
from ibid.types import ElementKind
from ingest.canonical import TextBuilder
from ingest.parsing.hyphens import Divisions
from ingest.parsing.lines import Block, Line, Page
from ingest.parsing.outline import Outline

WIDE: Final = re.compile("[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]")
"""Letters that are written without spaces between words."""


class Assembly:
    """The canonical text, its headings and word boxes as blocks come in."""

    def __init__(self, divisions: Divisions) -> None:
        self.builder = TextBuilder()
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.pages: list[int] = []
        self.edges: list[int] = []
        self.hidden = 0
        self._divisions = divisions
        self._outline = Outline()

    def add(self, page: Page, block: Block) -> None:
        """Append a block as an element."""
        lines = [(self._words(block, index), _glue(block.lines, index)) for index in range(len(block.lines))]
        text = "".join([" ".join(words) + glue for words, glue in lines])
        heading = block.kind in {ElementKind.TITLE, ElementKind.HEADING}
        path = self._outline.enter(block.level, text) if heading else self._outline.path
        at = self.builder.add(block.kind, text, page=page.number, heading_path=path)
        if at is None:
            return
        before = len(self.starts)
        for (words, glue), line in zip(lines, block.lines, strict=True):
            for word in words:
                self.starts.append(at)
                at += len(word)
                self.ends.append(at)
                at += 1
            at += len(glue) - 1
            self.edges += line.boxes
        self.pages += [page.number] * (len(self.starts) - before)

    def add_unseen(self, page: Page) -> None:
        """Append what nobody sees on a page."""
        text = " ".join(page.unseen)
        if self.builder.add(ElementKind.HIDDEN, text, page=page.number) is not None:
            self.hidden += len(text)

    def boxes(self) -> BoxColumns:
        """Those of all words so far."""
        return BoxColumns(tuple(self.starts), tuple(self.ends), tuple(self.pages), tuple(self.edges))

    def _words(self, block: Block, index: int) -> list[str]:
        """The words of a line, the last without its hyphen if that belongs to the line."""
        line = block.lines[index]
        if not line.hyphenated or index + 1 == len(block.lines):
            return line.words
        return [*line.words[:-1], self._divisions.head(line.words[-1], block.lines[index + 1].words[0])]


def _glue(lines: list[Line], index: int) -> str:
    """What stands between a line and the next: nothing within a word and between ideographs, else a space."""
    line = lines[index]
    if line.hyphenated or index + 1 == len(lines):
        return ""
    wide = WIDE.match(line.words[-1][-1]) and WIDE.match(lines[index + 1].words[0])
    return "" if wide else " "
