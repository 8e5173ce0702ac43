"""Leaves out of a broken history whatever it breaks without."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.simulation.database import NO_PLANT, Plant
from tests.simulation.history import Report, run
from tests.simulation.scenario import Rates, Scenario

TRIES = 200


def shrunk(report: Report, plant: Plant = NO_PLANT) -> Report:
    """Find a smaller history that breaks the same invariant; the given one if there is none within some tries."""
    assert report.violation is not None
    tries, found = TRIES, True
    while found and tries > 0:
        found = False
        for smaller in _smaller(report.scenario):
            tries -= 1
            attempt = run(smaller, plant)
            if attempt.violation is not None and attempt.violation.invariant == report.violation.invariant:
                report, found = attempt, True
                break
            if tries <= 0:
                break
    return report


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    """Leave out half of something, one of something, or a kind of fault."""
    for name in ("acts", "troubles", "ids"):
        items = getattr(scenario, name)
        for part in _parts(items):
            yield _with(scenario, name, part)
    for kind in Rates._fields:
        if getattr(scenario.rates, kind):
            yield replace(scenario, rates=scenario.rates._replace(**{kind: 0.0}))
    if scenario.replicas > 1:
        troubles = tuple(t for t in scenario.troubles if t.replica < scenario.replicas - 1)
        yield replace(scenario, replicas=scenario.replicas - 1, troubles=troubles)
    if scenario.misbehaviour:
        yield replace(scenario, misbehaviour=0.0)


def _parts(items: tuple[object, ...]) -> Iterator[tuple[object, ...]]:
    half = len(items) // 2
    if half > 1:
        yield items[:half]
        yield items[half:]
    for place in range(len(items)):
        yield items[:place] + items[place + 1 :]


def _with(scenario: Scenario, name: str, items: tuple[object, ...]) -> Scenario:
    if name != "ids":
        return replace(scenario, **{name: items})  # type: ignore[arg-type]
    documents = {id_: document for id_, document in scenario.documents.items() if id_ in items}
    return replace(scenario, documents=documents, ids=tuple(documents))
