"""The command that shows who is at work."""

from __future__ import annotations

from typing import Any

from backend.cli import times
from backend.cli.options import DEFAULTS, Common, connect
from backend.cli.output import Column, Row, print_line, print_table, tell

Json = dict[str, Any]
COLUMNS = (
    Column("WORKER", flexible=True),
    Column("STATE"),
    Column("RUNS", right=True),
    Column("VERSION"),
    Column("STARTED"),
    Column("SEEN"),
)


def workers(*, common: Common = DEFAULTS) -> None:
    """List the workers, and how many of the runs that they may take on they hold."""
    tell(connect(common).collect("workers", query={}, limit=None), show_workers, as_json=common.json)


def show_workers(page: Json) -> None:
    """Print a row for each worker."""
    now = times.utc_now()
    rows = [
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
        for one in page["items"]
    ]
    if rows:
        print_table(COLUMNS, rows)
    else:
        print_line("no workers")
