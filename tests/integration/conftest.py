"""What several integration tests are given."""

from collections.abc import Iterator

import pytest

from tests.door import Door, made


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """The API in this process, one for each file of tests."""
    with made(tmp_path_factory.mktemp("door")) as running:
        yield running
