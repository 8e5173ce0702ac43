"""Dashboard and alerts ask only for metrics, labels and values that there are, in PromQL that can be parsed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from backend.model.run import AttemptState, RunState
from tests.docs.test_metrics_reference import declared

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "monitoring.md").read_text()
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "dashboard.json").read_text())
ALERTS: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text())
SCRAPED = {"job", "instance"}
VALUES = {
    "outcome": {state.value for state in AttemptState},
    "status": {f"{n}xx" for n in range(1, 6)},
    "loop": {"engine", "worker", "heartbeat", "reaper", "pruner", "auditor", "tzdata", "recorder"},
    "access": {"read", "write"},
    "result": {"requeued", "dead"},
    "state": {"working", "draining", "silent", *(state.value for state in RunState)},
}


def rules() -> list[dict[str, Any]]:
    return [rule for group in ALERTS["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> Iterator[Any]:
    for rule in rules():
        yield pytest.param(rule["expr"], id=rule["alert"])
    for panel in panels():
        for target in panel["targets"]:
            yield pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")


QUERIES = list(queries())


def nodes_of(query: str) -> list[Any]:
    found: list[Any] = []

    def note(node: Any) -> None:
        found.append(node)

    promql_parser.walk(promql_parser.parse(query.replace("$__rate_interval", "5m")), note)
    return found


def labels_of(selector: Any) -> set[str]:
    """Give the labels of what a selector finds; a failure if there is no such metric."""
    known, name = declared(), selector.name
    plain = re.sub(r"_(bucket|count|sum)$", "", name)
    if plain != name and known.get(plain, ("",))[0] == "histogram":
        return {*known[plain][1], *SCRAPED} | ({"le"} if name.endswith("_bucket") else set())
    assert name in known, f"there is no metric {name}"
    assert known[name][0] != "histogram", f"{name} is a histogram"
    return {*known[name][1], *SCRAPED}


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_for_what_there_is(query: str) -> None:
    nodes = nodes_of(query)
    selectors = [node for node in nodes if isinstance(node, promql_parser.VectorSelector)]
    assert selectors
    for selector in selectors:
        for matcher in selector.matchers.matchers:
            assert matcher.name in labels_of(selector), f"{selector.name} has no label {matcher.name}"
            if matcher.name in VALUES:
                assert set(matcher.value.split("|")) <= VALUES[matcher.name]
    common = set.intersection(*map(labels_of, selectors))
    for node in nodes:
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            assert set(node.modifier.labels) - {"le"} <= common, query


@pytest.mark.parametrize("query", QUERIES)
def test_counters_are_asked_for_their_growth_and_nothing_else_is(query: str) -> None:
    for node in nodes_of(query):
        if isinstance(node, promql_parser.Call) and node.func.name in {"rate", "increase"}:
            (argument,) = node.args
            name = argument.vector_selector.name
            assert name.endswith(("_total", "_bucket", "_count")), name
    grown = set(re.findall(r"(?:rate|increase)\((\w+)", query))
    counters = set(re.findall(r"scheduler_\w+?(?:_total|_bucket|_count)\b", query))
    assert counters == grown


def test_every_alert_says_how_bad_it_is_what_happened_and_what_to_do() -> None:
    assert len({rule["alert"] for rule in rules()}) == len(rules())
    runbooks = set(re.findall(r"^\*\*(Scheduler\w+)\*\*", GUIDE, re.MULTILINE))
    assert runbooks == {rule["alert"] for rule in rules()}
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        kept = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        aggregated = [set(each.split(", ")) for each in re.findall(r"by \(([\w, ]+)\)", rule["expr"])]
        assert kept <= (set.intersection(*aggregated) if aggregated else SCRAPED), rule["alert"]


def test_the_dashboard_shows_every_metric() -> None:
    shown = set(re.findall(r"scheduler_[a-z_]+", json.dumps(DASHBOARD)))
    shown |= {re.sub(r"_(bucket|count)$", "", name) for name in shown}
    left = {"scheduler_live", "scheduler_audits_total", "scheduler_due_backlog", "scheduler_schedules"}
    assert set(declared()) - shown == left | {"scheduler_store_unavailable_total"}


def test_panels_have_ids_and_places_of_their_own_and_say_what_they_show() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    assert all(panel["description"] and panel["datasource"]["uid"] == "${datasource}" for panel in panels())


def test_the_guide_names_only_metrics_and_files_that_there_are() -> None:
    known = declared()
    for name in re.findall(r"`(scheduler_[a-z_]+)`", GUIDE):
        assert name in known, name
    for file in re.findall(r"`(deploy/[\w./-]+)`", GUIDE):
        assert (ROOT / file).is_file()
