"""Commands on schedules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from backend.cli import times
from backend.cli.client import Client
from backend.cli.draft import Details, Http, When, definition, json_object, target
from backend.cli.failures import Refused, WrongUsage
from backend.cli.mistakes import at_least_one
from backend.cli.options import DEFAULTS, Common, connect
from backend.cli.output import print_fields, print_json, print_line, print_warnings, tell
from backend.cli.run_rows import DROPPED, print_runs
from backend.cli.runs import announce
from backend.cli.schedule_rows import describe, next_text, occurrences, print_occurrences, print_schedules, silence
from backend.cli.tags import tag_filter

Json = dict[str, Any]
Id = Annotated[str, Parameter(name="ID", help="The schedule's id.")]
Count = Annotated[int, Parameter(name=["--count", "-n"], validator=at_least_one, help="How many.")]
State = Literal["active", "paused", "completed", "error"]
SHOWN, SKIPS = 5, 2
RAN = ("buffered", "running", "retrying", "queued", "held", "succeeded", "failed", "timed_out", "dead", "cancelled")
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
    try:
        created = connect(common).post("schedules", body=document)
    except Refused as refused:
        if refused.status == 409:
            raise Exists(refused.problem, id_) from refused
        raise
    tell(created, _created, as_json=common.json)
    if not common.json:
        print_warnings(created.get("warnings") or ())


class Exists(Refused):
    """There is a schedule of that id."""

    def __init__(self, problem: Json, id_: str) -> None:
        super().__init__(problem)
        self.args = (f"refused: there is a schedule {id_!r} already; `scheduler apply -f FILE` replaces it",)


def _created(schedule: Json) -> None:
    print_line(f"created {schedule['id']}; {next_text(schedule, times.utc_now())}")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which schedules."""

    state: Annotated[State | None, Parameter(help="Where they stand.")] = None
    tag: Annotated[str | None, Parameter(help="NAME=VALUE.")] = None
    target: Annotated[str | None, Parameter(help="Kind of target: http, command or python.")] = None
    owner: Annotated[str | None, Parameter(help="Whose.")] = None
    name: Annotated[str | None, Parameter(help="Exact name.")] = None
    due_before: Annotated[str | None, Parameter(help="Next time before this instant: 2026-12-01T09:00:00Z.")] = None
    search: Annotated[str | None, Parameter(name=["--search", "-q"], help="Part of the id or name.")] = None

    def query(self) -> dict[str, str | None]:
        """Write the filters as the server reads them."""
        return {
            "state": self.state,
            "tag": tag_filter(self.tag),
            "target": self.target,
            "owner": self.owner,
            "name": self.name,
            "due_before": times.instant(self.due_before),
            "q": self.search,
        }


ALL = Filters()


def list_(
    *,
    filters: Filters = ALL,
    limit: Annotated[int | None, Parameter(validator=at_least_one, help="At most this many; otherwise all.")] = None,
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
    runs = last_runs(client, id_)
    print_line(schedule["id"], "bold")
    print_fields(describe(schedule, now))
    print_line("")
    print_line("Next times" if upcoming else "No next times", "bold")
    if silent := silence(schedule):
        print_line(silent, "yellow")
    if upcoming:
        print_occurrences(upcoming, now)
    print_line("")
    print_line("Last runs" if runs else "No runs yet", "bold")
    if runs:
        print_runs(runs, now)


def last_runs(client: Client, id_: str) -> list[Json]:
    """Read the newest rows, and as many that ran: a long pause must not hide what came before it."""
    newest: list[Json] = client.get("schedules", id_, "runs", query={"limit": SHOWN})["items"]
    ran = [run for run in newest if run["state"] not in DROPPED]
    if len(newest) == SHOWN and len(ran) < SHOWN:
        older = (client.get("schedules", id_, "runs", query={"limit": SHOWN, "state": state})["items"] for state in RAN)
        ran = [run for runs in older for run in runs]
    kept = {run["id"]: run for run in [*newest[: SHOWN if not ran else SKIPS], *_newest(ran)[:SHOWN]]}
    return _newest(list(kept.values()))


def _newest(runs: list[Json]) -> list[Json]:
    return sorted(runs, key=lambda run: (times.moment(run["nominal_time"]), run["id"]), reverse=True)


def upcoming(id_: Id, /, *, count: Count = 10, common: Common = DEFAULTS) -> None:
    """Show a schedule's next times."""
    client = connect(common)
    answer = client.get("schedules", id_, "upcoming", query={"count": count})
    if common.json:
        print_json(answer)
        return
    if silent := silence(client.get("schedules", id_)):
        print_line(silent, "yellow")
    _next_times(answer)


def _next_times(answer: Json) -> None:
    if found := occurrences(answer):
        print_occurrences(found, times.utc_now())
    else:
        print_line("no next times")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which schedules, in place of an id."""

    tag: Annotated[str | None, Parameter(help="All with this tag: NAME=VALUE.")] = None
    owner: Annotated[str | None, Parameter(help="All of this owner.")] = None
    target: Annotated[str | None, Parameter(help="All with this kind of target.")] = None
    name: Annotated[str | None, Parameter(help="All of exactly this name.")] = None
    search: Annotated[str | None, Parameter(name=["--search", "-q"], help="All with this in id or name.")] = None
    every: Annotated[bool, Parameter(name="--all", negative="", help="All there are.")] = False
    dry_run: Annotated[bool, Parameter(negative="", help="Say which, and change nothing.")] = False

    def body(self) -> Json:
        """Write what is selected as the server reads it; empty when nothing is."""
        chosen = {
            "tag": tag_filter(self.tag),
            "owner": self.owner,
            "target": self.target,
            "name": self.name,
            "q": self.search,
        }
        wanted = {name: value for name, value in chosen.items() if value is not None}
        if not wanted and not self.every:
            return {}
        return {"filter": wanted, "all": self.every, "dry_run": self.dry_run}


NONE = Selection()


def pause(
    id_: Annotated[str | None, Parameter(name="ID", help="The schedule's id; or say which by options.")] = None,
    /,
    *,
    note: Annotated[str, Parameter(help="Why; kept with the schedule.")] = "",
    which: Selection = NONE,
    common: Common = DEFAULTS,
) -> None:
    """Pause a schedule, or many. What would have fired meanwhile is recorded as skipped."""
    _turn("pause", id_, which, {"note": note} if note else {}, common)


def resume(
    id_: Annotated[str | None, Parameter(name="ID", help="The schedule's id; or say which by options.")] = None,
    /,
    *,
    catch_up: Annotated[
        bool, Parameter(negative="", show_default=False, help="Let the misfire policy decide about the paused time.")
    ] = False,
    note: Annotated[str | None, Parameter(help="Of many, only those paused with this note.")] = None,
    which: Selection = NONE,
    common: Common = DEFAULTS,
) -> None:
    """Resume a paused schedule, or many that people have paused."""
    body: Json = {"catch_up": True} if catch_up else {}
    if note is not None and id_ is not None:
        raise WrongUsage("--note chooses among many schedules; leave it out with an id")
    _turn("resume", id_, which, body if note is None else body | {"note": note}, common)


def _turn(verb: str, id_: str | None, which: Selection, body: Json, common: Common) -> None:
    chosen = which.body()
    if (id_ is None) == (not chosen):
        raise WrongUsage(f"give either an id or which schedules to {verb}, such as --tag team=growth")
    client = connect(common)
    if id_ is not None:
        tell(client.post("schedules", id_, verb, body=body), _changed, as_json=common.json)
        return
    cursor: str | None = ""
    while cursor is not None:
        place = {"cursor": cursor} if cursor else {}
        answer = client.post("schedules", verb, body=body | chosen | place)
        tell(answer, lambda many: _changed_many(verb, many, dry_run=which.dry_run), as_json=common.json)
        cursor = answer["next_cursor"]


def _changed_many(verb: str, many: Json, *, dry_run: bool) -> None:
    done = {"pause": "paused", "resume": "resumed"}[verb]
    would = "would be " if dry_run else ""
    print_line(f"{many['changed']} of {many['matched']} that fit {would}{done}; {many['refused']} refused")
    for item in many["items"]:
        print_line(f"{item['id']} {item['change']}" + (f": {item['detail']}" if item["detail"] else ""))


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
