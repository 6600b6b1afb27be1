"""A real browser, one for each file of tests, and a page in it. Each file brings its own `server`."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.e2e.browsing import PATIENCE
from tests.running import Server

CHROMIUM = os.environ.get("IBID_TEST_CHROMIUM") or shutil.which("chromium")
DIST = Path(__file__).parents[2] / "web" / "dist" / "index.html"
REQUIRED = os.environ.get("IBID_REQUIRE_SERVICES") == "1"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM or not DIST.exists():
        reason = "needs Chromium and the built page (`make web`)"
        (pytest.fail if REQUIRED else pytest.skip)(reason)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    """A page signed in with a fresh link; what goes wrong in it fails the test."""
    context = browser.new_context()
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on(
        "console", lambda line: errors.append(line.text) if "Content Security Policy" in line.text else None
    )
    yield opened
    context.close()
    assert errors == []
