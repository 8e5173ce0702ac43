"""The command that takes over a crontab: each job becomes a schedule, all or nothing."""

from __future__ import annotations

import os.path
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from backend.cli import times
from backend.cli.apply import CHANGES, STDIN, read_bytes
from backend.cli.client import LONG_PATIENCE, Client
from backend.cli.failures import Failure, Missing, Refused, WrongUsage, error_text, field_errors, headline
from backend.cli.options import DEFAULTS, Common, connect
from backend.cli.output import Column, Row, print_line, print_table, tell
from backend.cli.schedule_rows import occurrences, trigger_text
from backend.cli.yaml_file import LARGEST

if TYPE_CHECKING:
    from backend.service.crontab import Crontab, Job

Json = dict[str, Any]
PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@~-]{0,99}")
FIELD = re.compile(r"schedules\[(\d+)\]\.?(.*)")
ZONE_LINK, ZONE_FILE = Path("/etc/localtime"), Path("/etc/timezone")


class CrontabRefused(Refused):
    """The server refused a crontab; every error is worded with its line."""

    def __init__(self, problem: Json, name: str, jobs: Sequence[Job]) -> None:
        super().__init__(problem)
        self.args = ("\n".join((headline(problem), *located(problem, name, jobs))),)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the file does not say itself."""

    system: Annotated[
        bool,
        Parameter(negative="", show_default=False, help="A user stands before each command, as in /etc/crontab."),
    ] = False
    timezone: Annotated[str | None, Parameter(help="Zone of jobs under no CRON_TZ. Default: this machine's.")] = None
    prefix: Annotated[str, Parameter(show_default=False, help="What each id begins with, such as web1-.")] = ""


PLAIN = Reading()


def import_crontab(
    file: Annotated[
        str,
        Parameter(name="FILE", allow_leading_hyphen=True, help="A crontab; - is standard input, as in crontab -l |"),
    ],
    /,
    *,
    reading: Reading = PLAIN,
    prune: Annotated[
        bool, Parameter(negative="", show_default=False, help="Delete what this file made earlier and no longer has.")
    ] = False,
    dry_run: Annotated[
        bool, Parameter(negative="", show_default=False, help="Say what would change, and when it would fire next.")
    ] = False,
    source: Annotated[
        str | None, Parameter(help="What the file is known by later; its path as given, unless this is.")
    ] = None,
    common: Common = DEFAULTS,
) -> None:
    """Make a schedule of each job of a crontab, all or nothing. The same file twice changes nothing."""
    name = "stdin" if file == STDIN else os.path.normpath(file)
    zone = reading.timezone or machine_zone()
    crontab = read(name, read_bytes(file), reading, zone)
    client = connect(common)
    batch = {"schedules": [job.document for job in crontab.jobs], "source": source or name, "prune": prune}
    try:
        answer = put(client, batch, dry_run=dry_run)
    except Missing:
        raise
    except Refused as refused:
        raise CrontabRefused(refused.problem, name, crontab.jobs) from refused
    notes = [*zone_note(crontab, zone, given=reading.timezone is not None), *crontab.warnings]
    upcoming = next_times(client, crontab.jobs) if dry_run else None
    tell(described(answer, crontab.jobs, upcoming) | {"notes": notes}, show_import, as_json=common.json)


def zone_note(crontab: Crontab, zone: str | None, *, given: bool) -> Iterator[str]:
    """Say in which zone times are read where the file itself does not."""
    if crontab.without_zone:
        whose = "as --timezone says" if given else "this machine's; --timezone names another"
        yield f"{crontab.without_zone} of {len(crontab.jobs)} jobs are read in the zone {zone} ({whose})"


def read(name: str, content: bytes, reading: Reading, zone: str | None) -> Crontab:
    """Read the file; WrongUsage that names every bad line."""
    from backend.service.crontab import Options, read_crontab  # noqa: PLC0415 - pydantic is slow to import

    if len(content) > LARGEST:
        raise WrongUsage(f"{name}: the file is larger than 32 MiB; split it")
    if reading.prefix and not PREFIX.fullmatch(reading.prefix):
        raise WrongUsage("--prefix begins with a letter or digit, and goes on with those and . _ : @ ~ - only")
    crontab = read_crontab(content, Options(zone, system=reading.system, prefix=reading.prefix))
    if crontab.problems:
        lines = (f"{name}:{line}: {field}: {rule}; {fix}" for line, field, rule, fix in crontab.problems)
        raise WrongUsage("\n".join((*lines, "nothing was imported")))
    return crontab


def machine_zone(link: Path = ZONE_LINK, file: Path = ZONE_FILE) -> str | None:
    """Find out in which zone this machine's cron reads its crontabs; None if it does not say."""
    before, marker, name = os.path.realpath(link).partition("/zoneinfo/")
    if before and marker:
        return name
    try:
        return file.read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def put(client: Client, batch: Json, *, dry_run: bool) -> Json:
    """Rehearse, and then do it, unless it would change what something else made: ids are made up here."""
    answer = client.post("schedules", "batch", body=batch | {"dry_run": True}, patience=LONG_PATIENCE)
    changed = [item["id"] for item in answer["items"] if item["change"] == "updated"]
    others = [id_ for id_ in changed if client.get("schedules", id_).get("source") != batch["source"]]
    if others:
        raise Failure(
            f"there are schedules with these ids that {batch['source']} did not make: {', '.join(others)}\n"
            "choose other ids by --prefix; or if they come from this file, give the --source that they were made with"
        )
    if dry_run:
        return answer
    return client.post("schedules", "batch", body=batch | {"dry_run": False}, patience=LONG_PATIENCE)


def located(problem: Json, name: str, jobs: Sequence[Job]) -> Iterator[str]:
    """Word each error with the line that it concerns."""
    for error in field_errors(problem):
        place = FIELD.fullmatch(str(error.get("field")))
        where = f"{jobs[int(place[1])].line}: {place[2]}" if place and int(place[1]) < len(jobs) else error.get("field")
        yield f"{name}:{where}: {error_text(error)}"


def next_times(client: Client, jobs: Sequence[Job]) -> Json:
    """Ask when each schedule would fire next."""
    found: Json = {}
    for job in jobs:
        id_ = job.document["id"]
        answer = client.post("preview", body={"triggers": job.document["triggers"], "id": id_, "count": 1})
        found[id_] = next((item["nominal_time"] for item in occurrences(answer)), None)
    return found


def described(answer: Json, jobs: Sequence[Job], upcoming: Json | None) -> Json:
    """Add to the server's answer what the file says of each schedule, and in a dry run the next times."""
    by_id = {job.document["id"]: job for job in jobs}
    items = [item | _told(by_id[item["id"]]) if item["id"] in by_id else item for item in answer["items"]]
    if upcoming is not None:
        items = [item | {"next_nominal_time": upcoming.get(item["id"])} for item in items]
    return answer | {"items": items, "dry_run": upcoming is not None}


def _told(job: Job) -> Json:
    return {"line": job.line, "when": trigger_text(job.document["triggers"][0])}


def show_import(answer: Json) -> None:
    """Print what changed, when that fires next, and what a person ought to know."""
    dry, now = answer["dry_run"], times.utc_now()
    columns = [Column("LINE", right=True), Column("CHANGE"), Column("ID", flexible=True), Column("WHEN", flexible=True)]
    rows = [
        Row((str(item.get("line", "")), item["change"], item["id"], item.get("when", ""), *_next(item, now, dry=dry)))
        for item in answer["items"]
        if item["change"] != "unchanged"
    ]
    if rows:
        print_table([*columns, Column("NEXT"), Column("")] if dry else columns, rows)
    counts = Counter(item["change"] for item in answer["items"])
    summary = ", ".join(f"{counts[change]} {change}" for change in CHANGES if counts[change]) or "no jobs"
    print_line(summary + (" (dry run: nothing was written)" if dry else ""), "bold")
    for note in answer["notes"]:
        print_line(f"note: {note}", "yellow")


def _next(item: Json, now: datetime, *, dry: bool) -> tuple[str, ...]:
    upcoming = item.get("next_nominal_time")
    return (times.local(upcoming), times.relative(upcoming, now)) if dry else ()
