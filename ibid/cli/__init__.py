"""The command line: `serve`, `worker`, `db` and `doctor` act here; the rest are HTTP clients of a running server."""

import sys
from collections.abc import Iterator

from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from ibid.cli.app import app
from ibid.errors import IbidError

__all__ = ["app", "main"]


def main() -> None:
    """Run a command; an error of ours or a wrong setting is a sentence and the status 1, never a traceback."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        app()
    except IbidError as error:
        console.print(f"[red]{error.code}[/]: {escape(error.message)}")
        sys.exit(1)
    except ValidationError as error:
        if error.title != "Settings":
            raise
        for variable, sentence in _wrong_settings(error):
            console.print(f"[red]{variable}[/]: {escape(sentence)}")
        sys.exit(1)


def _wrong_settings(error: ValidationError) -> Iterator[tuple[str, str]]:
    """Variables with what is wrong; without their values, which may be secret."""
    for each in error.errors(include_url=False, include_input=False):
        yield f"IBID_{str(each['loc'][0]).upper()}", f"{each['msg']}."
