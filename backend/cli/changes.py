"""The command that shows who changed what."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from backend.cli import times
from backend.cli.mistakes import at_least_one
from backend.cli.options import DEFAULTS, Common, connect
from backend.cli.output import Column, Row, print_line, print_table, tell

Json = dict[str, Any]
COLUMNS = (
    Column("AT"),
    Column("BY"),
    Column("VERB"),
    Column("KIND"),
    Column("ID"),
    Column("AFTER", flexible=True),
)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Which:
    """Which changes to show."""

    kind: Annotated[str | None, Parameter(help="Such as schedule, run, key, namespace, calendar.")] = None
    by: Annotated[str | None, Parameter(help="Such as key:admin, or scheduler for the server itself.")] = None
    verb: Annotated[str | None, Parameter(help="Such as created, updated, paused, deleted.")] = None
    from_: Annotated[str | None, Parameter(name="--from", help="Since 2026-12-01T00:00:00Z.")] = None
    to: Annotated[str | None, Parameter(help="Before this instant.")] = None


ALL = Which()


def changes(
    id_: Annotated[str | None, Parameter(name="ID", help="Id of what was changed; else all.")] = None,
    /,
    *,
    which: Which = ALL,
    limit: Annotated[int, Parameter(validator=at_least_one, help="At most this many, newest first.")] = 50,
    common: Common = DEFAULTS,
) -> None:
    """Show the audit log: who changed what, when, and by which request. It takes a key with the scope admin."""
    times_ = {"from": times.instant(which.from_), "to": times.instant(which.to)}
    query = {"id": id_, "kind": which.kind, "by": which.by, "verb": which.verb, **times_}
    tell(connect(common).collect("audit", query=query, limit=limit), show_changes, as_json=common.json)


def show_changes(page: Json) -> None:
    """Print a row for each change."""
    rows = [
        Row((one["at"], one["by"], one["verb"], one["kind"], one["id"], _brief(one["after"]))) for one in page["items"]
    ]
    if rows:
        print_table(COLUMNS, rows)
    else:
        print_line("no changes")


def _brief(after: Json | None) -> str:
    return "–" if after is None else json.dumps(after, ensure_ascii=False)[:200]
