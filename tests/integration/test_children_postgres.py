"""Documents inside documents on PostgreSQL, whose locks SQLite's one writer hides."""

from collections.abc import Iterator

import pytest

from ibid.db.session import Database
from tests.services import postgres_tables
from tests.unit import test_children

pytestmark = pytest.mark.service
shop = test_children.shop


@pytest.fixture
def db() -> Iterator[Database]:
    with postgres_tables() as made:
        yield made


class TestAccept(test_children.TestAccept):
    """The same cases."""


class TestDelete(test_children.TestDelete):
    """The same cases."""


class TestDeleteInside(test_children.TestDeleteInside):
    """The same cases."""


class TestDescribe(test_children.TestDescribe):
    """The same cases."""
