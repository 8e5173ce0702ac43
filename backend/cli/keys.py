"""The commands on keys: who may come in, to which namespace, to do what, and until when."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import Parameter

from backend.cli import times
from backend.cli.failures import WrongUsage
from backend.cli.options import DEFAULTS, Common, connect
from backend.cli.output import Column, Row, print_line, print_table, tell

Json = dict[str, Any]
Scope = Literal["read", "write", "trigger", "admin"]
ALL = "(all)"
COLUMNS = (
    Column("ID"),
    Column("NAME", flexible=True),
    Column("NAMESPACE"),
    Column("SCOPES"),
    Column("STATE"),
    Column("LAST USED"),
    Column("EXPIRES"),
)

Id = Annotated[str, Parameter(name="ID", help="Id of the key: what stands between its underscores.")]


def create(
    *,
    scope: Annotated[
        tuple[Scope, ...], Parameter(negative="", help="What it may do: read, write, trigger, admin. May be repeated.")
    ],
    name: Annotated[str, Parameter(help="For people: who uses it.")] = "",
    expires_in: Annotated[str | None, Parameter(help="A duration such as 90d; it never expires unless given.")] = None,
    all_namespaces: Annotated[
        bool, Parameter(negative="", help="Let it reach every namespace instead of one.", show_default=False)
    ] = False,
    common: Common = DEFAULTS,
) -> None:
    """Make a key for the namespace that --namespace names, or that your own belongs to; its text is shown this once."""
    if all_namespaces and common.namespace:
        raise WrongUsage("--all-namespaces and --namespace exclude each other; give one of them")
    body: Json = {"name": name, "scopes": list(dict.fromkeys(scope)), "expires_at": _end(expires_in)}
    body |= {"namespace": None} if all_namespaces else {}
    tell(connect(common).post("keys", body=body), show_new, as_json=common.json)


def _end(expires_in: str | None) -> str | None:
    if expires_in is None:
        return None
    from backend.duration import read_length  # noqa: PLC0415 - pydantic is slow to import

    length = read_length(expires_in)
    if length is None:
        raise WrongUsage(f"--expires-in {expires_in!r} is not a duration; give one such as 90d or 12h")
    return (times.utc_now() + length).isoformat()


def list_(*, common: Common = DEFAULTS) -> None:
    """List the keys: of --namespace, or all that your own may know of."""
    tell(connect(common).collect("keys", query={}, limit=None), show_list, as_json=common.json)


def revoke(id_: Id, /, *, common: Common = DEFAULTS) -> None:
    """Let a key in no more, at once and for good."""
    connect(common).delete("keys", id_)
    tell({"id": id_, "revoked": True}, lambda _: print_line(f"revoked {id_}"), as_json=common.json)


def rotate(
    id_: Id,
    /,
    *,
    overlap: Annotated[str, Parameter(help="How long the old key goes on working.")] = "1h",
    common: Common = DEFAULTS,
) -> None:
    """Make a key that may do the same as another, which expires after the overlap."""
    answer = connect(common).post("keys", id_, "rotate", body={"overlap": overlap})
    tell(answer, show_new, as_json=common.json)


def show_new(key: Json) -> None:
    """Print the text of a new key alone on its line, and what it may do."""
    print_line(key["key"], "bold")
    where = f"namespace {key['namespace']}" if key["namespace"] else "all namespaces"
    print_line(f"key {key['id']} for {where}: {', '.join(key['scopes'])}; this is the only time that it is shown")


def show_list(page: Json) -> None:
    """Print a row for each key."""
    rows = [Row(_cells(key)) for key in page["items"]]
    if rows:
        print_table(COLUMNS, rows)
    else:
        print_line("no keys")


def _cells(key: Json) -> tuple[str, ...]:
    now = times.utc_now()
    used, end = (times.relative(key[name], now) if key[name] else "–" for name in ("last_used_at", "expires_at"))
    scopes = ",".join(key["scopes"])
    return (key["id"], key["name"] or "–", key["namespace"] or ALL, scopes, key["state"], used, end)
