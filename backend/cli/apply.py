"""The command that makes the server's schedules what a file says."""

from __future__ import annotations

import os.path
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from backend.cli.client import LONG_PATIENCE
from backend.cli.failures import Missing, Refused, WrongUsage, error_text, field_errors, headline
from backend.cli.options import DEFAULTS, Common, connect
from backend.cli.output import Column, Row, print_line, print_table, print_warnings, tell
from backend.cli.yaml_file import LARGEST, ScheduleFile, read_schedules

STDIN = "-"
CHANGES = ("created", "updated", "moved", "unchanged", "deleted")


class FileRefused(Refused):
    """The server refused a file; every error is worded with its line."""

    def __init__(self, problem: dict[str, Any], lines: Iterator[str]) -> None:
        super().__init__(problem)
        self.args = ("\n".join((headline(problem), *lines)),)


def apply(
    *,
    file: Annotated[
        str,
        Parameter(
            name=["--file", "-f"], allow_leading_hyphen=True, help="YAML with `schedules:`; - is standard input."
        ),
    ],
    prune: Annotated[
        bool,
        Parameter(negative="", show_default=False, help="Delete what this file made earlier and no longer has."),
    ] = False,
    dry_run: Annotated[
        bool, Parameter(negative="", show_default=False, help="Say what would change, and change nothing.")
    ] = False,
    source: Annotated[
        str | None, Parameter(help="What --prune knows the file by; this machine and its path, unless given.")
    ] = None,
    common: Common = DEFAULTS,
) -> None:
    """Make schedules what a file says, all or nothing. The same file twice changes nothing."""
    name = "stdin" if file == STDIN else os.path.normpath(file)
    if prune and file == STDIN and not source:
        raise WrongUsage("--prune of standard input needs --source, a name for where it comes from")
    # Two files of the same name, in other folders or on other machines, must not prune each other's schedules.
    origin = source or ("stdin" if file == STDIN else f"{socket.gethostname()}:{os.path.realpath(file)}"[-200:])
    described = read_schedules(name, read_bytes(file))
    body = {"schedules": described.schedules, "source": origin, "prune": prune, "dry_run": dry_run}
    client = connect(common)
    try:
        answer = client.post("schedules", "batch", body=body, patience=LONG_PATIENCE)
    except Missing:
        raise
    except Refused as refused:
        raise FileRefused(refused.problem, located(described, refused.problem)) from refused
    tell(answer, partial(show_changes, dry_run=dry_run), as_json=common.json)
    if not common.json:
        print_warnings(surprises(described, answer))


def read_bytes(file: str) -> bytes:
    """Read a file or standard input, a little beyond what is accepted."""
    try:
        if file == STDIN:
            return sys.stdin.buffer.read(LARGEST + 1)
        with Path(file).open("rb") as stream:
            return stream.read(LARGEST + 1)
    except OSError as error:
        raise WrongUsage(f"{file}: it cannot be read ({error.strerror})") from error


def located(described: ScheduleFile, problem: dict[str, Any]) -> Iterator[str]:
    """Word each error with the line that it concerns."""
    for error in field_errors(problem):
        field = str(error.get("field") or "")
        yield f"{described.name}:{described.line_of(field)}: {field}: {error_text(error)}"


def surprises(described: ScheduleFile, answer: dict[str, Any]) -> Iterator[str]:
    """Word what a person may not expect of what was created or updated, with its line."""
    places = {schedule["id"]: place for place, schedule in enumerate(described.schedules)}
    for item in answer["items"]:
        for warning in item.get("warnings") or ():
            line = described.line_of(f"schedules[{places[item['id']]}].triggers")
            yield f"{described.name}:{line}: {item['id']}: {warning}"


def show_changes(answer: dict[str, Any], *, dry_run: bool) -> None:
    """Print what changed, and how many of each kind."""
    items = answer["items"]
    changes = [(item["id"], item.get("change") or ("created" if item["created"] else "updated")) for item in items]
    rows = [Row((change, id_)) for id_, change in changes if change != "unchanged"]
    if rows:
        print_table([Column("CHANGE"), Column("ID", flexible=True)], rows)
    counts = Counter(change for _, change in changes)
    summary = ", ".join(f"{counts[change]} {change}" for change in CHANGES if counts[change]) or "no schedules"
    print_line(summary + (" (dry run: nothing was written)" if dry_run else ""), "bold")
