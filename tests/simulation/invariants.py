"""What must hold, in words. All of it, after every commit, every request, and in the end.

Each function is one invariant: its docstring says it, its body gives what breaks it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from backend.engine.retry import MAX_LOSSES
from backend.model.instants import SECOND
from backend.model.run import FINAL_STATES, MOVES, RunState
from tests.simulation.database import POISON
from tests.simulation.expected import disagreements
from tests.simulation.mirror import WAITING, WORKING, Commit, Mirror, RunNow
from tests.simulation.targets import Dispatched

DROPPED = frozenset({"skipped", "missed"})
FREE = "allow_all"
AHEAD = 490 * SECOND
"""More than small steps and what the guard lets pass can add up to, and less than the smallest jump beyond it."""
LONGEST_LEASE = 45 * SECOND


class Violation(Exception):
    """An invariant does not hold."""

    def __init__(self, invariant: str, text: str) -> None:
        super().__init__(f"{invariant}: {text}")
        self.invariant = invariant


class Memory:
    """What has to be remembered to judge what comes."""

    def __init__(self, mirror: Mirror, right: Callable[[], int], only: frozenset[str] = frozenset()) -> None:
        self.mirror = mirror
        self.right = right
        """What time it really is."""
        self.only = only
        """Names of the invariants that are looked at after commits; none: all."""
        self.occurrences: dict[tuple[int, int, str], int] = {}
        self.streaks: dict[int, int] = {}
        self.made: dict[int, int] = {}
        self.most_attempts: dict[int, int] = {}
        self.delivery: dict[tuple[str, int], str | None] = {}
        """(run id, attempt) → under which delivery it was claimed."""
        self.requests: dict[str, set[int]] = {}
        """Run id → attempts of which a request has come."""
        self.keys: dict[tuple[int, int, str], str] = {}
        self.retimed: set[int] = set()
        """Schedules whose occurrences a person has changed, or that were changed while they could not be planned."""
        self.unreadable: set[str] = set()
        """Ids of schedules of which a revision cannot be read."""


# After every commit


def an_occurrence_has_one_row(memory: Memory, commit: Commit) -> Iterator[str]:
    """There is never more than one row for one (schedule, nominal time, backfill)."""
    for before, after in commit.runs:
        if before is not None and after is None:
            memory.occurrences.pop(_occurrence(before), None)
    for _, after in commit.runs:
        if after is not None and memory.occurrences.setdefault(_occurrence(after), after.key) != after.key:
            yield f"{_name(after)} has a second row"


def runs_move_as_the_table_allows(memory: Memory, commit: Commit) -> Iterator[str]:
    """A run begins waiting, queued or dropped, moves only as the table of moves says, and an end is the end."""
    for before, after in commit.runs:
        if after is None:
            continue
        if before is None:
            if after.state not in {*WAITING, "queued", *DROPPED}:
                yield f"{_name(after)} begins as {after.state}"
        elif before.state != after.state:
            direct = RunState(after.state) in MOVES.get(RunState(before.state), ())
            if not direct and not (after.reason == "deleted" and before.state not in FINAL_STATES):
                yield f"{_name(after)} goes from {before.state} to {after.state}"


def what_does_not_run_has_a_reason(memory: Memory, commit: Commit) -> Iterator[str]:
    """A row that says skipped or missed says why."""
    for _, after in commit.runs:
        if after is not None and after.state in DROPPED and not after.reason:
            yield f"{_name(after)} is {after.state}, and nobody knows why"


def the_cursor_never_goes_back(memory: Memory, commit: Commit) -> Iterator[str]:
    """Planning goes on from where it was; only a person's resume with catch-up goes back to the pause."""
    for before, after in commit.schedules:
        if before is None or after is None or "resumed" in commit.verbs.get(after.key, ()):
            continue
        if after.cursor_at < before.cursor_at:
            yield f"{after.id} goes back by {before.cursor_at - after.cursor_at} µs"


def nothing_overlaps(memory: Memory, commit: Commit) -> Iterator[str]:
    """Unless all are allowed, an occurrence is let to work only when no other live run of its schedule is at work."""
    policies = {after.key: before.overlap_policy for before, after in commit.schedules if before and after}
    for before, after in commit.runs:
        if after is None or after.state != "queued" or after.trigger_type != "schedule":
            continue
        if before is not None and before.state not in WAITING:
            continue
        now = memory.mirror.schedules[after.schedule_key].overlap_policy
        if FREE in {now, policies.get(after.schedule_key, now)}:
            continue
        others = [r for r in memory.mirror.open_of(after.schedule_key) if r.state in WORKING and r.key != after.key]
        if others:
            yield f"{_name(after)} is queued beside {_name(others[0])}, which is {others[0].state} ({now})"


def what_waits_waits_for_something(memory: Memory, commit: Commit) -> Iterator[str]:
    """Whenever a run waits, another is at work after whose end it goes on, or its schedule is paused."""
    for key in {run.schedule_key for pair in commit.runs for run in pair if run} | {
        schedule.key for pair in commit.schedules for schedule in pair if schedule
    }:
        schedule = memory.mirror.schedules.get(key)
        for lane in (0, 1):
            runs = memory.mirror.open_of(key, lane) if schedule else []
            if schedule is None or not runs or any(run.state in WORKING for run in runs):
                continue
            held = any(run.state == "held" for run in runs)
            if not (held and schedule.state == "paused" and lane == 0):
                yield f"{_name(runs[0])} is {runs[0].state}, and nothing of {schedule.id} ({schedule.state}) is at work"


def a_schedule_that_is_not_active_queues_nothing(memory: Memory, commit: Commit) -> Iterator[str]:
    """No occurrence of a paused or deleted schedule becomes a run."""
    was_paused = {after.key for before, after in commit.schedules if before and after and before.state == "paused"}
    for before, after in commit.runs:
        if before is None and after is not None and after.trigger_type == "schedule":
            schedule = memory.mirror.schedules[after.schedule_key]
            paused = schedule.state == "paused" and after.schedule_key in was_paused
            if after.state not in FINAL_STATES and (paused or schedule.deleted_at is not None):
                yield f"{_name(after)} becomes a run, though its schedule is paused or deleted"


def completed_means_nothing_is_left(memory: Memory, commit: Commit) -> Iterator[str]:
    """A schedule becomes completed only when it has no time to come and no live run that is open."""
    for before, after in commit.schedules:
        if after is None or after.state != "completed" or (before is not None and before.state == "completed"):
            continue
        runs = memory.mirror.open_of(after.key)
        if after.next_nominal_at is not None or runs:
            yield f"{after.id} is completed; next {after.next_nominal_at}, open {[_name(run) for run in runs]}"


def a_stale_result_is_refused(memory: Memory, commit: Commit) -> Iterator[str]:
    """A worker ends an attempt only under the token that its run carries."""
    tokens: dict[int, set[str]] = {}
    for run_key, token in commit.results:
        tokens.setdefault(run_key, set()).add(token)
    for before, after in commit.runs:
        if before is None or after is None or before.key not in tokens or before.state != "running":
            continue
        if after.state != "running" and before.lease_token not in tokens[before.key]:
            yield f"attempt {before.attempt} of {_name(before)} was ended by another one's result"


def only_an_expired_lease_is_taken(memory: Memory, commit: Commit) -> Iterator[str]:
    """An attempt counts as lost only once its lease is over."""
    for before, after in commit.runs:
        if before is None or after is None or after.losses <= before.losses:
            continue
        if before.lease_until is None or before.lease_until >= commit.now:
            yield f"attempt {before.attempt} of {_name(before)} was taken for lost under a lease that held"


def losses_have_an_end(memory: Memory, commit: Commit) -> Iterator[str]:
    """A run is lost five times at most, and counts no more attempts than were begun."""
    for _, after in commit.runs:
        if after is None:
            continue
        if after.losses > MAX_LOSSES or (after.losses == MAX_LOSSES and after.state not in FINAL_STATES):
            yield f"{_name(after)} was lost {after.losses} times and is {after.state}"
        counted = after.attempt - after.losses - after.released
        most = memory.most_attempts.get(after.schedule_key, 0)
        if counted > most:
            yield f"{_name(after)} has {counted} attempts of {most}"


def the_streak_counts_failures_in_a_row(memory: Memory, commit: Commit) -> Iterator[str]:
    """The streak is the number of live runs that failed since one succeeded, or since a person's update or resume."""
    for key, verbs in commit.verbs.items():
        if {"redefined", "resumed", "created"} & set(verbs):
            memory.streaks[key] = 0
    for before, after in commit.runs:
        if before is None or after is None or before.state != "running" or after.lane == 1:
            continue
        if after.state == "succeeded":
            memory.streaks[after.schedule_key] = 0
        elif after.state in {"failed", "timed_out"} and after.reason != "lost":
            memory.streaks[after.schedule_key] = memory.streaks.get(after.schedule_key, 0) + 1
    for key in {a.key for _, a in commit.schedules if a} | {a.schedule_key for _, a in commit.runs if a}:
        schedule = memory.mirror.schedules[key]
        if schedule.failure_streak != memory.streaks.get(key, 0):
            yield f"{schedule.id} counts {schedule.failure_streak}, it was {memory.streaks.get(key, 0)}"


def only_own_runs_count(memory: Memory, commit: Commit) -> Iterator[str]:
    """`max_runs` counts the occurrences that became runs, each once, and nothing else, and is kept.

    What waited and was skipped for a newer one became none.
    """
    for before, after in commit.runs:
        if before is not None and after is not None and before.state == "buffered" and after.state == "skipped":
            memory.made[after.schedule_key] -= 1
        if before is not None or after is None or after.trigger_type != "schedule" or after.state in DROPPED:
            continue
        memory.made[after.schedule_key] = memory.made.get(after.schedule_key, 0) + 1
    for key in {a.key for _, a in commit.schedules if a} | {a.schedule_key for _, a in commit.runs if a}:
        schedule, made = memory.mirror.schedules[key], memory.made.get(key, 0)
        if schedule.runs_made != made and schedule.deleted_at is None:
            yield f"{schedule.id} counts {schedule.runs_made} runs, it made {made}"


def nothing_is_written_ahead_of_time(memory: Memory, commit: Commit) -> Iterator[str]:
    """Whatever the database's clock says: no cursor, run or lease is further than a small jump ahead of the time."""
    latest = memory.right() + AHEAD
    for _, schedule in commit.schedules:
        if schedule is not None and schedule.cursor_at > latest:
            yield f"{schedule.id} is planned to {schedule.cursor_at}, at {memory.right()}"
    for _, run in commit.runs:
        if run is not None and max(run.queued_at, (run.lease_until or 0) - LONGEST_LEASE) > latest:
            yield f"{_name(run)} is queued at {run.queued_at}, leased until {run.lease_until}, at {memory.right()}"


def only_what_cannot_be_planned_is_set_aside(memory: Memory, commit: Commit) -> Iterator[str]:
    """A schedule goes to state error only if it cannot be planned: its neighbours never notice."""
    for before, after in commit.schedules:
        set_aside = after is not None and after.state == "error" and (before is None or before.state != "error")
        if after is not None and set_aside and after.triggers != POISON:
            yield f"{after.id} is set aside for nothing"


# At every request


def a_run_has_one_key(memory: Memory, dispatched: Dispatched, run: RunNow) -> Iterator[str]:
    """All requests for an occurrence carry the same key, and no two the same attempt."""
    known = memory.keys.setdefault(_occurrence(run), dispatched.key)
    if known != dispatched.key:
        yield f"{_name(run)} comes under {dispatched.key}, before it was {known}"
    if dispatched.attempt in memory.requests.get(dispatched.run_id, ()):
        yield f"attempt {dispatched.attempt} of {_name(run)} comes twice, now from {dispatched.replica}"


def at_most_once_is_kept(memory: Memory, dispatched: Dispatched, run: RunNow) -> Iterator[str]:
    """After a request that may be made only once, there is no other for its run."""
    for earlier in memory.requests.get(dispatched.run_id, ()):
        if earlier < dispatched.attempt and memory.delivery.get((dispatched.run_id, earlier)) == "at_most_once":
            yield f"{_name(run)} was to be sent only once, and comes again as attempt {dispatched.attempt}"


# In the end, when nothing has failed for a while


def every_run_comes_to_its_end(memory: Memory, stopped_at: int) -> Iterator[str]:
    """What was open when the faults stopped has ended."""
    for run in memory.mirror.runs.values():
        if run.state not in FINAL_STATES and run.queued_at <= stopped_at:
            yield f"{_name(run)} is still {run.state}"


def what_is_over_is_completed(memory: Memory, stopped_at: int) -> Iterator[str]:
    """A schedule without a time to come and without an open run is completed."""
    for schedule in memory.mirror.schedules.values():
        left = schedule.next_nominal_at is not None or memory.mirror.open_of(schedule.key)
        if schedule.deleted_at is None and schedule.state == "active" and not left:
            yield f"{schedule.id} has nothing left and is active"


def the_ledger_is_what_the_rules_say(memory: Memory, stopped_at: int) -> Iterator[str]:
    """Of schedules whose rules nobody has changed, the rows are exactly what counting by hand gives."""
    yield from disagreements(memory.mirror, memory.retimed, stopped_at)


AFTER_A_COMMIT: tuple[Callable[[Memory, Commit], Iterator[str]], ...] = (
    an_occurrence_has_one_row,
    a_stale_result_is_refused,
    runs_move_as_the_table_allows,
    what_does_not_run_has_a_reason,
    the_cursor_never_goes_back,
    nothing_overlaps,
    what_waits_waits_for_something,
    a_schedule_that_is_not_active_queues_nothing,
    completed_means_nothing_is_left,
    only_an_expired_lease_is_taken,
    losses_have_an_end,
    the_streak_counts_failures_in_a_row,
    only_own_runs_count,
    nothing_is_written_ahead_of_time,
    only_what_cannot_be_planned_is_set_aside,
)
AT_A_REQUEST = (a_run_has_one_key, at_most_once_is_kept)
IN_THE_END = (every_run_comes_to_its_end, what_is_over_is_completed, the_ledger_is_what_the_rules_say)


def judge_commit(memory: Memory, commit: Commit) -> None:
    """Raise Violation for the first invariant that a commit breaks."""
    _remember(memory, commit)
    for invariant in AFTER_A_COMMIT:
        if memory.only and invariant.__name__ not in memory.only:
            continue
        for text in invariant(memory, commit):
            raise Violation(invariant.__name__, text)


def _remember(memory: Memory, commit: Commit) -> None:
    for _, schedule in commit.schedules:
        if schedule is not None:
            most = memory.most_attempts.get(schedule.key, 0)
            memory.most_attempts[schedule.key] = max(most, schedule.most_attempts)
    for before, after in commit.schedules:
        if after is not None and before is not None and before.triggers == POISON and after.key in commit.verbs:
            memory.retimed.add(after.key)
            memory.unreadable.add(after.id)
    memory.retimed.update(key for key, verbs in commit.verbs.items() if "updated" in verbs)
    for _, run in commit.runs:
        if run is not None and run.state == "running":
            memory.delivery.setdefault((run.id, run.attempt), run.delivery)


def judge_request(memory: Memory, dispatched: Dispatched) -> None:
    """Raise Violation for the first invariant that a request breaks."""
    run = next((run for run in memory.mirror.runs.values() if run.id == dispatched.run_id), None)
    if run is None:
        return  # pruned meanwhile, under a worker that was away
    for invariant in AT_A_REQUEST:
        for text in invariant(memory, dispatched, run):
            raise Violation(invariant.__name__, text)
    memory.requests.setdefault(dispatched.run_id, set()).add(dispatched.attempt)


def judge_end(memory: Memory, stopped_at: int) -> None:
    """Raise Violation for the first invariant that the end breaks."""
    for invariant in IN_THE_END:
        for text in invariant(memory, stopped_at):
            raise Violation(invariant.__name__, text)


def _occurrence(run: RunNow) -> tuple[int, int, str]:
    return run.schedule_key, run.nominal_at, run.backfill_id


def _name(run: RunNow) -> str:
    return f"{run.trigger_type} run {run.id[-6:]} of schedule {run.schedule_key} at {run.nominal_at}"
