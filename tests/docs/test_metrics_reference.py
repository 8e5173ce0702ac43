"""Every metric is documented, with its type and labels, and no other is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from backend.observe.metrics import Metrics
from backend.observe.web_metrics import WebMetrics

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
Declared = tuple[str, tuple[str, ...]]


def declared() -> dict[str, Declared]:
    """Give type and labels of each metric that there is, by its name in queries."""
    registries = (Metrics().registry, WebMetrics("1").registry)
    collectors: set[Any] = {each for registry in registries for each in registry._collector_to_names}
    found = {}
    for collector in collectors:
        family = next(iter(collector.collect()))
        if family.name.startswith("scheduler_"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found[name] = family.type, tuple(collector._labelnames)
    return found


def documented() -> dict[str, Declared]:
    rows = re.findall(r"^\| `(scheduler_\w+)` \| (\w+) \| ([^|]*)\| .+ \|$", REFERENCE.read_text(), re.MULTILINE)
    assert len({name for name, *_ in rows}) == len(rows)
    return {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def test_every_metric_is_documented_and_no_other_is() -> None:
    assert documented() == declared()


def test_names_follow_the_conventions() -> None:
    for name, (kind, _) in declared().items():
        assert (kind == "counter") == name.endswith("_total"), name
        assert not re.search(r"(milliseconds|_ms|_kb|_count|_sum|_bucket)$", name), name


def test_both_parts_of_a_page_have_different_names() -> None:
    assert set(Metrics().registry._names_to_collectors).isdisjoint(WebMetrics("1").registry._names_to_collectors)
