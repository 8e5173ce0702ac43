"""The command that shows when a rule would fire, before anything is created."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from cyclopts import Parameter

from backend.cli import times
from backend.cli.draft import When, triggers
from backend.cli.options import DEFAULTS, Common, connect
from backend.cli.output import print_line, tell
from backend.cli.schedule_rows import occurrences, print_occurrences
from backend.cli.schedules import NO_TIMES, Count


def preview(
    expression: Annotated[
        str | None, Parameter(name="EXPR", help='Cron expression, quoted: "0 9 * * mon-fri".')
    ] = None,
    /,
    *,
    when: When = NO_TIMES,
    count: Count = 5,
    from_: Annotated[
        str | None, Parameter(name="--from", help="Times after 2026-12-01T09:00:00Z, not after now.")
    ] = None,
    common: Common = DEFAULTS,
) -> None:
    """Show when a rule would fire. Nothing is created."""
    rules = triggers(replace(when, cron=(expression, *when.cron)) if expression is not None else when)
    body: dict[str, Any] = {"triggers": rules, "count": count}
    answer = connect(common).post("preview", body=body | ({"from": from_} if from_ else {}))
    tell(answer, show_preview, as_json=common.json)


def show_preview(answer: dict[str, Any]) -> None:
    """Print the description, the next times and the warnings."""
    if answer.get("description"):
        print_line(answer["description"], "bold")
    found = occurrences(answer)
    if found:
        print_occurrences(found, times.utc_now())
    else:
        print_line("no next times")
    for warning in answer.get("warnings") or ():
        text = warning if isinstance(warning, str) else warning.get("message") or warning.get("detail") or warning
        print_line(f"warning: {text}", "yellow")
