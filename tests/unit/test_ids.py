"""Run ids: UUIDs of version 7 that follow from what they name."""

from __future__ import annotations

import uuid

import pytest

from backend.model.ids import run_id_of, uuid7
from backend.model.instants import LATEST, SECOND


@pytest.mark.parametrize("instant", [0, 1, 1_800_000_000 * SECOND, LATEST])
def test_an_id_is_a_uuid_of_version_7_that_begins_with_its_time(instant):
    made = uuid.UUID(uuid7(instant, b"\xff" * 10))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == instant // 1000


def test_an_instant_before_1970_still_has_an_id():
    assert uuid.UUID(uuid7(-5, bytes(10))).int >> 80 == 0


def test_ids_sort_by_time():
    ids = [run_id_of("store/1/0", n * 3600 * SECOND, "") for n in range(200)]
    assert ids == sorted(ids)


def test_the_id_is_the_same_whoever_plans_the_occurrence():
    assert run_id_of("store/1/0", SECOND, "") == run_id_of("store/1/0", SECOND, "")


@pytest.mark.parametrize(
    "other", [("store/2/0", SECOND, ""), ("store/1/0", SECOND + 1, ""), ("store/1/0", SECOND, "x")]
)
def test_another_schedule_instant_or_backfill_has_another_id(other):
    assert run_id_of(*other) != run_id_of("store/1/0", SECOND, "")
