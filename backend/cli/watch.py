"""Follows runs as they happen, by asking again and again: newest first, until a page holds nothing new."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

from backend.cli import times
from backend.cli.client import Client
from backend.cli.failures import Failure, Missing, Refused, Unreachable
from backend.cli.output import Column, console, print_error, print_json, print_rows
from backend.cli.run_rows import COLUMNS, Wanted, run_row
from backend.model.run import FINAL_STATES

Json = dict[str, Any]
PAUSE = 1.0
"""Seconds between two looks."""
PAGE = 100
MOST_PAGES = 50
MOST_SINGLE = 25
MOST_KNOWN = 20_000
LEAST = {"WHEN": 12, "SCHEDULE": 16, "STATE": 9, "LATE": 6, "TOOK": 6}
"""Widths that most rows need: the title is printed before the first of them is known."""


class Watch:
    """What has been seen so far of one list of runs."""

    def __init__(self, client: Client, wanted: Wanted, *, every_change: bool) -> None:
        self._client = client
        self._path = wanted.path
        self._since = times.instant(wanted.from_)
        self._state = wanted.state
        self._every_change = every_change
        self._known: dict[str, str] = {}
        self._floor = ""
        self._begun = False

    def look(self) -> list[Json]:
        """Give what is new, oldest first: runs that have ended, with `every_change` every new state."""
        if not self._begun and self._since is None:
            self._begin()
            return []
        self._begun = True
        seen = {run["id"]: run for run in self._newest()}
        for run in self._left_open(seen):
            seen[run["id"]] = run
        news = [run for run in reversed(seen.values()) if self._known.get(run["id"]) != run["state"]]
        self._known |= {run["id"]: run["state"] for run in seen.values()}
        self._forget()
        return [run for run in news if self._wanted(run)]

    def _begin(self) -> None:
        """Take what is there already as known. Older runs than those of this page never count as news."""
        page = self._page(None)
        self._known = {run["id"]: run["state"] for run in page["items"]}
        if page.get("next_cursor"):
            self._floor = min(self._known)
        self._begun = True

    def _page(self, cursor: str | None) -> Json:
        return self._client.get(*self._path, query={"limit": PAGE, "from": self._since, "cursor": cursor})

    def _newest(self) -> Iterator[Json]:
        cursor = None
        for _ in range(MOST_PAGES):
            page = self._page(cursor)
            runs = [run for run in page["items"] if run["id"] >= self._floor]
            yield from runs
            cursor = page.get("next_cursor")
            if not cursor or len(runs) < len(page["items"]) or all(map(self._is_settled, runs)):
                return

    def _is_settled(self, run: Json) -> bool:
        return self._known.get(run["id"]) == str(run["state"])

    def _left_open(self, seen: dict[str, Json]) -> Iterator[Json]:
        """Ask one by one for runs that are open and so old that the newest pages do not hold them."""
        pending = [id_ for id_, state in self._known.items() if state not in FINAL_STATES and id_ not in seen]
        for id_ in pending[:MOST_SINGLE]:
            self._known[id_] = self._known.pop(id_)  # to the end, so that all have their turn
            try:
                yield self._client.get("runs", id_)
            except Missing:
                del self._known[id_]

    def _forget(self) -> None:
        if len(self._known) <= MOST_KNOWN:
            return
        ended = sorted(id_ for id_, state in self._known.items() if state in FINAL_STATES)
        for id_ in ended[: -MOST_KNOWN // 2]:
            del self._known[id_]
            self._floor = max(self._floor, id_ + " ")  # the first id above this one

    def _wanted(self, run: Json) -> bool:
        state = str(run["state"])
        if self._state is not None:
            return state == self._state
        return self._every_change or state in FINAL_STATES


def follow(watch: Watch, *, as_json: bool) -> None:
    """Print what a watch sees until Ctrl-C. A server that goes away is waited for; a refusal ends it."""
    show = _Printer(as_json=as_json)
    away = first = False
    never = threading.Event()
    while not never.wait(PAUSE if first else 0):
        try:
            news = watch.look()
        except Failure as failure:
            if not first or not _is_passing(failure):
                raise
            if not away:
                print_error(f"{str(failure).splitlines()[0]}; waiting for it")
            away = True
            continue
        if away:
            print_error("the server is back")
        away, first = False, True
        show(news)


def _is_passing(failure: Failure) -> bool:
    return isinstance(failure, Unreachable) or (isinstance(failure, Refused) and failure.status >= 500)


class _Printer:
    """Prints runs as they come, in columns that only ever grow."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._screen = console()
        self._columns: Sequence[Column] = [c._replace(least=LEAST.get(c.title, 0)) for c in COLUMNS]
        self._title = True

    def __call__(self, runs: Sequence[Json]) -> None:
        if self._as_json:
            for run in runs:
                print_json(run, compact=True)
            return
        now = times.utc_now()
        rows = [run_row(run, now) for run in runs]
        if rows or self._title:
            self._columns = print_rows(self._screen, self._columns, rows, title=self._title)
        self._title = False
        self._screen.file.flush()
