"""Token buckets: a burst is let through, then the rate holds, and one key's haste is not another's."""

from __future__ import annotations

from typing import Any, cast

import pytest

from backend.errors import OverLimit
from backend.model.ids import NamespaceId
from backend.service.rates import MOST_BUCKETS, Rates


class Hands:
    """A clock that a test turns."""

    at = 1000.0

    def monotonic(self) -> float:
        return self.at


def admitted(rates: Rates, key: str, requests: int, namespace: str | None = None, limits: str = "{}") -> int:
    let_in = 0
    for _ in range(requests):
        try:
            rates.admit(key, None if namespace is None else NamespaceId(namespace), limits)
        except OverLimit:
            continue
        let_in += 1
    return let_in


def test_a_burst_of_twice_the_rate_is_let_in_and_then_the_rate() -> None:
    hands = Hands()
    rates = Rates(cast("Any", hands), 10)
    assert admitted(rates, "a", 50) == 20
    assert admitted(rates, "b", 5) == 5
    hands.at += 0.5
    assert admitted(rates, "a", 50) == 5
    with pytest.raises(OverLimit) as over:
        rates.admit("a", None, "{}")
    assert (over.value.retry_after, over.value.members["limit"]) == (
        1,
        {"name": "requests_per_second", "limit": 10, "used": 10},
    )
    hands.at += 3600
    assert admitted(rates, "a", 50) == 20


def test_all_keys_of_a_namespace_share_its_rate_which_may_change_at_any_time() -> None:
    rates = Rates(cast("Any", Hands()), 0)
    assert [admitted(rates, key, 4, "growth", '{"requests_per_second":3}') for key in "ab"] == [4, 2]
    assert admitted(rates, "a", 100, "growth") == 100


def test_who_has_not_asked_for_long_is_forgotten_when_there_are_very_many() -> None:
    rates = Rates(cast("Any", Hands()), 1)
    for number in range(MOST_BUCKETS + 5):
        rates.admit(str(number), None, "{}")
    assert len(rates.buckets) == MOST_BUCKETS
