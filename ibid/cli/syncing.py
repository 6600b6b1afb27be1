"""The command that makes a collection mirror a folder.

Nothing is remembered between runs: what to do is read off the folder and the collection each time, so a run that was
killed is simply run again. Only documents that this command created are ever deleted, known by their mark.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import httpx
from rich.markup import escape
from rich.progress import Progress

from ibid import media
from ibid.cli.client import connect, json_of, pages, patiently
from ibid.cli.documents import (
    Found,
    await_jobs,
    complaint,
    ensure_collection,
    exit_status,
    out,
    shown_progress,
    upload,
)
from ibid.errors import Conflict, Invalid

MARK = "synced_as"
AT_ONCE = 4
LEAST_ALLOWED = 10
SHARE_ALLOWED = 20
NOT_READ = {"failed", "cancelled"}
Outcome = dict[str, Any]


class TooManyDeletes(Conflict):
    """The sync would delete more than it may; nothing was changed."""

    code = "too_many_deletes"


class BadMaxDelete(Invalid):
    """`--max-delete` is neither a number nor a percentage."""

    code = "bad_max_delete"


class FolderUnreadable(Invalid):
    """A part of the folder cannot be listed, so it is not known what is gone from it."""

    code = "folder_unreadable"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sync does. `known` are documents that have their file's bytes already."""

    new: Sequence[Found]
    changed: Sequence[Found]
    gone: Sequence[dict[str, Any]]
    known: Sequence[dict[str, Any]]


def sync(folder: Path, collection: str, *, prefix: str, most: str | None, dry_run: bool, wait: bool) -> int:
    """Upload and delete until the collection mirrors the folder; the exit status is 0 only if all of it succeeded."""
    mark = prefix or folder.resolve().name
    files, notes = _files(folder)
    for note in notes:
        out.print(f"[yellow]skipped[/] {escape(note)}")
    with connect() as client:
        documents = _documents(client, collection, create=not dry_run)
        plan = _plan(files, documents, prefix=prefix, mark=mark)
        owned = sum(_marked(document, mark) for document in documents.values())
        _check(plan, owned=owned, most=most, empty=not files)
        if dry_run:
            _tell(plan)
            return 0
        with shown_progress() as progress:
            outcomes = _uploads(client, collection, [*plan.new, *plan.changed], progress)
            outcomes += _deletes(client, plan.gone)
            under_way = [
                document for document in plan.known if document["state"] in {"queued", "running", "stalled"}
            ]
            states = await_jobs(client, [*outcomes, *under_way], progress) if wait else Counter[str]()
    return _summary(plan, outcomes, states)


def _files(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """The files of supported types by their path in the folder, hidden ones left out; and what was skipped, and why."""
    files: dict[str, Path] = {}
    notes: list[str] = []
    root = folder.resolve()
    for path in _walk(root):
        name = path.relative_to(root).as_posix()
        if (
            not name.isprintable()
        ):  # undecodable bytes of a name show as lone surrogates, which are not printable
            notes.append(f"{name!a}: its name cannot be written as text")
        elif path.is_symlink() and path.is_dir():
            notes.append(f"{name}: it is a link to a folder")
        elif not path.is_file():
            notes.append(f"{name}: it is no file")
        elif not path.resolve().is_relative_to(root):
            notes.append(f"{name}: it is a link that leads out of the folder")
        elif media.extension(path.name) not in media.BY_EXTENSION:
            notes.append(f"{name}: its type is not supported")
        else:
            files[name] = path
    return files, notes


def _walk(root: Path) -> Iterator[Path]:
    """Everything but folders, hidden ones left out; links to folders are given and not followed."""
    for place, folders, names in os.walk(root, onerror=_unlistable):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place) / name for name in sorted([*names, *links]) if not name.startswith("."))


def _unlistable(error: OSError) -> NoReturn:
    raise FolderUnreadable(
        f"{error.filename} cannot be listed ({error.strerror}), so nothing was changed. Check its permissions."
    ) from error


def _documents(client: httpx.Client, collection: str, *, create: bool) -> dict[str, dict[str, Any]]:
    """The documents of the collection that have an external id, as those of a sync have, by it."""
    path = f"/v1/collections/{collection}"
    if create:
        ensure_collection(client, collection)
    elif client.get(path).status_code == httpx.codes.NOT_FOUND:
        return {}
    listed = pages(client, f"{path}/documents")
    return {found["external_id"]: found for found in listed if found["external_id"]}


def _plan(
    files: Mapping[str, Path], documents: Mapping[str, dict[str, Any]], *, prefix: str, mark: str
) -> Plan:
    new, changed, known = [], [], []
    for name, path in files.items():
        identity = prefix + name
        document = documents.get(identity)
        if document is None:
            new.append(Found(path, identity, {MARK: mark}))
        elif document["sha256"] == _sha256(path) and document["state"] not in NOT_READ:
            known.append(document)
        else:
            changed.append(Found(path, identity))  # without metadata: what it has stays
    here = {prefix + name for name in files}
    gone = [found for identity, found in documents.items() if _marked(found, mark) and identity not in here]
    return Plan(new, changed, gone, known)


def _marked(document: Mapping[str, Any], mark: str) -> bool:
    return bool(document["metadata"].get(MARK) == mark)


def _sha256(path: Path) -> str | None:
    """Of the file's bytes; None if it cannot be read, which uploading it will tell."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _check(plan: Plan, *, owned: int, most: str | None, empty: bool) -> None:
    """Raise `TooManyDeletes` if the plan deletes more than it may. A folder that lost everything may be unmounted."""
    allowed = _allowed(most, owned)
    if empty and most is None:
        allowed = 0
    if len(plan.gone) > allowed:
        raise TooManyDeletes(
            f"{len(plan.gone)} of {owned} documents would be deleted, and at most {allowed} may be, so nothing was "
            "changed. Look with --dry-run --max-delete 100% whether that is right, and allow it with --max-delete."
        )


def _allowed(most: str | None, owned: int) -> int:
    if most is None:
        return max(LEAST_ALLOWED, owned * SHARE_ALLOWED // 100)
    found = re.fullmatch(r"([0-9]{1,9})(%?)", most)
    if found is None:
        raise BadMaxDelete(f"{most!r} is no limit. Write a number like 25, or a share like 5%.")
    number = int(found[1])
    return owned * number // 100 if found[2] else number


def _uploads(
    client: httpx.Client, collection: str, files: Sequence[Found], progress: Progress
) -> list[Outcome]:
    """One request a file, a few of them at once."""
    uploading = progress.add_task("uploading", total=len(files))

    def one(file: Found) -> list[Outcome]:
        try:
            return upload(client, collection, [file])
        except OSError as error:
            problem = {"detail": f"It cannot be read: {error.strerror}.", "code": "file_unreadable"}
            return [{"name": file.external_id, "outcome": "rejected", "problem": problem}]
        finally:
            progress.advance(uploading)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [entry for entries in pool.map(one, files) for entry in entries]


def _deletes(client: httpx.Client, gone: Sequence[Mapping[str, Any]]) -> list[Outcome]:
    outcomes = []
    for document in gone:
        response = patiently(partial(client.delete, f"/v1/documents/{document['id']}"), out.print)
        name = document["external_id"]
        if response.status_code != httpx.codes.NOT_FOUND:  # then somebody else deleted it meanwhile
            outcomes.append({"name": name, "outcome": "deleted", "job_id": json_of(response)["job_id"]})
    return outcomes


def _tell(plan: Plan) -> None:
    for verb, names in {
        "add": [file.external_id for file in plan.new],
        "change": [file.external_id for file in plan.changed],
        "delete": [document["external_id"] for document in plan.gone],
    }.items():
        for name in names:
            out.print(f"{verb} {escape(str(name))}")
    counts = f"{len(plan.new)} to add  {len(plan.changed)} to change  {len(plan.gone)} to delete"
    out.print(f"{counts}  {len(plan.known)} unchanged  (dry run: nothing was changed)")


def _summary(plan: Plan, outcomes: Sequence[Outcome], states: Counter[str]) -> int:
    counts = Counter(entry["outcome"] for entry in outcomes)
    counts["unchanged"] += len(plan.known)
    out.print("  ".join(f"{count} {name}" for name, count in [*counts.items(), *states.items()] if count))
    for entry in outcomes:
        if entry.get("problem"):
            out.print(complaint(entry["name"], entry["problem"]["detail"], entry["problem"]["code"]))
    return exit_status(counts + states)
