"""Text that a Word file holds and its reader does not see (`w:vanish`), taken out of the text."""

from io import BytesIO
from pathlib import Path
from typing import Final

import docx
from docx.oxml.ns import qn
from docx.oxml.xmlchemy import BaseOxmlElement

_OFF: Final = frozenset({"0", "false", "off"})


def without_hidden(path: Path) -> tuple[BytesIO, list[str]]:
    """The file without its hidden runs, and their words, one for each paragraph that has some."""
    document = docx.Document(str(path))
    words: list[str] = []
    for paragraph in document.element.body.iter(qn("w:p")):
        hidden = [run for run in paragraph.iter(qn("w:r")) if _vanishes(run)]
        text = "".join(node.text or "" for run in hidden for node in run.iter(qn("w:t")))
        if text.strip():
            words.append(text)
        for run in hidden:
            run.getparent().remove(run)
    if not words:
        return BytesIO(path.read_bytes()), []
    shown = BytesIO()
    document.save(shown)
    shown.seek(0)
    return shown, words


def _vanishes(run: BaseOxmlElement) -> bool:
    mark = run.find(f"{qn('w:rPr')}/{qn('w:vanish')}")
    return mark is not None and mark.get(qn("w:val")) not in _OFF
