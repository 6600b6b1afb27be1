"""The web page's files, as they were built; a sentence where they were not."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

BUILT = Path(__file__).resolve().parents[2] / "web" / "dist"
NOT_BUILT = (
    "Ibid is running. Its page is not built: install Node 20.19 or later and run `make web`, then start again.\n"
    "Everything else works without it: see /docs, or `ibid --help`.\n"
)


def install(app: FastAPI, folder: Path = BUILT) -> None:
    """Serve the page under every address that no other route takes."""
    if (folder / "index.html").is_file():
        app.frontend("/", directory=folder, fallback="index.html")
    else:
        app.add_api_route("/", not_built, include_in_schema=False, response_class=PlainTextResponse)


def not_built() -> PlainTextResponse:
    """Say how to have the page."""
    return PlainTextResponse(NOT_BUILT)
