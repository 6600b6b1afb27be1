"""What tests of the page share: signing in, patience, and pictures to be looked at."""

import os
import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.running import ADMIN_KEY, Server

PATIENCE = 60_000


def link(server: Server) -> str:
    """The one-time link that this start printed."""
    found = re.findall(r"http://\S+\?token=\S+", server.log.read_text())
    return found[-1]


def sign_in(page: Page, server: Server) -> None:
    """With the key, as somebody does who has no link: each works once."""
    page.goto(server.url)
    expect(page.get_by_test_id("sign-in")).to_be_visible()
    page.get_by_test_id("api-key").fill(ADMIN_KEY)
    page.get_by_test_id("sign-in-submit").click()


def keep(page: Page, name: str) -> None:
    """A screenshot, where `IBID_TEST_SCREENSHOTS` names a folder."""
    if folder := os.environ.get("IBID_TEST_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=False)
