"""The command that foresees the load: what would start when, without starting it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import yaml
from cyclopts import Parameter

from backend.cli import times
from backend.cli.apply import located, read_bytes
from backend.cli.bars import Series, svg_plot, terminal_plot
from backend.cli.client import LONG_PATIENCE
from backend.cli.failures import Missing, Refused, WrongUsage, error_text, field_errors, headline
from backend.cli.options import DEFAULTS, Common, connect
from backend.cli.output import console, counted, print_line, print_text, tell
from backend.cli.yaml_file import ScheduleFile, read_schedules

Json = dict[str, Any]
LENGTH = re.compile(r"[0-9P][0-9A-Za-z.]*", re.ASCII)
NAMED = 5
PATIENCE = 3 * LONG_PATIENCE
OPTIONS = frozenset({"from", "to", "outage", "durations"})


class SimulationRefused(Refused):
    """The server refused; each error is worded with the option or the file's line that it concerns."""

    def __init__(self, problem: Json, described: ScheduleFile | None) -> None:
        super().__init__(problem)
        self.args = ("\n".join((headline(problem), *_worded(problem, described))),)


def _worded(problem: Json, described: ScheduleFile | None) -> Iterator[str]:
    of_drafts = []
    for error in field_errors(problem):
        field = str(error.get("field") or "body")
        if field.startswith("schedules[") and described is not None:
            of_drafts.append(error)
        elif (option := re.split(r"[.\[]", field)[0]) in OPTIONS:
            yield f"--{field if option == 'durations' else field.replace('.', ': ')}: {error_text(error)}"
        else:
            yield f"{field}: {error_text(error)}"
    if described is not None:
        yield from located(described, {"errors": of_drafts})


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class What:
    """What is taken for granted."""

    file: Annotated[
        str | None,
        Parameter(
            name=["--file", "-f"],
            allow_leading_hyphen=True,
            help="Drafts, as for apply, instead of the server's schedules.",
        ),
    ] = None
    durations: Annotated[
        str | None,
        Parameter(help='How long runs take: 30s, or a YAML file of ids and lengths, with "*" for all others.'),
    ] = None
    outage: Annotated[str | None, Parameter(help="FROM/TO: what would be missed, and done about it afterwards.")] = None


NOTHING = What()


def simulate(
    *,
    from_: Annotated[str, Parameter(name="--from", help="Where it begins, such as 2026-12-01T00:00:00Z.")],
    to: Annotated[str, Parameter(help="Where it ends, at most 366 days later.")],
    what: What = NOTHING,
    svg: Annotated[Path | None, Parameter(help="Draw it into this file, too.")] = None,
    common: Common = DEFAULTS,
) -> None:
    """Foresee the load: starts per minute, the peak and who makes it. Nothing fires."""
    described = read_schedules(what.file, read_bytes(what.file)) if what.file is not None else None
    from_, to = times.instant(from_), times.instant(to)
    body: Json = {"from": from_, "to": to}
    if described is not None:
        body["schedules"] = described.schedules
    if what.durations is not None:
        body["durations"] = durations_of(what.durations)
    if what.outage is not None:
        body["outage"] = window(what.outage)
    client = connect(common)
    with _waiting(f"simulating {from_} to {to} …"):
        try:
            answer = client.post("simulate", body=body, patience=PATIENCE)
        except Missing:
            raise
        except Refused as refused:
            raise SimulationRefused(refused.problem, described) from refused
    series = series_of(answer, from_, to)
    if svg is not None:
        _write(svg, svg_plot(series, f"{counted(answer['total'], 'start')}, {headline_of(answer)}"))
    tell(answer, lambda found: show_simulation(found, series), as_json=common.json)


@contextmanager
def _waiting(text: str) -> Iterator[None]:
    """Show on stderr that it goes on, where a person looks."""
    screen = console(sys.stderr)
    if not screen.is_terminal:
        yield
        return
    with screen.status(text):
        yield


def durations_of(given: str) -> Any:  # noqa: ANN401 - JSON
    """Read `--durations`: a length, or a file of them."""
    if LENGTH.fullmatch(given) and not Path(given).exists():
        return given
    try:
        found = yaml.safe_load(read_bytes(given))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise WrongUsage(f"{given}: not YAML: {error}") from None
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise WrongUsage(f"{given}: it is not a list of `id: length`, such as `digest: 5m`")
    return found


def window(given: str) -> Json:
    """Read FROM/TO."""
    begin, slash, end = given.partition("/")
    if not (begin and slash and end):
        raise WrongUsage(f"--outage {given!r} is not FROM/TO, such as 2026-12-01T08:00:00Z/2026-12-01T10:00:00Z")
    return {"from": begin, "to": end}


def series_of(answer: Json, from_: str, to: str) -> Series:
    """Prepare the answer for drawing."""
    starts = [(times.moment(at), number) for at, number in answer["minutes"]]
    return Series(times.moment(from_), times.moment(to), timedelta(seconds=answer["bucket_seconds"]), starts)


def headline_of(answer: Json) -> str:
    """Word the peak."""
    peak = answer["peak"]
    if not peak["starts"]:
        return "no peak"
    more = f" and {len(peak['minutes']) - 1} more" if len(peak["minutes"]) > 1 else ""
    return f"at most {peak['starts']} in a minute ({peak['minutes'][0]}{more})"


def show_simulation(answer: Json, series: Series) -> None:
    """Print the plot, and what it means."""
    print_text("\n".join(terminal_plot(series)))
    starts, schedules = counted(answer["total"], "start"), counted(answer["schedules"], "schedule")
    print_line(f"{starts} of {schedules}; {headline_of(answer)}", "bold")
    if answer["peak_schedules"]:
        print_line(f"in the peak: {_named(answer['peak_schedules'], 'starts', answer['peak_schedule_count'])}")
    if answer["overlaps"]["count"]:
        _show_overlaps(answer["overlaps"])
    if answer["misfires"] is not None:
        _show_misfires(answer["misfires"])
    for note in answer["notes"]:
        print_line(f"note: {note}", "yellow")


def _show_overlaps(overlaps: Json) -> None:
    counts = ", ".join(f"{overlaps[key]} {key}" for key in ("skipped", "waited", "replaced") if overlaps[key])
    text = "1 overlaps a run of its schedule" if overlaps["count"] == 1 else "{count} overlap a run of their schedule"
    print_line(text.format_map(overlaps) + (f": {counts}" if counts else ""), "yellow")
    if overlaps["at_return"]:
        print_line(f"of them {overlaps['at_return']} as the server returns, which plans at once what is late and due")
    print_line(f"of them: {_named(overlaps['schedules'], 'count', overlaps['schedule_count'])}")


def _show_misfires(misfires: Json) -> None:
    dropped = ", ".join(f"{number} {reason}" for reason, number in misfires["dropped"].items())
    late, run = misfires["late"], misfires["run"]
    text = f"{late} fall{'s' * (late == 1)} into the outage; after it {run or 'none'} run{'s' * (run == 1)} late"
    print_line(text + (f", {dropped}" if dropped else ""))
    if misfires["schedules"]:
        print_line(f"of them: {_named(misfires['schedules'], 'late', misfires['schedule_count'])}")


def _named(schedules: list[Json], key: str, count: int) -> str:
    text = ", ".join(f"{one['id']} ({one[key]})" for one in schedules[:NAMED])
    return text + (f" and {count - NAMED} more" if count > NAMED else "")


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise WrongUsage(f"{file}: it cannot be written ({error.strerror})") from error
