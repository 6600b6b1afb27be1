"""Moments come out of a database in UTC, whatever it calls its zone."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy.dialects import sqlite

from ibid.db.tables import Utc

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "zone", [UTC, ZoneInfo("Etc/UTC"), ZoneInfo("Europe/Berlin"), timezone(timedelta(hours=5))]
)
def test_of_a_server_with_a_zone(zone: tzinfo) -> None:
    found = Utc().process_result_value(NOON.astimezone(zone), sqlite.dialect())
    assert found == NOON
    assert found is not None
    assert found.tzinfo is UTC


def test_of_one_without() -> None:
    found = Utc().process_result_value(NOON.replace(tzinfo=None), sqlite.dialect())
    assert found == NOON
    assert Utc().process_result_value(None, sqlite.dialect()) is None


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        Utc().process_bind_param(datetime(2026, 11, 30), sqlite.dialect())  # noqa: DTZ001 - that is the mistake
