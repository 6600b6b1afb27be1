"""`ibid fit`: fit a collection's search to questions, wait for the report, and go back."""

import time
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ibid.cli.client import connect, json_of, print_json
from ibid.cli.documents import ENDED, POLL_SECONDS, complaint, shown_progress
from ibid.errors import Invalid, NotFound
from ibid.jsonl import objects

out = Console(highlight=False)
aside = Console(highlight=False, stderr=True)
"""Where the progress goes, so that what is printed may be read by programs."""


class QuestionsInvalid(Invalid):
    """The file of questions is not JSON Lines of objects."""

    code = "questions_invalid"


class NothingToRollBack(NotFound):
    """Searches of the collection use no fit."""

    code = "nothing_to_roll_back"


def fit(collection: str, questions: Path | None, *, as_json: bool) -> int:
    """Start a fit, follow its job and print the report; status 0 if it ended well, adopted or not."""
    body = (
        {} if questions is None else {"questions": [row for _, row in objects(questions, QuestionsInvalid)]}
    )
    with connect() as client:
        started = json_of(client.post(f"/v1/collections/{collection}/fits", json=body))
        job = _follow(client, started["job_id"])
        ended = json_of(client.get(f"/v1/fits/{started['id']}"))
    if as_json:
        print_json(ended)
    elif ended["report"] is not None:
        _show(ended)
    elif job["error"]:
        out.print(complaint(collection, job["error"]["message"], job["error"]["code"]))
    else:
        out.print(f"The fit was {job['state']}.")
    return int(job["state"] != "succeeded")


def roll_back(collection: str, *, as_json: bool) -> None:
    """Roll back the fit that searches of the collection use."""
    with connect() as client:
        listed = json_of(client.get(f"/v1/collections/{collection}/fits"))["data"]
        found = next((each for each in listed if each["in_force"]), None)
        if found is None:
            raise NothingToRollBack(f"Searches of {collection} use no fit: there is nothing to roll back.")
        done = json_of(client.post(f"/v1/fits/{found['id']}/rollback"))
    if as_json:
        print_json(done)
    else:
        out.print(f"{done['id']} is rolled back.")


def _follow(client: httpx.Client, job_id: str) -> dict[str, Any]:
    """The job once it has ended."""
    with shown_progress(aside) as progress:
        asking = progress.add_task("asking", total=None)
        while True:
            job: dict[str, Any] = json_of(client.get(f"/v1/jobs/{job_id}"))
            done = job["progress"]
            progress.update(asking, completed=done["done"], total=done["total"] or None)
            if job["state"] in ENDED:
                return job
            time.sleep(POLL_SECONDS)


def _show(ended: dict[str, Any]) -> None:
    report = ended["report"]
    out.print(f"{report['questions']} questions {report['source']}, {report['left_out']} left out")
    if report["means"] is not None:
        table = Table(report["measure"], "on unseen questions")
        for name, mean in report["means"].items():
            table.add_row(name, f"{mean:.3f}")
        out.print(table)
    weights = report["weights"]
    out.print(
        f"dense_weight {weights['dense_weight']:g}, nearby_weight {weights['nearby_weight']:g}: {ended['state']}"
    )
    out.print(escape(report["reason"]))
    if report["caution"]:
        out.print(f"[yellow]{escape(report['caution'])}[/]")
