"""The command that runs what is over."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from backend.cli import times
from backend.cli.options import DEFAULTS, Common, connect
from backend.cli.output import print_line, print_text, tell

Json = dict[str, Any]
MOST_SHOWN = 20
"""Instants that a dry run lists."""


def backfill(
    id_: Annotated[str, Parameter(name="ID", help="The schedule's id.")],
    /,
    *,
    from_: Annotated[
        str, Parameter(name="--from", help="Earliest nominal time: 2026-11-01T00:00:00Z, or a date, from 0:00 UTC.")
    ],
    to: Annotated[str, Parameter(help="Nominal time to end before; not after now.")],
    overlap_policy: Annotated[
        str | None, Parameter(help="buffer_all: one after another; allow_all: four at a time.")
    ] = None,
    dry_run: Annotated[bool, Parameter(negative="", show_default=False, help="Only say what would run.")] = False,
    common: Common = DEFAULTS,
) -> None:
    """Run the past occurrences of a range, after whatever is due now."""
    body: Json = {"from": times.instant(from_), "to": times.instant(to), "dry_run": dry_run}
    if overlap_policy is not None:
        body["overlap_policy"] = overlap_policy
    tell(connect(common).post("schedules", id_, "backfill", body=body), _told, as_json=common.json)


def _told(answer: Json) -> None:
    if not answer["count"]:
        print_line("no occurrence falls into the range")
        return
    runs = "1 run" if answer["count"] == 1 else f"{answer['count']} runs"
    verb = "would make" if answer["backfill_id"] is None else f"backfill {answer['backfill_id']}:"
    print_line(f"{verb} {runs}, from {answer['first']} to {answer['last']}")
    if answer["backfill_id"] is None:
        _list_times(answer)
    if answer["recorded"]:
        print_line(f"{answer['recorded']} of them ran at their time already", "yellow")


def _list_times(answer: Json) -> None:
    shown = answer["nominal_times"][:MOST_SHOWN]
    for nominal in shown:
        print_text(f"  {nominal}")
    if rest := answer["count"] - len(shown):
        print_text(f"  … and {rest} more")
