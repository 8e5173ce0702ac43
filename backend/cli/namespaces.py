"""The commands on namespaces: the tenants of a server."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from backend.cli import times
from backend.cli.failures import WrongUsage
from backend.cli.options import DEFAULTS, Common, connect
from backend.cli.output import Column, Row, print_line, print_table, tell

Json = dict[str, Any]
NONE = "none"

Id = Annotated[str, Parameter(name="ID", help="Id of the namespace.")]
Timezone = Annotated[str | None, Parameter(help="Of triggers that name none, such as Europe/London.")]
Limits = Annotated[
    tuple[str, ...],
    Parameter(
        name="--limit",
        negative="",
        help="NAME=VALUE, such as schedules=1000 or minimum_interval=1m; NAME=none lifts it. May be repeated.",
    ),
]


def create(id_: Id, /, *, timezone: Timezone = None, limit: Limits = (), common: Common = DEFAULTS) -> None:
    """Create a namespace."""
    answer = connect(common).post("namespaces", body={"id": id_, **_wanted(timezone, limit)})
    tell(answer, lambda _: print_line(f"created {id_}"), as_json=common.json)


def set_(id_: Id, /, *, timezone: Timezone = None, limit: Limits = (), common: Common = DEFAULTS) -> None:
    """Change what holds for a namespace."""
    wanted = _wanted(timezone, limit)
    if not wanted:
        raise WrongUsage("nothing is to change; give --timezone or --limit")
    tell(connect(common).patch("namespaces", id_, body=wanted), show_one, as_json=common.json)


def list_(*, common: Common = DEFAULTS) -> None:
    """List the namespaces that the key may know of."""
    tell(connect(common).collect("namespaces", query={}, limit=None), show_list, as_json=common.json)


def show(id_: Id, /, *, common: Common = DEFAULTS) -> None:
    """Show a namespace."""
    tell(connect(common).get("namespaces", id_), show_one, as_json=common.json)


def delete(id_: Id, /, *, common: Common = DEFAULTS) -> None:
    """Delete a namespace in which nothing is left."""
    connect(common).delete("namespaces", id_)
    tell({"id": id_, "deleted": True}, lambda _: print_line(f"deleted {id_}"), as_json=common.json)


def _wanted(timezone: str | None, limits: tuple[str, ...]) -> Json:
    wanted: Json = {} if timezone is None else {"timezone": timezone}
    return wanted | ({"limits": dict(map(_limit, limits))} if limits else {})


def _limit(text: str) -> tuple[str, int | str | None]:
    name, equals, value = text.partition("=")
    if not equals or not value:
        raise WrongUsage(f"--limit {text!r} has no value; give NAME=VALUE, such as schedules=1000, or NAME=none")
    return name, None if value == NONE else int(value) if value.isdecimal() else value


def show_list(page: Json) -> None:
    """Print a row for each namespace."""
    now = times.utc_now()
    columns = [Column("ID", flexible=True), Column("TIMEZONE"), Column("LIMITS"), Column("CREATED")]
    rows = [
        Row((one["id"], one["timezone"], _limits(one) or "–", times.relative(_made_at(one), now)))
        for one in page["items"]
    ]
    print_table(columns, rows)


def _made_at(namespace: Json) -> str | None:
    # The first one is as old as the database, which does not say.
    return None if times.moment(namespace["created_at"]).timestamp() == 0 else namespace["created_at"]


def show_one(namespace: Json) -> None:
    """Print what holds for a namespace."""
    print_line(namespace["id"], "bold")
    print_line(f"timezone: {namespace['timezone']}")
    print_line(f"limits: {_limits(namespace) or 'none'}")


def _limits(namespace: Json) -> str:
    return ", ".join(f"{name}={value}" for name, value in namespace["limits"].items() if value is not None)
