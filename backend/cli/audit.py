"""The command that compares what should have fired with what is recorded."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from backend.cli import times
from backend.cli.client import Client
from backend.cli.failures import DONE, REFUSED
from backend.cli.options import DEFAULTS, Common, connect
from backend.cli.output import counted, print_line, tell

Json = dict[str, Any]
COUNTS = ("schedules", "expected", "recorded", "missing_count", "doubled_count", "unverified_count")
LISTS = ("missing", "doubled", "unverified")
MOST_NAMED = 100


def audit(
    id_: Annotated[str | None, Parameter(name="ID", help="One schedule; else all.")] = None,
    /,
    *,
    from_: Annotated[
        str | None, Parameter(name="--from", help="Since 2026-12-01T00:00:00Z; else all there is.")
    ] = None,
    to: Annotated[str | None, Parameter(help="Before this instant; else until now.")] = None,
    common: Common = DEFAULTS,
) -> int:
    """Compare what should have fired with what is recorded; exit code 1 if anything is missing or doubled."""
    found = collect(connect(common), {"schedule": id_, "from": times.instant(from_), "to": times.instant(to)})
    tell(found, show_audit, as_json=common.json)
    return REFUSED if found["missing_count"] or found["doubled_count"] else DONE


def collect(client: Client, query: dict[str, str | None]) -> Json:
    """Read all pages, and add them up."""
    total = client.get("audit", "occurrences", query=query)
    while total["next_cursor"]:
        page = client.get("audit", "occurrences", query={**query, "cursor": total["next_cursor"]})
        total |= {name: total[name] + page[name] for name in COUNTS}
        total |= {name: (total[name] + page[name])[:MOST_NAMED] for name in LISTS}
        total["next_cursor"] = page["next_cursor"]
    return total


def show_audit(found: Json) -> None:
    """Print the counts, and what was found."""
    good = not found["missing_count"] and not found["doubled_count"]
    print_line(
        f"{counted(found['expected'], 'occurrence')} of {counted(found['schedules'], 'schedule')}, "
        f"{times.whole(found['from'])} to {times.whole(found['to'])}: "
        f"{found['missing_count']} missing, {found['doubled_count']} doubled",
        "green" if good else "red",
    )
    for one in found["missing"]:
        print_line(f"missing {one['schedule_id']} {times.plain(one['nominal_time'])}{_times(one)}")
    for one in found["doubled"]:
        print_line(
            f"doubled {one['schedule_id']} {times.plain(one['nominal_time'])}{_times(one)} "
            f"{one['why']} (run {one['run_id']})"
        )
    for one in found["unverified"]:
        print_line(f"not compared in full: {one['schedule_id']}: {one['why']}", "yellow")


def _times(one: Json) -> str:
    return f" ×{one['count']}" if one["count"] > 1 else ""
