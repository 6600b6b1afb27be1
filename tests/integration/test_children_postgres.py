"""Documents inside documents on PostgreSQL, whose locks SQLite's one writer hides."""

from collections.abc import Iterator

import pytest

from ibid.db.session import Database
from ibid.db.tables import Base
from tests.services import postgres_database
from tests.unit import test_children

pytestmark = pytest.mark.service
shop = test_children.shop


@pytest.fixture
def db() -> Iterator[Database]:
    with postgres_database() as url:
        made = Database(url)
        Base.metadata.create_all(made.engine)
        yield made
        made.dispose()


class TestAccept(test_children.TestAccept):
    """The same cases."""


class TestDelete(test_children.TestDelete):
    """The same cases."""


class TestDeleteInside(test_children.TestDeleteInside):
    """The same cases."""


class TestDescribe(test_children.TestDescribe):
    """The same cases."""
