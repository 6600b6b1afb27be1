"""Commands that ask."""

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from ibid import filters
from ibid.cli.client import connect, json_of, only_collection, print_json
from ibid.errors import Invalid

out = Console(highlight=False)
MARKS = {
    "verified": "",
    "partially_supported": " [yellow](partly supported)[/]",
    "unsupported": " [red](unsupported)[/]",
}


class NoValue(Invalid):
    """A filter on the command line is a key and a value."""

    code = "invalid_filter"


def ask(question: str, collection: str | None, *, as_json: bool) -> int:
    """Print an answer with its sources; status 0 if it was answered, 3 if the documents do not hold the answer."""
    with connect() as client:
        body = {"collection": collection or only_collection(client), "question": question}
        answer = json_of(client.post("/v1/answers", json=body))
    if as_json:
        print_json(answer)
    else:
        _show(answer)
    return {"completed": 0, "refused": 3}.get(answer["status"], 1)


def search(
    query: str, collection: str | None, *, limit: int, wanted: Sequence[str] = (), as_json: bool
) -> None:
    """Print passages, best first, of documents that have all the given metadata (`key=value`)."""
    those = [_equal(each) for each in wanted]
    with connect() as client:
        body: dict[str, Any] = {
            "collection": collection or only_collection(client),
            "query": query,
            "limit": limit,
        }
        if those:
            body["filters"] = {"type": "and", "filters": those}
        found = json_of(client.post("/v1/search", json=body))
    if as_json:
        print_json(found)
        return
    for rank, hit in enumerate(found["hits"], 1):
        out.print(f"[bold]{rank}. {escape(_place(hit))}[/]  {hit['score']:.3f}")
        out.print(escape(hit["text"]) + "\n")


def _show(answer: dict[str, Any]) -> None:
    for sentence in answer["sentences"]:
        numbers = "".join(f"[cyan]\\[{n}][/]" for n in sentence["citations"])
        out.print(f"{escape(sentence['text'])} {numbers}{MARKS[sentence['support']]}")
    if answer["status"] != "completed":
        out.print(f"[yellow]{escape(answer.get('message') or answer['status'])}[/]")
        for hit in answer.get("nearest") or []:
            out.print(f"  nearest: [bold]{escape(_place(hit))}[/]  {escape(hit['text'][:160])}")
    out.print()
    for citation in answer["citations"]:
        out.print(
            f"[cyan]\\[{citation['n']}][/] [bold]{escape(_place(citation))}[/]: “{escape(citation['quote'])}”"
        )


def _equal(given: str) -> dict[str, Any]:
    """The filter that `key=value` means: a number, true and false are what JSON takes them for, all else is a text.

    A text in quotes is one whatever it looks like: `year="2026"`.
    """
    key, separator, text = given.partition("=")
    if not separator:
        raise NoValue(f"{given!r} is no filter: write KEY=VALUE.")
    try:
        value = json.loads(text, parse_constant=str)
    except ValueError:
        value = text
    meant = value if isinstance(value, str | int | float) else text
    return filters.written(filters.parse({"type": "eq", "key": key, "value": meant}))


def _place(found: dict[str, Any]) -> str:
    page = f", page {found['page']}" if found["page"] else ""
    return f"{found['document']} (version {found['version']}{page})"
