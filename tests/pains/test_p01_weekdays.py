"""P1: a weekly schedule fires on the wrong weekday, because somewhere 0 means Monday."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from backend.model.instants import from_datetime, to_datetime
from backend.triggers.cron import CronTrigger
from backend.triggers.zones import zone

DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def week_of(field: str, timezone: str) -> str:
    """Name the local weekdays on which `0 9 * * FIELD` fires in two weeks."""
    trigger = CronTrigger(expression=f"0 9 * * {field}", timezone=timezone)
    start = datetime(2026, 6, 6, 12, tzinfo=zone(timezone))  # a Saturday
    instant, found = trigger.next_after(from_datetime(start)), []
    while instant is not None and to_datetime(instant) < start + timedelta(days=14):
        local = to_datetime(instant).astimezone(zone(timezone))
        assert (local.hour, local.minute) == (9, 0)
        found.append(DAYS[local.isoweekday() % 7])
        instant = trigger.next_after(instant)
    half = len(found) // 2
    assert found[:half] == found[half:]
    return " ".join(found[:half])


@pytest.mark.parametrize("timezone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
@pytest.mark.parametrize("number", range(7))
def test_a_weekday_by_number_or_by_name_is_the_weekday_of_unix(number, timezone):
    assert week_of(str(number), timezone) == week_of(DAYS[number], timezone) == DAYS[number]


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("1-5", "mon tue wed thu fri"),
        ("mon-fri", "mon tue wed thu fri"),
        ("*/2", "sun tue thu sat"),
        ("0-7", "sun mon tue wed thu fri sat"),
        ("0-6/2", "sun tue thu sat"),
        ("mon-fri/2", "mon wed fri"),
        ("sun-thu", "sun mon tue wed thu"),
        ("7", "sun"),
        ("fri-mon", "sun mon fri sat"),
        ("6,7", "sun sat"),
        ("tue,4", "tue thu"),
    ],
)
def test_lists_ranges_and_steps_of_weekdays_are_those_of_unix(field, expected):
    assert week_of(field, "America/New_York") == expected
