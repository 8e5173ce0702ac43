"""The command that shows when a rule would fire, before anything is created."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

from cyclopts import Parameter

from backend.cli import times
from backend.cli.apply import STDIN, FileRefused, located, read_bytes
from backend.cli.client import Client
from backend.cli.draft import When, triggers
from backend.cli.failures import Missing, Refused, WrongUsage
from backend.cli.options import DEFAULTS, Common, connect
from backend.cli.output import print_line, tell
from backend.cli.schedule_rows import occurrences, print_occurrences
from backend.cli.schedules import NO_TIMES, Count
from backend.cli.yaml_file import ScheduleFile, read_schedules

Json = dict[str, Any]
DECIDES = ("id", "triggers", "exclusions", "start_at", "end_at", "max_runs", "jitter")
"""Fields of a definition that decide when it fires."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Drafts:
    """Where rules come from, if not from options; and whose they are to be."""

    id: Annotated[str | None, Parameter(name="--id", help="Id that the schedule is to have: H follows from it.")] = None
    file: Annotated[
        str | None,
        Parameter(
            name=["--file", "-f"], allow_leading_hyphen=True, help="Preview each draft of a file that `apply` takes."
        ),
    ] = None


NO_DRAFTS = Drafts()


def preview(
    expression: Annotated[
        str | None, Parameter(name="EXPR", help='Cron expression, quoted: "0 9 * * mon-fri".')
    ] = None,
    /,
    *,
    when: When = NO_TIMES,
    drafts: Drafts = NO_DRAFTS,
    count: Count = 5,
    from_: Annotated[
        str | None, Parameter(name="--from", help="Times after 2026-12-01T09:00:00Z, not after now.")
    ] = None,
    common: Common = DEFAULTS,
) -> None:
    """Show when a rule would fire. Nothing is created."""
    given = replace(when, cron=(expression, *when.cron)) if expression is not None else when
    asked: Json = {"count": count} | ({"from": times.instant(from_)} if from_ else {})
    if drafts.file is not None:
        if given != NO_TIMES or drafts.id is not None:
            raise WrongUsage("--file has the rules and the ids already; leave the other options out")
        _preview_file(drafts.file, asked, common)
        return
    body = {"triggers": triggers(given)} | ({"id": drafts.id} if drafts.id is not None else {}) | asked
    tell(connect(common).post("preview", body=body), show_preview, as_json=common.json)


def _preview_file(file: str, asked: Json, common: Common) -> None:
    described = read_schedules("stdin" if file == STDIN else file, read_bytes(file))
    client = connect(common)
    items = [_preview_draft(client, described, place, asked) for place in range(len(described.schedules))]
    tell({"items": items}, _show_all, as_json=common.json)


def _preview_draft(client: Client, described: ScheduleFile, place: int, asked: Json) -> Json:
    document = described.schedules[place]
    body = {name: document[name] for name in DECIDES if name in document} | asked
    try:
        return {"id": document["id"], **client.post("preview", body=body)}
    except Missing:
        raise
    except Refused as refused:
        errors = [{**error, "field": f"schedules[{place}].{error['field']}"} for error in refused.field_errors]
        problem = refused.problem | {"errors": errors}
        raise FileRefused(problem, located(described, problem)) from refused


def _show_all(answer: Json) -> None:
    for number, item in enumerate(answer["items"]):
        if number:
            print_line("")
        print_line(item["id"], "bold")
        show_preview(item)
    if not answer["items"]:
        print_line("no schedules")


def show_preview(answer: Json) -> None:
    """Print the description, the next times and the warnings."""
    if answer.get("description"):
        print_line(answer["description"], "bold")
    found = occurrences(answer)
    if found:
        print_occurrences(found, times.utc_now())
    else:
        print_line("no next times")
    for warning in answer.get("warnings") or ():
        print_line(f"warning: {warning}", "yellow")
