"""The commands on named calendars: days such as holidays, which schedules exclude by name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from pathlib import PurePath
from typing import Annotated, Any

from cyclopts import Parameter

from backend.cli.apply import STDIN, FileRefused, read_bytes
from backend.cli.failures import Missing, Refused, WrongUsage, error_text, field_errors
from backend.cli.options import DEFAULTS, Common, connect
from backend.cli.output import Column, Row, print_line, print_table, tell

Json = dict[str, Any]
ICAL = "BEGIN:VCALENDAR"
DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
LINE = re.compile(r"(?:the event on )?line (\d+): ")
OF_FILE = re.compile(r"body|days")
LARGEST = 2**20
MOST_WRONG = 20
"""Lines without a date that are named."""

Id = Annotated[str, Parameter(name="ID", help="Id of the calendar.")]


def list_(*, common: Common = DEFAULTS) -> None:
    """List the calendars."""
    tell(connect(common).collect("calendars", query={}, limit=None), show_list, as_json=common.json)


def show(id_: Id, /, *, common: Common = DEFAULTS) -> None:
    """Show the days of a calendar."""
    tell(connect(common).get("calendars", id_), show_days, as_json=common.json)


def put(
    file: Annotated[
        str,
        Parameter(
            name="FILE",
            allow_leading_hyphen=True,
            help="An iCalendar (.ics), or a date such as 2026-12-25 on each line; - is standard input.",
        ),
    ],
    /,
    *,
    id_: Annotated[
        str | None, Parameter(name="--id", help="Id of the calendar; the file's name, unless given.")
    ] = None,
    common: Common = DEFAULTS,
) -> None:
    """Make or replace a calendar; schedules that use it are planned anew, from now on."""
    if id_ is None and file == STDIN:
        raise WrongUsage("standard input has no name; give the calendar's --id")
    name = "stdin" if file == STDIN else file
    text = _text(name, read_bytes(file))
    body = text if text.lstrip("\ufeff \r\n").upper().startswith(ICAL) else {"days": days_of(name, text)}
    try:
        answer = connect(common).put("calendars", id_ or PurePath(file).stem, body=body)
    except Missing:
        raise
    except Refused as refused:
        raise FileRefused(refused.problem, located(name, refused.problem)) from refused
    tell(answer, show_put, as_json=common.json)


def located(name: str, problem: Json) -> Iterator[str]:
    """Word each error with the file and the line that it names, if it is about what the file says."""
    for error in field_errors(problem):
        text, field = error_text(error), str(error.get("field") or "body")
        place = LINE.match(text)
        if place:
            yield f"{name}:{place[1]}: {text[place.end() :]}"
        else:
            yield f"{name}: {text}" if OF_FILE.match(field) else f"{field}: {text}"


def delete(id_: Id, /, *, common: Common = DEFAULTS) -> None:
    """Delete a calendar that no schedule uses."""
    connect(common).delete("calendars", id_)
    tell({"id": id_, "deleted": True}, lambda _: print_line(f"deleted {id_}"), as_json=common.json)


def days_of(name: str, text: str) -> list[str]:
    """Read a date from each line; what follows a # is a comment. WrongUsage names every line that has none."""
    lines = ((number, line.partition("#")[0].strip()) for number, line in enumerate(text.splitlines(), 1))
    days = [(number, day) for number, day in lines if day]
    wrong = [f"{name}:{number}: {day[:40]!r} is not a date" for number, day in days if not _is_date(day)]
    if wrong:
        rest = len(wrong) - MOST_WRONG
        more = [f"… and {rest} more"] if rest > 0 else []
        raise WrongUsage("\n".join([*wrong[:MOST_WRONG], *more, "give one such as 2026-12-25 on each line"]))
    return [day for _, day in days]


def _is_date(text: str) -> bool:
    try:
        return bool(DAY.fullmatch(text) and date.fromisoformat(text))
    except ValueError:
        return False


def _text(name: str, content: bytes) -> str:
    if len(content) > LARGEST:
        raise WrongUsage(f"{name}: the file is larger than 1 MiB; leave out what is long over")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise WrongUsage(f"{name}: not UTF-8 (byte {error.start}); save the file as UTF-8") from None


def show_list(page: Json) -> None:
    """Print a row for each calendar."""
    columns = [Column("ID", flexible=True), Column("DAYS", right=True), Column("FIRST"), Column("LAST")]
    rows = [Row((one["id"], str(len(one["days"])), *_ends(one["days"]))) for one in page["items"]]
    if rows:
        print_table(columns, rows)
    else:
        print_line("no calendars")


def _ends(days: list[str]) -> tuple[str, str]:
    return (days[0], days[-1]) if days else ("–", "–")


def show_days(calendar: Json) -> None:
    """Print each day on a line, as `put` reads it."""
    for day in calendar["days"]:
        print_line(day)


def show_put(answer: Json) -> None:
    """Say what the calendar has now, and what was planned anew."""
    first, last = _ends(answer["days"])
    number = len(answer["days"])
    print_line(f"{answer['id']}: {number} days" + (f", from {first} to {last}" if number else ""), "bold")
    if answer["replanned"]:
        print_line(f"planned anew: {', '.join(answer['replanned'])}")
