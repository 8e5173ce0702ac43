"""Commands on runs."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from backend.cli import times
from backend.cli.failures import WrongUsage
from backend.cli.mistakes import at_least_one
from backend.cli.options import DEFAULTS, Common, connect
from backend.cli.output import print_fields, print_line, print_text, tell
from backend.cli.run_rows import Wanted, describe_attempt, describe_run, print_runs
from backend.cli.watch import Watch, follow

Json = dict[str, Any]
RunId = Annotated[str, Parameter(name="ID", help="The run's id.")]
ALL = Wanted()


def runs(
    *,
    wanted: Wanted = ALL,
    limit: Annotated[int, Parameter(validator=at_least_one, help="At most this many, newest first.")] = 50,
    watch: Annotated[
        bool, Parameter(negative="", show_default=False, help="Print each run when it ends, until Ctrl-C.")
    ] = False,
    verbose: Annotated[
        bool,
        Parameter(
            name=["--verbose", "-v"], negative="", show_default=False, help="With --watch: every change of state too."
        ),
    ] = False,
    common: Common = DEFAULTS,
) -> None:
    """List runs, or watch them happen."""
    if watch and wanted.to:
        raise WrongUsage("--watch has no end; leave --to out")
    client = connect(common)
    if watch:
        follow(Watch(client, wanted, every_change=verbose), as_json=common.json)
        return
    query = {"state": wanted.state, "from": times.instant(wanted.from_), "to": times.instant(wanted.to)}
    tell(client.collect(*wanted.path, query=query, limit=limit), _list_runs, as_json=common.json)


def _list_runs(found: Json) -> None:
    if not found["items"]:
        print_line("no runs")
        return
    print_runs(found["items"], times.utc_now())
    if found["next_cursor"]:
        print_line(f"the newest {len(found['items'])}; there are more", "dim")


def show_run(id_: RunId, /, *, common: Common = DEFAULTS) -> None:
    """Show a run with its attempts and output."""
    tell(connect(common).get("runs", id_), _show_run, as_json=common.json)


def _show_run(run: Json) -> None:
    print_line(f"run {run['id']}", "bold")
    print_fields(describe_run(run, times.utc_now()))
    for attempt in run.get("attempts") or ():
        print_line("")
        print_line(f"Attempt {attempt['number']}", "bold")
        print_fields(describe_attempt(attempt))
    if run.get("output"):
        print_line("")
        print_line("Output" + (" (cut)" if run.get("output_truncated") else ""), "bold")
        print_text(run["output"].rstrip("\n"))


def cancel(id_: RunId, /, *, common: Common = DEFAULTS) -> None:
    """Cancel a run that has not ended."""
    run = connect(common).post("runs", id_, "cancel")
    tell(run, lambda it: print_line(f"run {it['id']} is {it['state']}"), as_json=common.json)


def retry(id_: RunId, /, *, common: Common = DEFAULTS) -> None:
    """Run again what has ended: a new run with the same nominal time."""
    tell(connect(common).post("runs", id_, "retry"), announce, as_json=common.json)


def announce(run: Json) -> None:
    """Say that a run has begun, and how to follow it."""
    print_line(f"run {run['id']} is {run['state']}; see `scheduler run show {run['id']}`")
