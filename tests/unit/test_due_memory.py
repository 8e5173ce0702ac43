"""What the search for the next time remembers does not grow by the length of a schedule's text with each occurrence."""

from __future__ import annotations

import tracemalloc

from backend.engine.due import next_nominal
from backend.model.instants import MINUTE
from tests.unit.engine_cases import T0

DATES = ",".join(
    f'{{"date":"2031-{month:02d}-{day:02d}","kind":"date"}}' for month in range(1, 13) for day in range(1, 9)
)
EVERY_MINUTE = '{"anchor":"1970-01-01T00:00:00Z","every":"1m","kind":"interval"}'
TEXT = f'{{"triggers":[{EVERY_MINUTE}],"end_at":null,"exclusions":[{DATES}],"start_at":null}}'


def test_a_long_text_that_is_read_anew_for_each_occurrence_is_kept_once():
    def walk(first: int, steps: int) -> None:
        for step in range(first, first + steps):
            text = "".join([TEXT[:1], TEXT[1:]])  # as from the database: equal, and another object
            assert next_nominal(text, T0 + step * MINUTE, T0) == T0 + (step + 1) * MINUTE

    walk(0, 10)
    tracemalloc.start()
    try:
        walk(10, 500)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 500 * len(TEXT) / 5
