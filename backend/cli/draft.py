"""The options that describe a schedule, and the definition they make. The server judges it, not this module."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Group, Parameter

from backend.cli.failures import WrongUsage
from backend.cli.tags import tag_parts

TIMES = Group("When", sort_key=1)
TARGET = Group("What", sort_key=2)
DETAILS = Group("How", sort_key=3)

Json = dict[str, Any]
Value = Any  # what JSON decodes to


@Parameter(name="*", group=TIMES)
@dataclass(frozen=True, kw_only=True)
class When:
    """The triggers."""

    cron: Annotated[
        tuple[str, ...],
        Parameter(negative="", show_default=False, help='Cron expression, quoted: "0 9 * * mon-fri". May be repeated.'),
    ] = ()
    every: Annotated[
        tuple[str, ...], Parameter(negative="", show_default=False, help="Interval: 90s, 15m, 2h, 1d. May be repeated.")
    ] = ()
    anchor: Annotated[str | None, Parameter(help="Instant that intervals are counted from: 2026-12-01T09:00:00Z.")] = (
        None
    )
    at: Annotated[
        tuple[str, ...],
        Parameter(negative="", show_default=False, help="Single instant: 2026-12-01T09:00:00. May be repeated."),
    ] = ()
    rrule: Annotated[
        tuple[str, ...],
        Parameter(
            negative="", show_default=False, help='Rule of RFC 5545, quoted: "FREQ=MONTHLY;BYDAY=1MO". May be repeated.'
        ),
    ] = ()
    dtstart: Annotated[str | None, Parameter(help="Local time that --rrule counts from: 2026-01-05T09:00:00.")] = None
    timezone: Annotated[
        str | None,
        Parameter(help="IANA zone of --cron, --rrule and --at, such as Europe/London; the namespace's unless given."),
    ] = None
    dst_gap: Annotated[
        str | None, Parameter(help="What becomes of a time of --cron that the clock jumps over: shift or skip.")
    ] = None
    dst_overlap: Annotated[
        str | None, Parameter(help="When a time of --cron that comes twice fires: first, second or both.")
    ] = None


@Parameter(name="*", group=TARGET)
@dataclass(frozen=True, kw_only=True)
class Http:
    """An HTTP target. A command stands behind -- instead."""

    http: Annotated[str | None, Parameter(help="URL to call.")] = None
    method: Annotated[str | None, Parameter(help="HTTP method; POST unless given.")] = None
    header: Annotated[
        tuple[str, ...], Parameter(negative="", show_default=False, help="NAME=VALUE. May be repeated.")
    ] = ()
    body: Annotated[str | None, Parameter(help="JSON to send instead of the run's envelope.")] = None


@Parameter(name="*", group=DETAILS)
@dataclass(frozen=True, kw_only=True)
class Details:
    """Everything else; what is not given is left to the server's defaults."""

    name: Annotated[str | None, Parameter(help="Name for people.")] = None
    tag: Annotated[
        tuple[str, ...], Parameter(negative="", show_default=False, help="NAME=VALUE. May be repeated.")
    ] = ()
    owner: Annotated[str | None, Parameter(help="Whose schedule it is.")] = None
    input: Annotated[str | None, Parameter(help="JSON object that every run is given.")] = None
    misfire_policy: Annotated[str | None, Parameter(help="fire_once, skip or fire_all.")] = None
    overlap_policy: Annotated[
        str | None, Parameter(help="skip, buffer_one, buffer_all, cancel_other, terminate_other, allow_all.")
    ] = None
    timeout: Annotated[str | None, Parameter(help="Longest time of an attempt, such as 3m.")] = None
    max_attempts: Annotated[int | None, Parameter(help="Attempts of a run, the first included.")] = None


def triggers(when: When) -> list[Json]:
    """Write the triggers; WrongUsage if there is none, or an option without what it belongs to."""
    _check_options(when)
    zone = _given({"timezone": when.timezone})  # else the namespace's, which the server knows
    clock_changes = _given({"dst_gap": when.dst_gap, "dst_overlap": when.dst_overlap})
    found: list[Json] = [{"kind": "cron", "expression": rule} | zone | clock_changes for rule in when.cron]
    found += [
        {"kind": "interval", "every": every} | ({"anchor": when.anchor} if when.anchor else {}) for every in when.every
    ]
    found += [{"kind": "once", "at": at} | zone for at in when.at]
    found += [{"kind": "rrule", "rule": rule, "dtstart": when.dtstart} | zone for rule in when.rrule]
    return found


def _check_options(when: When) -> None:
    if not (when.cron or when.every or when.at or when.rrule):
        raise WrongUsage("it never fires; give --cron, --every, --at or --rrule")
    if when.anchor and not when.every:
        raise WrongUsage("--anchor goes with --every")
    if when.timezone is not None and not (when.cron or when.at or when.rrule):
        raise WrongUsage("--timezone goes with --cron, --rrule and --at; an interval is the same in every zone")
    if when.rrule and not when.dtstart:
        raise WrongUsage("--rrule needs the local time that it counts from, such as --dtstart 2026-01-05T09:00:00")
    if when.dtstart and not when.rrule:
        raise WrongUsage("--dtstart goes with --rrule")
    if (when.dst_gap or when.dst_overlap) and not when.cron:
        raise WrongUsage("--dst-gap and --dst-overlap go with --cron")


def target(http: Http, command: Sequence[str]) -> Json:
    """Write the target; `command` begins with the -- that sets it off."""
    if command and command[0] != "--":
        raise WrongUsage(f"what is {command[0]!r}? quote cron expressions, and write -- before a command")
    argv = list(command[1:])
    if bool(argv) == (http.http is not None):
        raise WrongUsage("give one target: either --http URL, or -- and a command with its arguments")
    if argv:
        if http.method or http.header or http.body is not None:
            raise WrongUsage("--method, --header and --body go with --http")
        return {"kind": "command", "argv": argv}
    document = {
        "method": http.method,
        "headers": pairs("--header", http.header) or None,
        "body": None if http.body is None else read_json("--body", http.body),
    }
    return {"kind": "http", "url": http.http} | _given(document)


def definition(id_: str, when: When, to: Json, details: Details) -> Json:
    """Write the whole schedule."""
    optional = {
        "name": details.name,
        "tags": pairs("--tag", map("=".join, map(tag_parts, details.tag))) or None,
        "owner": details.owner,
        "input": None if details.input is None else json_object("--input", details.input),
        "misfire_policy": details.misfire_policy,
        "overlap_policy": details.overlap_policy,
        "timeout": details.timeout,
        "retry": None if details.max_attempts is None else {"max_attempts": details.max_attempts},
    }
    return {"id": id_, "triggers": triggers(when), "target": to} | _given(optional)


def pairs(option: str, items: Iterable[str]) -> dict[str, str]:
    """Read NAME=VALUE items; the value may hold more equals signs, a name may come once."""
    found: dict[str, str] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise WrongUsage(f"{option} {item!r} is not of the form NAME=VALUE")
        if name in found:
            raise WrongUsage(f"{option} {name} is given twice")
        found[name] = value
    return found


def read_json(option: str, text: str) -> Value:
    """Read an option's JSON."""
    try:
        return json.loads(text, parse_constant=_no_such_number)
    except RecursionError:
        raise WrongUsage(f"{option} is nested too deeply") from None
    except ValueError as error:
        raise WrongUsage(f'{option} is not JSON ({error}); quote it: {option} \'{{"key": "value"}}\'') from None


def json_object(option: str, text: str) -> Json:
    """Read an option's JSON object."""
    document = read_json(option, text)
    if not isinstance(document, dict):
        raise WrongUsage(f'{option} is not a JSON object; give one such as {option} \'{{"key": "value"}}\'')
    return document


def _no_such_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _given(document: Json) -> Json:
    return {name: value for name, value in document.items() if value is not None}
