"""Commands on schedules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from backend.cli import times
from backend.cli.draft import Details, Http, When, definition, json_object, target
from backend.cli.options import DEFAULTS, Common, connect
from backend.cli.output import print_fields, print_json, print_line, tell
from backend.cli.run_rows import print_runs
from backend.cli.runs import announce
from backend.cli.schedule_rows import describe, next_text, occurrences, print_occurrences, print_schedules

Json = dict[str, Any]
Id = Annotated[str, Parameter(name="ID", help="The schedule's id.")]
Count = Annotated[int, Parameter(name=["--count", "-n"], help="How many.")]
NO_TIMES, NO_HTTP, NO_DETAILS = When(), Http(), Details()


def add(
    id_: Id,
    /,
    *command: Annotated[str, Parameter(help="Behind --: the command to run, with its arguments.")],
    when: When = NO_TIMES,
    http: Http = NO_HTTP,
    details: Details = NO_DETAILS,
    common: Common = DEFAULTS,
) -> None:
    """Create a schedule."""
    document = definition(id_, when, target(http, command), details)
    tell(connect(common).post("schedules", body=document), _created, as_json=common.json)


def _created(schedule: Json) -> None:
    print_line(f"created {schedule['id']}; {next_text(schedule, times.utc_now())}")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which schedules."""

    state: Annotated[str | None, Parameter(help="active, paused, completed or error.")] = None
    tag: Annotated[str | None, Parameter(help="KEY=VALUE.")] = None
    target: Annotated[str | None, Parameter(help="Kind of target: http or command.")] = None
    owner: Annotated[str | None, Parameter(help="Whose.")] = None
    name: Annotated[str | None, Parameter(help="Exact name.")] = None
    due_before: Annotated[str | None, Parameter(help="Next time before this instant: 2026-12-01T09:00:00Z.")] = None
    search: Annotated[str | None, Parameter(name=["--search", "-q"], help="Part of the id or name.")] = None

    def query(self) -> dict[str, str | None]:
        """Write the filters as the server reads them."""
        return {
            "state": self.state,
            "tag": _colon(self.tag),
            "target": self.target,
            "owner": self.owner,
            "name": self.name,
            "due_before": self.due_before,
            "q": self.search,
        }


ALL = Filters()


def _colon(tag: str | None) -> str | None:
    """Write KEY=VALUE, as everywhere on the command line, the server's way; KEY:VALUE is that already."""
    return tag.replace("=", ":", 1) if tag and ":" not in tag else tag


def list_(
    *,
    filters: Filters = ALL,
    limit: Annotated[int | None, Parameter(help="At most this many; otherwise all.")] = None,
    common: Common = DEFAULTS,
) -> None:
    """List schedules."""
    tell(connect(common).collect("schedules", query=filters.query(), limit=limit), _listed, as_json=common.json)


def _listed(found: Json) -> None:
    if not found["items"]:
        print_line("no schedules")
        return
    print_schedules(found["items"], times.utc_now())
    if found["next_cursor"]:
        print_line(f"the first {len(found['items'])}; there are more", "dim")


def show(id_: Id, /, *, common: Common = DEFAULTS) -> None:
    """Show a schedule: definition, state, next times, last runs."""
    client = connect(common)
    schedule = client.get("schedules", id_)
    if common.json:
        print_json(schedule)
        return
    now = times.utc_now()
    upcoming = occurrences(client.get("schedules", id_, "upcoming", query={"count": 5}))
    runs = client.get("schedules", id_, "runs", query={"limit": 5})["items"]
    print_line(schedule["id"], "bold")
    print_fields(describe(schedule, now))
    print_line("")
    print_line("Next times" if upcoming else "No next times", "bold")
    if upcoming:
        print_occurrences(upcoming, now)
    print_line("")
    print_line("Last runs" if runs else "No runs yet", "bold")
    if runs:
        print_runs(runs, now)


def upcoming(id_: Id, /, *, count: Count = 10, common: Common = DEFAULTS) -> None:
    """Show a schedule's next times."""
    tell(connect(common).get("schedules", id_, "upcoming", query={"count": count}), _next_times, as_json=common.json)


def _next_times(answer: Json) -> None:
    if found := occurrences(answer):
        print_occurrences(found, times.utc_now())
    else:
        print_line("no next times")


def pause(
    id_: Id,
    /,
    *,
    note: Annotated[str, Parameter(help="Why; kept with the schedule.")] = "",
    common: Common = DEFAULTS,
) -> None:
    """Pause a schedule. What would have fired meanwhile is recorded as skipped."""
    tell(
        connect(common).post("schedules", id_, "pause", body={"note": note} if note else {}),
        _changed,
        as_json=common.json,
    )


def resume(
    id_: Id,
    /,
    *,
    catch_up: Annotated[
        bool, Parameter(negative="", show_default=False, help="Let the misfire policy decide about the paused time.")
    ] = False,
    common: Common = DEFAULTS,
) -> None:
    """Resume a paused schedule."""
    body = {"catch_up": True} if catch_up else {}
    tell(connect(common).post("schedules", id_, "resume", body=body), _changed, as_json=common.json)


def _changed(schedule: Json) -> None:
    following = f"; {next_text(schedule, times.utc_now())}" if schedule["state"] == "active" else ""
    note = f" ({schedule['note']})" if schedule.get("note") else ""
    print_line(f"{schedule['id']} is {schedule['state']}{note}{following}")


def trigger(
    id_: Id,
    /,
    *,
    input_: Annotated[str | None, Parameter(name="--input", help="JSON object merged over the schedule's.")] = None,
    common: Common = DEFAULTS,
) -> None:
    """Run a schedule's target now."""
    body = {} if input_ is None else {"input": json_object("--input", input_)}
    tell(connect(common).post("schedules", id_, "trigger", body=body), announce, as_json=common.json)


def delete(id_: Id, /, *, common: Common = DEFAULTS) -> None:
    """Delete a schedule."""
    connect(common).delete("schedules", id_)
    tell({"id": id_, "deleted": True}, lambda it: print_line(f"deleted {it['id']}"), as_json=common.json)
