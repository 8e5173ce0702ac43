"""The command that follows what happens."""

from __future__ import annotations

import threading
from typing import Annotated

from cyclopts import Parameter

from backend.cli.failures import Refused, Unreachable
from backend.cli.options import DEFAULTS, Common, connect
from backend.cli.output import print_error, print_json, print_line
from backend.client.events import Event

PAUSE = 1.0
"""Seconds until it asks again when the server has ended the stream."""


def events(
    *,
    schedule: Annotated[str | None, Parameter(help="Only of the schedule of this id.")] = None,
    kind: Annotated[str | None, Parameter(help="Only of this kind, such as run.finished; or run, schedule.")] = None,
    since: Annotated[str | None, Parameter(help="Go on after the event of this id; else from now on.")] = None,
    common: Common = DEFAULTS,
) -> None:
    """Print what happens to schedules and runs, until Ctrl-C. A server that goes away is waited for."""
    client, last, never = connect(common), since, threading.Event()
    reached = False
    while not never.wait(PAUSE if reached else 0):
        try:
            for found in client.events({"schedule": schedule, "kind": kind}, last):
                reached = True
                for one in found:
                    last = one.id
                    show(one, as_json=common.json)
            reached = True
        except (Unreachable, Refused) as failure:
            if not reached or (isinstance(failure, Refused) and failure.status < 500):
                raise
            print_error(f"{str(failure).splitlines()[0]}; waiting for it")


def show(one: Event, *, as_json: bool) -> None:
    """Print an event on a line."""
    document = one.fact
    if as_json:
        print_json({"id": one.id, **document}, compact=True)
        return
    rest = {name: value for name, value in document.items() if name not in {"at", "kind"} and value is not None}
    print_line(f"{document['at']} {document['kind']} " + " ".join(f"{name}={value}" for name, value in rest.items()))
