"""The main job against a real server in standalone mode."""

from collections.abc import Iterator

import pytest

from tests.main_job import MainJob
from tests.running import Server, serving


class TestMainJob(MainJob):
    """As `ibid serve` does it with no setting at all."""

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
        with serving(tmp_path_factory.mktemp("main")) as running:
            yield running
