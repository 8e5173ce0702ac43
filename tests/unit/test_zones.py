"""Zones come from the pinned database only, and the table of offsets is that of zoneinfo."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from backend.errors import FieldError
from backend.triggers import zones
from backend.triggers.zones import Timeline, timeline, tzdata_version, zone, zone_names

REGIONS = sorted(name for name in zone_names() if "/" in name)


def offset(tz: ZoneInfo, second: int) -> int:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    return round((moment.astimezone(tz).replace(tzinfo=UTC) - moment).total_seconds())


def test_the_table_of_every_zone_is_that_of_zoneinfo_until_2110():
    for name in REGIONS:
        tz, table = zone(name), timeline(name)
        for start, before, after in zip(table.starts[1:-1], table.offsets, table.offsets[1:], strict=False):
            if start > 4_420_000_000:
                break
            assert (offset(tz, start - 1), offset(tz, start)) == (before, after), (name, start)


def test_no_change_of_any_zone_is_missing_from_the_table():
    for name in REGIONS[::9]:
        tz, table = zone(name), timeline(name)
        for second in range(0, 4_420_000_000, 11 * 86400):
            assert table.local(second) - second == offset(tz, second), (name, second)


def test_clock_changes_of_a_zone_lie_so_far_apart_that_gaps_and_overlaps_never_meet():
    for name in REGIONS:
        table: Timeline = timeline(name)
        for period in range(2, len(table.starts) - 1):
            lasted = table.starts[period] - table.starts[period - 1]
            changes = abs(table.offsets[period] - table.offsets[period - 1])
            changes += abs(table.offsets[period - 1] - table.offsets[period - 2])
            assert lasted > changes, (name, table.starts[period])


def test_the_far_future_keeps_the_last_rule():
    table = timeline("America/New_York")
    assert table.local(32_519_599_200) - 32_519_599_200 == -4 * 3600  # July 3000
    assert table.seconds_at(32_519_599_200 - 4 * 3600) == (32_519_599_200,)


def test_a_local_time_is_read_none_once_or_twice():
    new_york = timeline("America/New_York")

    def local(text: str) -> int:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())

    assert new_york.seconds_at(local("2024-03-10T02:30")) == ()
    assert new_york.end_of_gap(local("2024-03-10T02:30")) == local("2024-03-10T07:00")
    assert new_york.seconds_at(local("2024-11-03T01:30")) == (local("2024-11-03T05:30"), local("2024-11-03T06:30"))
    assert new_york.seconds_at(local("2024-07-01T00:00")) == (local("2024-07-01T04:00"),)
    assert timeline("Pacific/Apia").seconds_at(local("2011-12-30T12:00")) == ()


@pytest.mark.parametrize("name", ["EST", "MST", "CET", "EST5EDT", "PST", "GMT", "Japan", "Cuba", "utc", "local"])
def test_abbreviations_are_refused_with_a_better_name(name):
    with pytest.raises(FieldError) as refused:
        zone(name)
    assert refused.value.field == "timezone"
    assert refused.value.fix


@pytest.mark.parametrize(("name", "first"), [("EST", "America/New_York"), ("mst", "America/Denver")])
def test_an_american_abbreviation_is_taken_for_a_zone_with_daylight_saving_first(name, first):
    with pytest.raises(FieldError) as refused:
        zone(name)
    assert refused.value.fix.startswith(f"name a region and city, such as {first} (or ")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "../../etc/passwd",
        "/etc/localtime",
        "Europe/../Europe/London",
        "europe/london",
        "Europe/London\0",
        "é/é",
        "x" * 100_000,
    ],
)
def test_only_names_of_the_database_are_opened(name):
    with pytest.raises(FieldError):
        timeline(name)


def test_a_misspelt_zone_is_answered_with_the_nearest_names():
    with pytest.raises(FieldError, match="use Europe/London"):
        zone("Europe/Lodon")
    with pytest.raises(FieldError, match="America/New_York"):
        zone("america/new_york")
    with pytest.raises(FieldError, match=r"use America/New_York$"):
        zone("US/New_York")


def test_guessing_what_a_misspelt_zone_means_compares_short_names_only(monkeypatch):
    compared: list[str] = []

    def recorded(word: str, possibilities: Iterable[str], **limits: Any) -> list[str]:
        compared.extend([word, *possibilities])
        return get_close_matches(word, possibilities, **limits)

    monkeypatch.setattr(zones, "get_close_matches", recorded)
    for name in ("America/Argentina/Comod", "America/Indiana/" + "ainresto" * 1000):
        with pytest.raises(FieldError):
            zone(name)
    # With their regions, which most of them share, comparing takes 8 ms.
    assert compared
    assert max(map(len, compared)) <= 30
    assert not any("/" in name for name in compared)


def test_zones_are_opened_without_touching_the_cache_of_zoneinfo():
    assert zone("Europe/London") is zone("Europe/London")
    assert zone("Europe/London") is not ZoneInfo.no_cache("Europe/London")
    assert zone("Europe/London").key == "Europe/London"


def test_the_release_of_the_database_is_known():
    assert tzdata_version()[:4].isdigit()
