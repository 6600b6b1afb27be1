"""The command line: `serve`, `worker`, `db` and `doctor` act here; the rest are HTTP clients of a running server."""

import sys

from rich.console import Console

from ibid.cli.app import app
from ibid.errors import IbidError

__all__ = ["app", "main"]


def main() -> None:
    """Run a command; an error of ours is a sentence and the status 1, never a traceback."""
    try:
        app()
    except IbidError as error:
        Console(stderr=True, highlight=False).print(f"[red]{error.code}[/]: {error.message}")
        sys.exit(1)
