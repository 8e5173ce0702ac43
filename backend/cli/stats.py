"""The command that shows how a namespace is doing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from backend.cli.options import DEFAULTS, Common, connect
from backend.cli.output import Column, Row, print_table, tell

Json = dict[str, Any]
COLUMNS = (Column("WHAT"), Column("FIGURES", flexible=True))


def stats(*, common: Common = DEFAULTS) -> None:
    """Show counts, lateness, backlog and failures of the last hour, and limits with their use."""
    tell(connect(common).get("stats"), show_stats, as_json=common.json)


def show_stats(found: Json) -> None:
    """Print a row for each kind of figure."""
    print_table(COLUMNS, [Row(cells) for cells in _cells(found)])


def _cells(found: Json) -> Iterator[tuple[str, str]]:
    late, backlog = found["lateness"], found["backlog"]
    yield "schedules", _counted(found["schedules"])
    yield "open runs", _counted(found["open_runs"])
    yield "last hour", _counted(found["last_hour"]) + ("" if found["last_hour_complete"] else " (the newest only)")
    if late["runs"]:
        yield "lateness", ", ".join(f"{name} {late[name]:.3g} s" for name in ("p50", "p95", "p99"))
    yield "backlog", f"{backlog['due_schedules']} due, oldest queued run {backlog['queued_age_seconds']:.3g} s"
    for limit in found["limits"]:
        used = "" if limit["used"] is None else f"{limit['used']} of "
        yield f"limit {limit['name']}", f"{used}{limit['limit']}"


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in counts.items() if number) or "none"
