"""Reads crontabs: a job becomes the definition of a schedule, a line that cannot become one a problem. Pure.

The notation is that of crontab(5) as Debian's cron and cronie read it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from backend.engine.definition import ScheduleDefinition
from backend.errors import FieldProblem, Refused
from backend.service.crontab_ids import make_ids, slug
from backend.service.validation import parse

SHELL = "/bin/sh"
# What cron never does must not begin with the import: kill after minutes, run again, give up after failures.
LIKE_CRON: Mapping[str, Any] = {"timeout": "7d", "retry": {"max_attempts": 1}, "pause_after_failures": 0}
LONGEST_NAME = 200

_BLANKS = re.compile(r"[ \t]+")
_VARIABLE = re.compile(r"""(?:"([A-Za-z_]\w*)"|'([A-Za-z_]\w*)'|([A-Za-z_]\w*))[ \t]*=[ \t]*(.*)""", re.ASCII)
_QUOTED = re.compile(r"""(["'])(.*?)\1""")
_USER = re.compile(r"[A-Za-z_][\w.-]*\$?", re.ASCII)
_BEFORE_PERCENT = re.compile(r"(?:[^\\%]|\\.|\\\Z)*")
_NO_NAME = re.compile(r"\W|\w+=|m(in\w*)?[ \t]+h|([\d*,/-]+[ \t]+){3}", re.IGNORECASE)


class Problem(NamedTuple):
    """Why a line cannot be taken over, and what would be right."""

    line: int
    field: str
    rule: str
    fix: str


class Job(NamedTuple):
    """A job's line, and the schedule that it becomes."""

    line: int
    document: dict[str, Any]


class Crontab(NamedTuple):
    """What a file says. With a problem, nothing of it should be taken over."""

    jobs: Sequence[Job]
    problems: Sequence[Problem]
    warnings: Sequence[str]
    without_zone: int
    """How many jobs stand under no CRON_TZ or TZ, and so in the zone that the reader was given."""


class Options(NamedTuple):
    """What a file does not say. `system`: a user's name stands before each command. `timezone`: None is unknown."""

    timezone: str | None
    system: bool = False
    prefix: str = ""


class _Variable(NamedTuple):
    line: int
    value: str


class _Entry(NamedTuple):
    line: int
    times: str
    user: str | None
    command: str
    stdin: str | None
    name: str | None
    variables: Mapping[str, _Variable]

    @property
    def label(self) -> str:
        """What the id is made of: the name, if it has letters that an id may have."""
        return self.name if self.name and slug(self.name) else self.command

    @property
    def zone(self) -> _Variable | None:
        """The line that names the zone, if one above does."""
        found = (self.variables.get(name) for name in ("CRON_TZ", "TZ"))
        return next((variable for variable in found if variable and variable.value), None)

    def line_of(self, field: str) -> int:
        """Find the line that decides a field of the definition."""
        variable = self.variables.get(field.removeprefix("target.env."))
        if field.endswith(".timezone"):
            variable = self.zone
        return variable.line if variable else self.line


def read_crontab(content: bytes, options: Options) -> Crontab:
    """Read a whole crontab; every bad line is among the problems, in order."""
    reader = _Reader(system=options.system)
    for number, raw in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        reader.take(number, raw)
    ids = make_ids([entry.label for entry in reader.entries], options.prefix)
    jobs = [
        Job(entry.line, _definition(entry, id_, options.timezone))
        for entry, id_ in zip(reader.entries, ids, strict=True)
    ]
    for entry, job in zip(reader.entries, jobs, strict=True):
        reader.problems += _refusals(entry, job.document)
    unzoned = sum(entry.zone is None for entry in reader.entries)
    problems = sorted(dict.fromkeys(reader.problems))
    return Crontab(jobs, problems, list(_warnings(reader, system=options.system)), unzoned)


class _Reader:
    """Goes from line to line, and keeps what those below depend on: variables, and the comment above."""

    def __init__(self, *, system: bool) -> None:
        self._system = system
        self._variables: dict[str, _Variable] = {}
        self._comment: list[str] = []
        self.entries: list[_Entry] = []
        self.problems: list[Problem] = []

    def take(self, number: int, raw: bytes) -> None:
        """Read one line."""
        comment, self._comment = self._comment, []
        try:
            text = raw.removesuffix(b"\r").decode().lstrip(" \t")
        except UnicodeDecodeError as error:
            self._refuse(number, "line", f"not UTF-8 (byte 0x{raw[error.start]:02x})", "save the file as UTF-8")
            return
        if "\0" in text:
            self._refuse(number, "line", "it holds a NUL character", "leave it out")
        elif text.startswith("#"):
            comment.append(text[1:])
            self._comment = comment
        elif variable := _VARIABLE.fullmatch(text):
            self._set(number, variable[1] or variable[2] or variable[3], variable[4].rstrip(" \t"))
        elif text.strip():
            self._job(number, text, comment)

    def _set(self, number: int, name: str, value: str) -> None:
        if value[:1] in {"'", '"'}:
            quoted = _QUOTED.fullmatch(value)
            if quoted is None:
                self._refuse(number, name, "its quote does not end with the line", "close it there, or leave it out")
                return
            value = quoted[2]
        # A copy, because the jobs above keep what was set above them.
        self._variables = {**self._variables, name: _Variable(number, value)}

    def _job(self, number: int, text: str, comment: Sequence[str]) -> None:
        fields = 1 if text.startswith("@") else 5
        # A minus before the minute keeps a job out of cronie's log; here every run is on record.
        parts = _BLANKS.split(text.removeprefix("-"), maxsplit=fields)
        if parts[0].lower() == "@reboot":
            fix = "leave the line out, and start the command from a service manager"
            self._refuse(number, "schedule", "@reboot is no time, and a schedule has times", fix)
        elif len(parts) <= fields or not parts[-1].strip():
            fix = "write minute, hour, day, month, weekday and the command on one line"
            self._refuse(number, "schedule", "it is neither times with a command nor NAME=VALUE", fix)
        else:
            self._command(number, " ".join(parts[:fields]), parts[fields], _name(comment))

    def _command(self, number: int, times: str, text: str, name: str | None) -> None:
        user = None
        if self._system:
            user, text = [*_BLANKS.split(text, maxsplit=1), ""][:2]
            if not _USER.fullmatch(user):
                fix = "leave --system out for a crontab without a column of users"
                self._refuse(number, "user", f"{user[:40]!r} is not the name of a user", fix)
                return
        command, stdin = split_percent(text)
        if not command.strip():
            self._refuse(number, "command", "it is empty", "write a command behind the times, before any %")
            return
        self.entries.append(_Entry(number, times, user, command, stdin, name, self._variables))

    def _refuse(self, number: int, field: str, rule: str, fix: str) -> None:
        self.problems.append(Problem(number, field, rule, fix))


def split_percent(text: str) -> tuple[str, str | None]:
    r"""Cut a command at its first bare %: the rest is standard input, in which each further one begins a line.

    >>> split_percent(r"mail -s 100\% me%Done.%Bye")
    ('mail -s 100% me', 'Done.\nBye\n')
    """
    match = _BEFORE_PERCENT.match(text)
    assert match
    head = match[0]
    command = re.sub(r"\\(.)", lambda found: "%" if found[1] == "%" else found[0], head)
    if len(head) == len(text):
        return command, None
    stdin = re.sub(r"\\?%", lambda found: found[0][1:] or "\n", text[len(head) + 1 :])
    return command, stdin if stdin.endswith("\n") or not stdin else f"{stdin}\n"


def _name(comment: Sequence[str]) -> str | None:
    """Take the comment directly above a job for its name, unless it is a ruler, a heading, or a job switched off."""
    lines: list[str] = []
    for line in reversed(comment):
        text = " ".join("".join(c if c.isprintable() else " " for c in line).split())
        if not text or _NO_NAME.match(text):
            break
        lines.insert(0, text)
    name = " ".join(lines)
    return (name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…") or None


def _definition(entry: _Entry, id_: str, timezone: str | None) -> dict[str, Any]:
    variables = {name: variable.value for name, variable in entry.variables.items()}
    zone = entry.zone.value.removeprefix(":") if entry.zone else timezone
    home = variables.get("HOME", "")
    document = {
        "id": id_,
        "name": entry.name,
        "triggers": [{"kind": "cron", "expression": entry.times, "timezone": zone}],
        "target": {
            "kind": "command",
            "argv": _argv(variables.get("SHELL") or SHELL, entry.command, entry.stdin),
            "env": variables,
            "cwd": home if home.startswith("/") else None,
        },
    }
    return document | dict(LIKE_CRON)


def _argv(shell: str, command: str, stdin: str | None) -> list[str]:
    if stdin is None:
        return [shell, "-c", command]
    # Command and text are arguments, so that no quoting of ours can change them.
    return [SHELL, "-c", 'printf %s "$3" | "$1" -c "$2"', "cron", shell, command, stdin]


def _refusals(entry: _Entry, document: Mapping[str, Any]) -> Iterator[Problem]:
    """Ask the validator of all entrances, so that every bad line is found before the server is asked."""
    trigger = document["triggers"][0]
    found: list[FieldProblem] = []
    if trigger["timezone"] is None:
        fix = "give the zone of the machine that the crontab is from, such as --timezone Europe/London"
        yield Problem(entry.line, "timezone", "there is no CRON_TZ above, and this machine does not name its zone", fix)
    else:
        found += _problems(document)
    if trigger["timezone"] is None or any(problem.field.endswith(".timezone") for problem in found):
        # Without its zone a rule is not read, and whatever else is wrong with it would be told only the next time.
        found += _problems({**document, "triggers": [trigger | {"timezone": "UTC"}]})
    for problem in dict.fromkeys(found):
        yield Problem(entry.line_of(problem.field), problem.field, problem.rule, problem.fix)


def _problems(document: Mapping[str, Any]) -> Sequence[FieldProblem]:
    try:
        parse(ScheduleDefinition, document)
    except Refused as refused:
        return refused.problems
    return ()


def _warnings(reader: _Reader, *, system: bool) -> Iterator[str]:
    entries = reader.entries
    used = {name: variable.line for entry in entries for name, variable in entry.variables.items() if variable.value}
    if system and entries:
        users = ", ".join(f"{user} {times}" for user, times in Counter(entry.user for entry in entries).items())
        yield f"the column of users ({users}) is not taken over: every command runs as the server's own user"
    if "TZ" in used and any(entry.zone is entry.variables.get("TZ") for entry in entries if entry.zone):
        yield (
            f"line {used['TZ']}: TZ is taken for the zone of the times too; Debian's cron and cronie read it for the "
            "commands alone, so set CRON_TZ if the times are of another zone"
        )
    yield from dict.fromkeys(_outranked(entries))
    if "MAILTO" in used:
        yield f"line {used['MAILTO']}: MAILTO is only a variable here: output is kept with each run, and not mailed"
    first = next((entry.line for entry in entries if not system and entry.command.split()[0] == "root"), None)
    if first:
        yield f"line {first}: the command is `root`; a crontab with a column of users needs --system"


def _outranked(entries: Sequence[_Entry]) -> Iterator[str]:
    """Say of each TZ below a CRON_TZ that the times stay where they are."""
    for entry in entries:
        zone, tz = entry.zone, entry.variables.get("TZ")
        if zone and tz and tz.line > zone.line and tz.value not in {"", zone.value}:
            yield (
                f"line {tz.line}: TZ is for the commands alone here, since CRON_TZ (line {zone.line}) goes first: the "
                f"times below stay in {zone.value}"
            )
