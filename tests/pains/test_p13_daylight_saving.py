"""P13: an hour off, fired twice, or a day lost, when the clocks change."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from backend.model.instants import to_datetime
from backend.triggers.cron import CronTrigger
from backend.triggers.zones import zone
from tests.property.all_zones import distinct_zones

MIDNIGHT_GAPS = ("Africa/Cairo", "America/Sao_Paulo", "Asia/Beirut", "America/Havana", "America/Asuncion")
SECOND = 1_000_000


def local_times(trigger: CronTrigger, year: int, years: int = 1) -> list[str]:
    """List the local times, with their offsets, at which a trigger fires from one new year to another."""
    first = (date(year, 1, 1) - timedelta(days=1)).isoformat() + " 23:59:59"
    last = f"{year + years}-01-01"
    instant = int((date(year, 1, 1) - date(1970, 1, 1)).total_seconds() - 86400) * SECOND
    found: list[str] = []
    while True:
        following = trigger.next_after(instant)
        assert following is not None
        assert following > instant, "an answer that is not later would loop for ever"
        instant = following
        shown = to_datetime(instant).astimezone(zone(trigger.timezone)).strftime("%Y-%m-%d %H:%M:%S %z")
        if shown >= last:
            return found
        if shown > first:
            found.append(shown)


@pytest.mark.parametrize("timezone", [*MIDNIGHT_GAPS, "America/New_York", "Australia/Lord_Howe", "Antarctica/Troll"])
@pytest.mark.parametrize("time", ["0 0", "30 0", "30 1", "0 2", "30 2", "59 23"])
def test_a_daily_job_runs_exactly_once_on_each_date_of_thirty_years(time, timezone):
    dates = [shown[:10] for shown in local_times(CronTrigger(expression=f"{time} * * *", timezone=timezone), 2000, 30)]
    assert dates == [(date(2000, 1, 1) + timedelta(days=day)).isoformat() for day in range(len(dates))]
    assert len(dates) == (date(2030, 1, 1) - date(2000, 1, 1)).days


def test_a_job_at_half_past_two_runs_when_the_gap_ends_not_an_hour_late():
    shown = local_times(CronTrigger(expression="30 2 * * *", timezone="Europe/Berlin"), 2026)
    assert "2026-03-29 03:00:00 +0200" in shown
    assert len(shown) == 365


def test_a_job_at_half_past_two_runs_once_when_that_time_comes_twice():
    shown = local_times(CronTrigger(expression="30 2 * * *", timezone="Europe/Berlin"), 2026)
    assert [moment for moment in shown if moment.startswith("2026-10-25")] == ["2026-10-25 02:30:00 +0200"]


def test_a_job_each_hour_runs_each_hour_of_real_time():
    shown = local_times(CronTrigger(expression="0 * * * *", timezone="Europe/Berlin"), 2026)
    assert len(shown) == 365 * 24
    assert len([moment for moment in shown if moment.startswith("2026-03-29")]) == 23
    assert len([moment for moment in shown if moment.startswith("2026-10-25")]) == 25


def test_a_date_that_a_zone_skips_has_no_occurrence_and_its_neighbours_have_theirs():
    shown = local_times(CronTrigger(expression="0 9 * * *", timezone="Pacific/Apia"), 2011)
    assert len(shown) == 364
    assert [moment[:10] for moment in shown[-2:]] == ["2011-12-29", "2011-12-31"]


def test_a_job_at_noon_shows_noon_on_every_day_in_every_zone():
    start = (date(2026, 1, 1) - date(1970, 1, 1)).days * 86400
    for name in distinct_zones():
        trigger = CronTrigger(expression="0 12 * * *", timezone=name)
        instant: int | None = start * SECOND
        for _ in range(370):
            assert instant is not None
            instant = trigger.next_after(instant)
            assert instant is not None
            assert to_datetime(instant).astimezone(zone(name)).strftime("%H:%M:%S") == "12:00:00", name
