"""What must hold after any faults: nothing missing, nothing doubled, no stale result taken. In one place, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.acceptance.server import Server
from tests.fault.counter import Dispatch

OPEN = "('buffered', 'held', 'queued', 'running', 'retrying')"
RUNS = f"""
select r.id, r.state, r.attempt, s.delivery,
  (select count(*) from scheduler.attempts a where a.run_key = r.key and a.state = 'succeeded'),
  (select coalesce(max(a.number), 0) from scheduler.attempts a where a.run_key = r.key and a.state = 'succeeded'),
  (select coalesce(max(a.output), '') from scheduler.attempts a where a.run_key = r.key and a.state = 'succeeded')
from scheduler.runs r join scheduler.schedules s on s.key = r.schedule_key
where r.state not in {OPEN}
"""
DOUBLED = "select schedule_key, nominal_at from scheduler.runs where backfill_id = '' group by 1, 2 having count(*) > 1"
SHARES = (0.5, 0.9, 0.99, 1.0)
STARTED = """
select scheduled_at / 1e6, (started_at - scheduled_at) / 1e6 from scheduler.runs where started_at is not null order by 2
"""
TAKE_OVER = """
select (n.started_at - a.started_at) / 1e6
from scheduler.attempts a join scheduler.attempts n on n.run_key = a.run_key and n.number = a.number + 1
where a.state = 'lost'
"""


class Ledger(Protocol):
    """A database that can be asked past everything that is tested; the tables are in the schema `scheduler`."""

    def query(self, statement: str) -> list[list[str]]:
        """Give the rows as text."""
        ...


@dataclass(frozen=True)
class Verdict:
    """What was found; `faults` in words, empty when the promise was kept."""

    expected: int
    recorded: int
    states: dict[str, int]
    audit: dict[str, int]
    dispatched: int
    again: int
    lost: int
    started: list[tuple[float, float]]
    """Of each run when it was due, in seconds since 1970, and how many seconds late it began; the least late first."""
    take_over: list[float]
    faults: list[str] = field(default_factory=list)


def audit(server: Server) -> dict[str, int]:
    """Let the product compare expected and recorded occurrences, page by page."""
    names = ("expected", "recorded", "missing_count", "doubled_count", "unverified_count")
    found = dict.fromkeys(names, 0)
    cursor = None
    while True:
        page: dict[str, Any] = server.get("/audit/occurrences" + (f"?cursor={cursor}" if cursor else ""))
        found = {name: found[name] + page[name] for name in names}
        cursor = page["next_cursor"]
        if not cursor:
            return found


def open_runs(ledger: Ledger) -> int:
    return int(ledger.query(f"select count(*) from scheduler.runs where state in {OPEN}")[0][0])


def recorded(ledger: Ledger) -> int:
    """Count occurrences that have a record; a row may stand for several that did not run."""
    many = "state in ('skipped', 'missed') and missed_count > 1"
    counted = f"case when {many} then missed_count else 1 end"
    rows = ledger.query(f"select coalesce(sum({counted}), 0) from scheduler.runs where backfill_id = ''")
    return int(rows[0][0])


def judge(server: Server, ledger: Ledger, seen: dict[str, list[Dispatch]], expected: int) -> Verdict:
    """Compare the ledger with what was expected, and with what the targets saw."""
    audited = audit(server)
    rows = ledger.query(RUNS)
    verdict = Verdict(
        expected=expected,
        recorded=recorded(ledger),
        states={state: int(n) for state, n in ledger.query("select state, count(*) from scheduler.runs group by 1")},
        audit=audited,
        dispatched=sum(map(len, seen.values())),
        again=sum(len(dispatches) > 1 for dispatches in seen.values()),
        lost=int(ledger.query("select count(*) from scheduler.attempts where state = 'lost'")[0][0]),
        started=[(float(due), float(late)) for due, late in ledger.query(STARTED)],
        take_over=sorted(float(row[0]) for row in ledger.query(TAKE_OVER)),
    )
    verdict.faults.extend(_faults(verdict, ledger, seen, rows))
    return verdict


def shares(ordered: Sequence[float]) -> list[float]:
    """Give p50, p90, p99 and the worst."""
    return [ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0 for share in SHARES]


def _faults(verdict: Verdict, ledger: Ledger, seen: dict[str, list[Dispatch]], rows: list[list[str]]) -> list[str]:
    found = []
    if verdict.recorded != verdict.expected:
        found.append(f"{verdict.expected} occurrences were expected and {verdict.recorded} are recorded")
    found += [f"the audit counts {n} {name}" for name, n in verdict.audit.items() if name.endswith("_count") and n]
    found += [f"recorded twice: {row}" for row in ledger.query(DOUBLED)]
    unknown = seen.keys() - {row[0] for row in rows}
    found += [f"dispatched, but not an ended run of the ledger: {id_}" for id_ in sorted(unknown)[:20]]
    for row in rows:
        found += _faults_of_run(row, seen.get(row[0], []))
    return found


def _faults_of_run(row: list[str], dispatches: list[Dispatch]) -> list[str]:
    id_, state, attempt, delivery, successes, number, output = row
    numbers = [dispatch.attempt for dispatch in dispatches]
    found = []
    if any(dispatch.key != id_ for dispatch in dispatches):
        found.append(f"{id_}: an attempt carried another idempotency key")
    if len(set(numbers)) != len(numbers):
        found.append(f"{id_}: one attempt was dispatched twice: {numbers}")
    if delivery == "at_most_once" and len(numbers) > 1:
        found.append(f"{id_}: at most once, and dispatched {len(numbers)} times")
    if state == "succeeded" and (int(successes), number) != (1, attempt):
        found.append(f"{id_}: {successes} successes, of attempt {number}; the run's attempt is {attempt}")
    if state == "succeeded" and (output != attempt or int(attempt) not in numbers):
        found.append(f"{id_}: succeeded by attempt {attempt} with the answer to {output!r}; dispatched: {numbers}")
    if state == "succeeded" and numbers and max(numbers) > int(attempt):
        found.append(f"{id_}: a stale result was taken: attempt {attempt} of {numbers}")
    return found
