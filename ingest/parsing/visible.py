"""What of a web page its reader sees."""

import copy
import re
from typing import Final

import lxml.html  # type: ignore[import-untyped]
from lxml import etree

from ingest.parsing.errors import Unreadable

MAX_DEPTH: Final = 250
"""Of elements in each other; libxml2 reads up to 256."""
_DECLARATION: Final = re.compile(r"^\s*<\?xml[^>]*\?>")
_DROPPED: Final = frozenset({"script", "style", "template", "noscript", "iframe", "object"})
_MENUS: Final = frozenset({"nav", "button", "select", "datalist"})
_MENU_ROLES: Final = frozenset(
    {"navigation", "menu", "menubar", "search", "toolbar", "dialog", "alertdialog"}
)
_BANDS: Final = frozenset({"header", "footer"})
_BAND_ROLES: Final = frozenset({"banner", "contentinfo"})
_SECTIONS: Final = frozenset({"article", "main", "section", "blockquote"})
_BLOCKS: Final = frozenset({"div", "ul", "ol", "aside", "table", "section", "p"})
_MENU_NAME: Final = re.compile(
    r"(?i)(?:^|[\s_-])(?:nav|navbar|navigation|menu|menubar|breadcrumbs?|sidebar|footer|pagination|pager)(?:$|[\s_-])"
)
_PASSED_OVER: Final = {
    "nav": "div",
    "form": "div",
    "main": "div",
    "details": "div",
    "summary": "p",
    "figure": "div",
    "figcaption": "p",
    "label": "span",
}
_LEAST_SHARE: Final = 0.2
_HIDDEN_STYLE: Final = re.compile(r"(?i)(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)")


def visible(text: str) -> str:
    """The page without scripts, styles, comments and what its author hid."""
    root = _shown(text)
    return "" if root is None else _written(root)


def main_text(text: str) -> str:
    """What of `visible` its author wrote for this page: no menus, no header or footer of the site.

    A page that would be hardly anything without them is kept whole.
    """
    root = _shown(text)
    if root is None:
        return ""
    whole = copy.deepcopy(root)
    for element in list(root.iter()):
        if element.getparent() is not None and _is_furniture(element):
            element.drop_tree()
    _keep_main(root)
    kept = root if _length(root) >= _LEAST_SHARE * _length(whole) else whole
    return _written(kept)


def _shown(text: str) -> lxml.html.HtmlElement | None:
    if not text.strip():
        return None
    root = lxml.html.document_fromstring(
        _without_declaration(text), parser=lxml.html.HTMLParser(huge_tree=True)
    )
    _check_depth(root)
    for element in list(root.iter()):
        if _is_hidden(element) and element.getparent() is not None:
            element.drop_tree()
    return root


def _written(root: lxml.html.HtmlElement) -> str:
    """As HTML of which nothing is left out: unstructured passes over elements that hold words in ordinary pages."""
    for element in root.iter(*_PASSED_OVER):
        element.tag = _PASSED_OVER[element.tag]
    return str(lxml.html.tostring(root, encoding="unicode"))


def _check_depth(root: lxml.html.HtmlElement) -> None:
    """Readers drop what is nested more deeply, without a word."""
    depth = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        if depth > MAX_DEPTH:
            raise Unreadable(
                f"This page nests more than {MAX_DEPTH} elements in each other. Save it from a browser and upload that."
            )


def _is_furniture(element: lxml.html.HtmlElement) -> bool:
    """Whether an element is there on every page of a site, by its tag, its role, or its name and its many links."""
    role = element.get("role")
    if element.tag in _MENUS or role in _MENU_ROLES:
        return True
    if element.tag in _BANDS or role in _BAND_ROLES:
        own = any(above.tag in _SECTIONS for above in element.iterancestors())
        return not own and element.find(".//h1") is None
    if element.tag in _BLOCKS and _MENU_NAME.search(f"{element.get('class', '')} {element.get('id', '')}"):
        links = sum(_length(link) for link in element.iter("a"))
        return 2 * links > _length(element) and element.find(".//h1") is None
    return False


def _keep_main(root: lxml.html.HtmlElement) -> None:
    """Drop what stands beside the page's only main part, but not its title."""
    mains = root.xpath("//main | //*[@role='main']")
    if len(mains) != 1:
        return
    inside = mains[0]
    while inside.tag != "body" and inside.getparent() is not None:
        for beside in list(inside.getparent()):
            if beside is not inside and beside.tag not in {"head", "h1"} and beside.find(".//h1") is None:
                beside.drop_tree()
        inside = inside.getparent()


def _length(element: lxml.html.HtmlElement) -> int:
    return sum(len(piece.strip()) for piece in element.itertext())


def _without_declaration(text: str) -> str:
    """Lxml refuses text that names an encoding; the text is decoded already."""
    return _DECLARATION.sub("", text.lstrip("\ufeff"), count=1)


def _is_hidden(element: lxml.html.HtmlElement) -> bool:
    if not isinstance(element.tag, str):
        return True
    if element.tag in _DROPPED or "hidden" in element.attrib or element.get("role") == "doc-backlink":
        return True
    return _HIDDEN_STYLE.search(element.get("style") or "") is not None
