"""Commands about documents and their jobs."""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ibid import media
from ibid.cli.client import BUSY, Refused, connect, json_of, pages, patiently, print_json, problem_of
from ibid.errors import Invalid

AT_ONCE = 8
PAGE = 200
POLL_SECONDS = 0.3
DIFFERENCES = ("orphans", "gaps", "stale")
IN_PART = "unpacked in part"
"""How an archive ended some of whose files were refused, each of which would be a refusal if it came alone."""
FOR_ALL = {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND}
"""What is refused so is the key, the collection or the way, for whichever document."""
ENDED = {"succeeded", "partially_succeeded", "failed", "cancelled"}

out = Console(highlight=False)


class NothingToIngest(Invalid):
    """The paths hold no file of a supported type."""

    code = "nothing_to_ingest"


@dataclass(frozen=True, slots=True)
class Found:
    """A file to upload. One in a subfolder is known by its path in the folder, all others by their name."""

    path: Path
    external_id: str | None = None
    metadata: Mapping[str, str] | None = None


def ingest(paths: Sequence[Path], collection: str, *, unpack: bool, wait: bool) -> int:
    """Upload and, if asked, wait; gives the exit status: 0 if every document can be searched, at least in part."""
    files = list(_files(paths, unpack=unpack))
    if not files:
        raise NothingToIngest("No supported file was found there. `ibid doctor` lists the supported types.")
    with connect() as client, shown_progress() as progress:
        ensure_collection(client, collection)
        uploading = progress.add_task("uploading", total=len(files))
        accepted: list[dict[str, Any]] = []
        for some in _loads(files):
            accepted += upload(client, collection, some, unpack=unpack)
            progress.advance(uploading, len(some))
        outcomes = Counter(entry["outcome"] for entry in accepted)
        states = Counter[str]()
        if wait:
            states += await_jobs(client, accepted, progress)
            unpacked = _unpacked(client, collection, accepted)
            outcomes += Counter(entry["outcome"] for entry in unpacked)
            states += await_jobs(client, unpacked, progress)
    out.print("  ".join(f"{count} {name}" for name, count in (outcomes + states).items()))
    for entry in accepted:
        if entry.get("problem"):
            out.print(complaint(entry["name"], entry["problem"]["detail"], entry["problem"]["code"]))
    return exit_status(outcomes + states)


def exit_status(ended: Counter[str]) -> int:
    """1 if anything was refused, failed or cancelled. What was read only in part is warned of: it is there for readers."""
    if part := ended["partially_succeeded"]:
        verb = "was" if part == 1 else "were"
        out.print(f"[yellow]{part} {verb} read only in part; what is missing is named above.[/]")
    return int(any(ended[name] for name in ("rejected", "failed", "cancelled", IN_PART)))


def _unpacked(
    client: httpx.Client, collection: str, accepted: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The documents that archives became, which have jobs of their own."""
    return [
        {"name": document["external_id"], "outcome": "unpacked", "job_id": document["job_id"]}
        for entry in accepted
        if entry["outcome"] == "unpacking"
        for document in pages(client, f"/v1/collections/{collection}/documents", {"batch": entry["job_id"]})
    ]


def add(addresses: Sequence[str], collection: str, *, wait: bool) -> int:
    """Have addresses fetched and, if asked, wait; the exit status is that of `ingest`."""
    with connect() as client, shown_progress() as progress:
        ensure_collection(client, collection)
        accepted = [_ask_for(client, collection, url) for url in addresses]
        states = Counter[str]()
        if wait:
            states += await_jobs(client, accepted, progress)
            fetched = _fetched(client, accepted)
            states += await_jobs(client, fetched, progress)
    outcomes = Counter(entry["outcome"] for entry in [*accepted, *(fetched if wait else ())])
    out.print("  ".join(f"{count} {name}" for name, count in (outcomes + states).items()))
    for entry in accepted:
        if entry.get("problem"):
            out.print(complaint(entry["name"], entry["problem"]["detail"], entry["problem"]["code"]))
    return exit_status(outcomes + states)


def _ask_for(client: httpx.Client, collection: str, url: str) -> dict[str, Any]:
    """What was accepted, again when a busy server says so; an address that is refused alone comes back as an entry."""
    path = f"/v1/collections/{collection}/documents"
    response = patiently(lambda: client.post(path, json={"url": url}), out.print)
    if response.is_success or response.status_code in FOR_ALL:
        return dict(json_of(response)["documents"][0])
    return _rejected(url, response)


def _fetched(client: httpx.Client, accepted: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The documents that addresses became, which have jobs of their own."""
    asked = [entry for entry in accepted if entry["job_id"]]
    told = [(entry, json_of(client.get(f"/v1/jobs/{entry['job_id']}"))["statistics"]) for entry in asked]
    return [
        {"name": entry["name"], **statistics} for entry, statistics in told if "document_id" in statistics
    ]


def jobs(*, state: str | None, collection: str | None, limit: int, as_json: bool) -> None:
    """List jobs, newest first, and how many wait."""
    asked = {"state": state, "collection": collection, "limit": min(limit, PAGE)}
    given = {name: value for name, value in asked.items() if value is not None}
    with connect() as client:
        _show(list(islice(pages(client, "/v1/jobs", given), limit)), as_json=as_json)
        queue = json_of(client.get("/v1/queue"))
    if not as_json:
        waited = queue["oldest_queued_seconds"]
        oldest = f", the oldest for {waited:.0f} s" if waited is not None else ""
        out.print(f"{queue['queued']} queued{oldest}; {queue['running']} running; {queue['stalled']} stalled")


def act_on_job(verb: str, job_id: str, *, as_json: bool) -> None:
    """Cancel or retry a job."""
    with connect() as client:
        _show([json_of(client.post(f"/v1/jobs/{job_id}/{verb}"))], as_json=as_json)


def retry_failed(collection: str | None) -> None:
    """Try all failed jobs again, or those of a collection."""
    retried = 0
    with connect() as client:
        while True:
            some = json_of(client.post("/v1/jobs/retry", json={"collection": collection}))
            retried += len(some["job_ids"])
            if not some["more"]:
                break
    out.print(f"{retried} queued again")


def _show(found: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    table = Table("job", "kind", "state", "stage", "progress", "attempt", "error")
    for job in found:
        done = job["progress"]
        progress = f"{done['done']}/{done['total']} {done['unit']}" if done["total"] else ""
        error = job["error"]["message"] if job["error"] else ""
        table.add_row(
            job["id"], job["kind"], job["state"], job["stage"], progress, str(job["attempt"]), error
        )
    out.print(table)


def verify(collection: str | None, *, repair: bool, as_json: bool) -> int:
    """Compare SQL and vectors; status 1 if something did not agree and was not repaired."""
    with connect() as client:
        names = [collection] if collection else [c["id"] for c in pages(client, "/v1/collections")]
        reports = [
            json_of(client.post(f"/v1/collections/{name}/verify", json={"repair": repair})) for name in names
        ]
        left_over = None if collection else _left_over(client, repair=repair)
    found = [generation for report in reports for generation in report["generations"]]
    if as_json:
        print_json({"generations": found, "left_over": left_over})
    else:
        _show_comparison(found, left_over)
    wrong = any(not row["repaired"] and any(row[kind] for kind in DIFFERENCES) for row in found)
    counts = {name: n for name, n in (left_over or {}).items() if name != "repaired"}
    lost = counts.pop("lost_bytes", 0)  # which no repair brings back
    return 1 if wrong or lost or (any(counts.values()) and not repair) else 0


def _left_over(client: httpx.Client, *, repair: bool) -> dict[str, Any] | None:
    """What belongs to nothing in the whole installation; None for a key that is limited to some collections."""
    response = client.post("/v1/verify", json={"repair": repair})
    return None if response.status_code == httpx.codes.FORBIDDEN else dict(json_of(response))


def _show_comparison(found: list[dict[str, Any]], left_over: dict[str, Any] | None) -> None:
    table = Table("generation", "chunks in SQL", "points", *DIFFERENCES, "repaired")
    for row in found:
        counts = (str(row[name]) for name in ("chunks", "points", *DIFFERENCES))
        table.add_row(row["generation_id"], *counts, "yes" if row["repaired"] else "no")
    out.print(table)
    if left_over is not None:
        table = Table("left over", "found")
        for name, n in left_over.items():
            table.add_row(name.replace("_", " "), str(n))
        out.print(table)


def _files(paths: Sequence[Path], *, unpack: bool) -> Iterator[Found]:
    """Files as named, and in folders those of a supported type, hidden ones left out; archives if they are unpacked."""
    for path in paths:
        if path.is_file():
            yield Found(path)
            continue
        for inner in sorted(path.rglob("*")):
            below = inner.relative_to(path)
            hidden = any(part.startswith(".") for part in below.parts)
            supported = media.extension(inner.name) in media.BY_EXTENSION
            supported = supported or (unpack and media.archive(inner.name) is not None)
            if inner.is_file() and not hidden and supported:
                yield Found(inner, below.as_posix() if len(below.parts) > 1 else None)


def _loads(files: Sequence[Found]) -> Iterator[Sequence[Found]]:
    """What goes in one request: several files, or one with an identity of its own."""
    named = [file for file in files if file.external_id is None]
    yield from (named[begin : begin + AT_ONCE] for begin in range(0, len(named), AT_ONCE))
    yield from ([file] for file in files if file.external_id is not None)


def ensure_collection(client: httpx.Client, name: str) -> None:
    """Make the collection if there is none of this name."""
    response = client.get(f"/v1/collections/{name}")
    if response.status_code == httpx.codes.NOT_FOUND:
        json_of(client.post("/v1/collections", json={"name": name}))
    else:
        json_of(response)


def upload(
    client: httpx.Client, collection: str, files: Sequence[Found], *, unpack: bool = False
) -> list[dict[str, Any]]:
    """One request, again when a busy server says so; a file that is refused alone comes back as an entry."""
    identity = files[0].external_id

    def send() -> httpx.Response:
        with ExitStack() as stack:
            parts = [("files", (file.path.name, stack.enter_context(file.path.open("rb")))) for file in files]
            return client.post(
                f"/v1/collections/{collection}/documents",
                files=parts,
                data=_fields(files[0]) | ({"unpack": "true"} if unpack else {}),
            )

    response = patiently(send, out.print)
    shown = {"name": identity} if identity else {}
    if response.is_success:
        return [entry | shown for entry in json_of(response)["documents"]]
    if response.status_code in FOR_ALL | BUSY:
        json_of(response)
    problem = problem_of(response)
    if "documents" in problem:
        return [entry | shown for entry in problem["documents"]]
    if len(files) == 1:
        return [_rejected(identity or files[0].path.name, response)]
    raise Refused(f"{problem['detail']} [{problem['code']}]")


def _rejected(name: str, response: httpx.Response) -> dict[str, Any]:
    return {"name": name, "outcome": "rejected", "job_id": None, "problem": problem_of(response)}


def _fields(file: Found) -> dict[str, str]:
    fields = {} if file.external_id is None else {"external_id": file.external_id}
    return fields if file.metadata is None else fields | {"metadata": json.dumps(file.metadata)}


def await_jobs(client: httpx.Client, accepted: Sequence[dict[str, Any]], progress: Progress) -> Counter[str]:
    """How the jobs of the documents ended."""
    waiting = {entry["job_id"]: entry["name"] for entry in accepted if entry.get("job_id")}
    reading = progress.add_task("reading", total=len(waiting))
    states: Counter[str] = Counter()
    while waiting:
        for job_id, name in list(waiting.items()):
            job = json_of(client.get(f"/v1/jobs/{job_id}"))
            if job["state"] in ENDED:
                del waiting[job_id]
                part = job["state"] == "partially_succeeded"
                states[IN_PART if part and job["kind"] == "unpack" else job["state"]] += 1
                progress.advance(reading)
                if part:
                    for warning in _warnings(job["statistics"]):
                        progress.console.print(f"[yellow]{escape(name)}[/]: {escape(warning)}")
                elif job["error"]:
                    progress.console.print(complaint(name, job["error"]["message"], job["error"]["code"]))
        time.sleep(POLL_SECONDS if waiting else 0)
    return states


def _warnings(statistics: Mapping[str, Any]) -> Iterator[str]:
    """What a job that succeeded in part says is missing: of a document, or of an archive."""
    yield from statistics.get("warnings", ())
    for refused in statistics.get("refusals", ()):
        yield f"{refused['path']}: {refused['message']} [{refused['code']}]"
    if more := statistics.get("more_refusals"):
        yield f"{more} more files were refused."


def complaint(name: str, sentence: str, code: str) -> str:
    """What is printed of a document that was refused or failed."""
    return f"[red]{escape(name)}[/]: {escape(f'{sentence} [{code}]')}"


def shown_progress(console: Console = out) -> Progress:
    """Bars for uploading, reading and asking."""
    return Progress(
        TextColumn("{task.description:>9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
