"""The soak in its short form; the long one is run by hand, see `tests/soak.py`."""

from pathlib import Path

import pytest

from tests.services import RABBITMQ
from tests.soak import Plan, distributed, soak, standalone

pytestmark = pytest.mark.slow

DOCUMENTS, KILLS = 80, 8


def test_standalone(tmp_path: Path) -> None:
    with standalone(tmp_path) as (server, trouble):
        report = soak(server, Plan(DOCUMENTS, KILLS, trouble=trouble))
    assert report.wrong == ()
    assert report.states == {"succeeded": DOCUMENTS - 4, "failed": 4}


@pytest.mark.service
def test_distributed(tmp_path: Path) -> None:
    with distributed(tmp_path, RABBITMQ) as (server, trouble):
        report = soak(server, Plan(DOCUMENTS, KILLS, seed=2, trouble=trouble))
    assert report.wrong == ()
    assert report.states == {"succeeded": DOCUMENTS - 4, "failed": 4}
