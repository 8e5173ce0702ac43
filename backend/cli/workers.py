"""The command that shows who is at work."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

from cyclopts import Parameter

from backend.cli import times
from backend.cli.options import DEFAULTS, Common, connect
from backend.cli.output import Column, Row, counted, print_line, print_table, tell

Json = dict[str, Any]
SILENT = "silent"
COLUMNS = (
    Column("WORKER", flexible=True),
    Column("STATE"),
    Column("RUNS", right=True),
    Column("VERSION"),
    Column("STARTED"),
    Column("SEEN"),
)


def workers(
    *,
    all_: Annotated[
        bool,
        Parameter(
            name="--all", negative="", help="Also those that fell silent within the last hour.", show_default=False
        ),
    ] = False,
    common: Common = DEFAULTS,
) -> None:
    """List the workers, and how many of the runs that they may take on they hold."""
    page = connect(common).collect("workers", query={}, limit=None)
    shown = [one for one in page["items"] if all_ or one["state"] != SILENT]
    hidden = len(page["items"]) - len(shown)
    tell({**page, "items": shown}, partial(show_workers, hidden=hidden), as_json=common.json)


def show_workers(page: Json, hidden: int) -> None:
    """Print a row for each worker, and how many are not shown."""
    if page["items"]:
        print_table(COLUMNS, _rows(page["items"]))
    else:
        print_line("no workers")
    if hidden:
        print_line(f"{counted(hidden, 'worker')} fell silent within the last hour; --all shows them")


def _rows(items: Sequence[Json]) -> list[Row]:
    now = times.utc_now()
    return [
        Row(
            (
                one["name"],
                one["state"],
                f"{one['runs']}/{one['concurrency']}",
                one["version"],
                times.relative(one["started_at"], now),
                times.relative(one["seen_at"], now),
            )
        )
        for one in items
    ]
