"""What of a web page its reader sees."""

import re
from typing import Final

import lxml.html  # type: ignore[import-untyped]

_DECLARATION: Final = re.compile(r"^\s*<\?xml[^>]*\?>")
_DROPPED: Final = frozenset({"script", "style", "template", "noscript", "iframe", "object"})
_HIDDEN_STYLE: Final = re.compile(r"(?i)(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)")


def visible(text: str) -> str:
    """The page without scripts, styles, comments and what its author hid."""
    if not text.strip():
        return ""
    root = lxml.html.document_fromstring(_without_declaration(text))
    for element in list(root.iter()):
        if _is_hidden(element) and element.getparent() is not None:
            element.drop_tree()
    return str(lxml.html.tostring(root, encoding="unicode"))


def _without_declaration(text: str) -> str:
    """Lxml refuses text that names an encoding; the text is decoded already."""
    return _DECLARATION.sub("", text.lstrip("\ufeff"), count=1)


def _is_hidden(element: lxml.html.HtmlElement) -> bool:
    if not isinstance(element.tag, str):
        return True
    if element.tag in _DROPPED or "hidden" in element.attrib:
        return True
    return _HIDDEN_STYLE.search(element.get("style") or "") is not None
