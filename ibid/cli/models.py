"""`ibid models`: the catalogue of foundation models of a running server."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from ibid.cli.client import connect, json_of, print_json
from ibid.errors import Invalid

out = Console(highlight=False)


class BadPrice(Invalid):
    """A price is two numbers with a slash between."""

    code = "bad_price"


def listing(*, as_json: bool) -> None:
    """Print the models in the order of the catalogue."""
    with connect() as client:
        found = json_of(client.get("/v1/catalogue/models"))["data"]
    if as_json:
        print_json(found)
        return
    table = Table("name", "provider", "model", "status", "$ in", "$ out", "can")
    for each in found:
        prices = (
            "?" if price is None else f"{price:g}" for price in (each["input_price"], each["output_price"])
        )
        can = ", ".join(each["capabilities"])
        table.add_row(each["name"], each["provider"], each["model"], each["status"], *prices, can)
    out.print(table)


def put(name: str, entry: Mapping[str, Any], *, price: str | None, approve: bool) -> None:
    """Add a model, or replace the one of this name; what is None is left to the server."""
    body = {field: value for field, value in entry.items() if value is not None}
    if price is not None:
        body["input_price"], body["output_price"] = _prices(price)
    if approve:
        body["status"] = "approved"
    with connect() as client:
        made = json_of(client.put(f"/v1/catalogue/models/{name}", json=body))
    out.print(f"{made['name']} is {made['status']}.")


def switch(name: str, status: str) -> None:
    """Approve or disable a model, from the next question on."""
    with connect() as client:
        made = json_of(client.patch(f"/v1/catalogue/models/{name}", json={"status": status}))
    out.print(f"{made['name']} is {made['status']}.")


def remove(name: str) -> None:
    """Take a model out of the catalogue."""
    with connect() as client:
        json_of(client.delete(f"/v1/catalogue/models/{name}"))
    out.print(f"{name} is removed.")


def _prices(text: str) -> tuple[float, float]:
    """What is read and what is written."""
    try:
        read, written = map(float, text.split("/"))
    except ValueError as error:
        raise BadPrice(
            f"{text!r} is no price. Write dollars for a million tokens read and written: 0.15/0.60."
        ) from error
    return read, written
