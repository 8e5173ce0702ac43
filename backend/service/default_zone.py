"""The time zone of triggers and exclusions that name none: their namespace's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from backend.store.port import NamespaceStore

IN_A_ZONE = frozenset({"cron", "once", "rrule", "date", "range", "calendar"})
"""Kinds with a `timezone`; an interval has none."""
RULES = ("triggers", "exclusions")


async def zoned(store: NamespaceStore, documents: Sequence[object]) -> Sequence[object]:
    """Give each rule of these definitions or drafts that names no time zone the namespace's."""
    if not any(map(lacks_zone, documents)):
        return documents
    zone = (await store.terms()).timezone
    return [in_zone(document, zone) for document in documents]


def lacks_zone(document: object) -> bool:
    """Tell whether a definition or draft has a rule without a `timezone`."""
    return any(map(_lacks, _rules(document)))


def in_zone(document: Any, zone: str) -> Any:  # noqa: ANN401 - JSON
    """Give each rule of a definition or draft a `timezone`, where it names none.

    >>> in_zone({"triggers": [{"kind": "cron", "expression": "0 9 * * *"}]}, "Europe/London")["triggers"][0]["timezone"]
    'Europe/London'
    """
    if not lacks_zone(document):
        return document
    filled = {name: _filled(document[name], zone) for name in RULES if isinstance(document.get(name), Sequence)}
    return {**document, **filled}


def _rules(document: object) -> Iterator[object]:
    if isinstance(document, Mapping):
        for name in RULES:
            rules = document.get(name)
            yield from rules if isinstance(rules, list) else ()


def _lacks(rule: object) -> bool:
    if not isinstance(rule, dict) or "timezone" in rule:
        return False
    kind = rule.get("kind")
    return isinstance(kind, str) and kind in IN_A_ZONE


def _filled(rules: Any, zone: str) -> Any:  # noqa: ANN401 - JSON
    return [rule | {"timezone": zone} if _lacks(rule) else rule for rule in rules] if isinstance(rules, list) else rules
