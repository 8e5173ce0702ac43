"""The commands on notifications: who is told what, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from backend.cli import times
from backend.cli.failures import WrongUsage
from backend.cli.mistakes import at_least_one
from backend.cli.options import DEFAULTS, Common, connect
from backend.cli.output import Column, Row, print_line, print_table, tell
from backend.cli.run_rows import print_runs
from backend.cli.tags import tag_filter

Json = dict[str, Any]
Event = Literal["failure", "recovery", "missed", "late", "overlap", "auto_pause", "error"]
COLUMNS = (Column("ID"), Column("EVENTS", flexible=True), Column("ABOUT"), Column("TO", flexible=True))

Id = Annotated[str, Parameter(name="ID", help="Id of the route.")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is told, to whom, how often."""

    event: Annotated[
        tuple[Event, ...],
        Parameter(negative="", help="failure, recovery, missed, late, overlap, auto_pause, error. May be repeated."),
    ]
    http: Annotated[str | None, Parameter(help="URL that is sent a CloudEvent.")] = None
    email: Annotated[tuple[str, ...], Parameter(negative="", help="Address that gets e-mail. May be repeated.")] = ()
    tag: Annotated[str | None, Parameter(help="Only of schedules with this tag, NAME=VALUE.")] = None
    owner: Annotated[str | None, Parameter(help="Only of schedules with this owner.")] = None
    after_failures: Annotated[int, Parameter(help="Failed runs in a row before failure is told.")] = 1
    late_by: Annotated[str, Parameter(help="How late a run must begin to be told of.")] = "5m"
    every: Annotated[str, Parameter(help="Of one schedule the same event is told once in so long.")] = "1h"


def add(id_: Id, /, *, wanted: Wanted, common: Common = DEFAULTS) -> None:
    """Add a route: tell a URL, or by e-mail, what happens to schedules."""
    body: Json = {
        "id": id_,
        "events": list(dict.fromkeys(wanted.event)),
        "tag": tag_filter(wanted.tag),
        "owner": wanted.owner,
        "after_failures": wanted.after_failures,
        "late_by": wanted.late_by,
        "every": wanted.every,
        "target": _target(wanted),
    }
    tell(connect(common).post("notifications", body=body), lambda _: print_line(f"added {id_}"), as_json=common.json)


def _target(wanted: Wanted) -> Json:
    if bool(wanted.http) == bool(wanted.email):
        raise WrongUsage("a route has one target; give either --http or --email")
    return {"kind": "http", "url": wanted.http} if wanted.http else {"kind": "email", "to": list(wanted.email)}


def list_(*, common: Common = DEFAULTS) -> None:
    """List the routes."""
    tell(connect(common).collect("notifications", query={}, limit=None), show_list, as_json=common.json)


def send_test(id_: Id, /, *, common: Common = DEFAULTS) -> None:
    """Send a notification that tells nothing but that it came."""
    answer = connect(common).post("notifications", id_, "test", body={})
    tell(
        answer,
        lambda run: print_line(f"queued {run['id']}; see: scheduler notifications runs {id_}"),
        as_json=common.json,
    )


def runs(
    id_: Id,
    /,
    *,
    limit: Annotated[int, Parameter(validator=at_least_one, help="At most this many, newest first.")] = 50,
    common: Common = DEFAULTS,
) -> None:
    """List what was sent through a route, newest first."""
    found = connect(common).collect("notifications", id_, "runs", query={}, limit=limit)
    tell(found, show_runs, as_json=common.json)


def delete(id_: Id, /, *, common: Common = DEFAULTS) -> None:
    """Delete a route; what it has not sent yet is not sent."""
    connect(common).delete("notifications", id_)
    tell({"id": id_, "deleted": True}, lambda _: print_line(f"deleted {id_}"), as_json=common.json)


def show_list(page: Json) -> None:
    """Print a row for each route."""
    rows = [Row((one["id"], ",".join(one["events"]), _about(one), _to(one["target"]))) for one in page["items"]]
    if rows:
        print_table(COLUMNS, rows)
    else:
        print_line("no notification routes")


def _about(route: Json) -> str:
    words = [route["tag"] or "", f"owner {route['owner']}" if route["owner"] else ""]
    return ", ".join(filter(None, words)) or "all schedules"


def _to(target: Json) -> str:
    return ", ".join(target["to"]) if target["kind"] == "email" else str(target["url"])


def show_runs(found: Json) -> None:
    """Print a row for each notification."""
    if found["items"]:
        print_runs(found["items"], times.utc_now())
    else:
        print_line("nothing was sent")
