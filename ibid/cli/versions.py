"""Commands about the versions of a document."""

from collections import Counter
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ibid.cli.client import connect, json_of, only_collection, pages, print_json
from ibid.cli.documents import await_jobs, exit_status, shown_progress
from ibid.errors import Invalid, NotFound

out = Console(highlight=False)


class DocumentUnknown(NotFound):
    """No document of the collection has this id, external id or name."""

    code = "document_unknown"


class WhichDocument(Invalid):
    """Several documents have this name."""

    code = "which_document"


class OneVersion(Invalid):
    """There is nothing that the version could be compared with."""

    code = "one_version"


def listing(document: str, collection: str | None, *, as_json: bool) -> None:
    """Print the versions, newest first."""
    with connect() as client:
        found = _document(client, document, collection)
        versions = json_of(client.get(f"/v1/documents/{found['id']}/versions"))["data"]
    if as_json:
        print_json(versions)
        return
    table = Table("version", "since", "bytes", "read by", "")
    for version in versions:
        live = "answers come from it" if version["number"] == found["live_version"] else ""
        size, read_by = str(version["size"]), version["read_by"]
        table.add_row(str(version["number"]), version["created_at"], size, read_by, live)
    out.print(table)


def diff(
    document: str, collection: str | None, number: int | None, against: int | None, *, as_json: bool
) -> None:
    """Print what one version has and the other has not."""
    with connect() as client:
        found = _document(client, document, collection)
        number = number or found["version"]
        against = against or number - 1
        if not against:
            raise OneVersion(f"There is no version before the first of {found['name']}. Name another one.")
        path = f"/v1/documents/{found['id']}/versions/{number}/diff"
        difference = json_of(client.get(path, params={"against": against}))
    if as_json:
        print_json(difference)
        return
    for sign, color, kind in (("-", "red", "removed"), ("+", "green", "added")):
        for piece in difference[kind]:
            for line in piece["text"].splitlines():
                out.print(f"[{color}]{sign} {escape(line)}[/]", soft_wrap=True)
    if difference["coarse"]:
        out.print("The versions differ so much that all between their equal beginnings and ends is shown.")
    if not difference["removed"] and not difference["added"]:
        out.print(f"The words of version {number} and version {against} are the same.")


def restore(document: str, collection: str | None, number: int, *, wait: bool) -> int:
    """Make a version's content the newest; the exit status is 0 only if readers have it, in part at least, or soon."""
    with connect() as client:
        found = _document(client, document, collection)
        made = json_of(client.post(f"/v1/documents/{found['id']}/versions/{number}/restore"))
        if made["outcome"] == "unchanged":
            out.print(f"The newest version of {escape(found['name'])} has this content already.")
            return 0
        states = Counter[str]()
        if wait:
            with shown_progress() as progress:
                states = await_jobs(client, [made | {"name": found["name"]}], progress)
        out.print(f"The content of version {number} is version {made['version']} of {escape(found['name'])}.")
    return exit_status(states)


def _document(client: httpx.Client, ref: str, collection: str | None) -> dict[str, Any]:
    """The document of this id, or of this external id or name in the collection."""
    if ref.startswith("doc_"):
        by_id = client.get(f"/v1/documents/{ref}")
        if by_id.status_code != httpx.codes.NOT_FOUND:
            return dict(json_of(by_id))
    path = f"/v1/collections/{collection or only_collection(client)}/documents"
    listed = [one for one in pages(client, path, {"limit": 200}) if ref in {one["external_id"], one["name"]}]
    named = [one for one in listed if one["external_id"] == ref] or listed
    if not named:
        raise DocumentUnknown(f"No document has the id, external id or name {ref!r}. Check the collection.")
    if len(named) > 1:
        raise WhichDocument(f"{len(named)} documents are named {ref!r}. Say which by its id or external id.")
    return named[0]
