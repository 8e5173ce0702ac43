"""Token buckets: a burst is let through, then the rate holds, and one key's haste is not another's."""

from __future__ import annotations

from typing import Any, cast

import pytest

from backend.errors import OverLimit
from backend.model.ids import NamespaceId
from backend.service.rates import MOST_BUCKETS, Rates
from backend.store.namespaces import NamespaceRow, NamespacesStore

pytestmark = pytest.mark.anyio


class Hands:
    """A clock that a test turns."""

    at = 1000.0

    def monotonic(self) -> float:
        return self.at


class Known:
    """Namespaces with a rate; counts how often it is asked."""

    def __init__(self, rate: int | None) -> None:
        self.rate, self.asked = rate, 0

    async def get(self, id_: str) -> NamespaceRow:
        self.asked += 1
        limits = "{}" if self.rate is None else f'{{"requests_per_second":{self.rate}}}'
        return NamespaceRow(NamespaceId(id_), 0, "UTC", limits)


async def admitted(rates: Rates, key: str, requests: int, known: Any = None, namespace: str | None = None) -> int:
    let_in = 0
    for _ in range(requests):
        try:
            await rates.admit(
                key, None if namespace is None else NamespaceId(namespace), cast("NamespacesStore", known)
            )
        except OverLimit:
            continue
        let_in += 1
    return let_in


async def test_a_burst_of_twice_the_rate_is_let_in_and_then_the_rate() -> None:
    hands = Hands()
    rates = Rates(cast("Any", hands), 10)
    assert await admitted(rates, "a", 50) == 20
    assert await admitted(rates, "b", 5) == 5
    hands.at += 0.5
    assert await admitted(rates, "a", 50) == 5
    with pytest.raises(OverLimit) as over:
        await rates.admit("a", None, cast("NamespacesStore", None))
    assert (over.value.retry_after, over.value.members["limit"]) == (
        1,
        {"name": "requests_per_second", "limit": 10, "used": 10},
    )
    hands.at += 3600
    assert await admitted(rates, "a", 50) == 20


async def test_all_keys_of_a_namespace_share_its_rate_which_is_looked_up_now_and_then() -> None:
    hands, known = Hands(), Known(3)
    rates = Rates(cast("Any", hands), 0)
    assert [await admitted(rates, key, 4, known, "growth") for key in "ab"] == [4, 2]
    assert known.asked == 1
    known.rate = None
    hands.at += 6
    assert await admitted(rates, "a", 100, known, "growth") == 100


async def test_who_has_not_asked_for_long_is_forgotten_when_there_are_very_many() -> None:
    rates = Rates(cast("Any", Hands()), 1)
    for number in range(MOST_BUCKETS + 5):
        await rates.admit(str(number), None, cast("NamespacesStore", None))
    assert len(rates.buckets) == MOST_BUCKETS
