"""Facts, emitted once where they become true; logs and metrics subscribe and word them elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that has happened."""


@dataclass(frozen=True, slots=True)
class ProcessStateChanged(Fact):
    """A process moved to `state`; `milliseconds` since it was asked to start."""

    service: str
    state: str
    milliseconds: float


@dataclass(frozen=True, slots=True)
class ProcessDraining(Fact):
    """A process was asked to stop and finishes what it has begun."""

    service: str
    reason: str


@dataclass(frozen=True, slots=True)
class ProcessDied(Fact):
    """A background process ended although nobody had asked it to."""

    service: str
    exit_code: int | None


@dataclass(frozen=True, slots=True)
class ProcessRestarting(Fact):
    """A process that died will be started again after `pause` seconds; it died so many times lately."""

    service: str
    deaths: int
    pause: float


@dataclass(frozen=True, slots=True)
class ProcessKilled(Fact):
    """A background process did not stop within the grace and was killed."""

    service: str
    after_seconds: float


@dataclass(frozen=True, slots=True)
class Listening(Fact):
    """The API can be reached at `url`; the admin key is in `key_file`."""

    url: str
    key_file: str


@dataclass(frozen=True, slots=True)
class WorkerListening(Fact):
    """Health and metrics of a worker alone can be asked for at `url`."""

    url: str


@dataclass(frozen=True, slots=True)
class ScheduleChanged(Fact):
    """A schedule was created, updated, paused, resumed, deleted or completed."""

    namespace: str
    schedule_id: str
    change: str
    by: str


@dataclass(frozen=True, slots=True)
class CalendarChanged(Fact):
    """A named calendar was put, with so many days, and so many schedules planned anew; or deleted, with none."""

    namespace: str
    calendar_id: str
    days: int
    schedules: int
    by: str


@dataclass(frozen=True, slots=True)
class NamespaceChanged(Fact):
    """A namespace was created, updated or deleted."""

    namespace: str
    verb: str
    by: str


@dataclass(frozen=True, slots=True)
class KeyChanged(Fact):
    """A key was created, rotated or revoked. `namespace` None: one for all of them."""

    namespace: str | None
    key_id: str
    verb: str
    by: str


@dataclass(frozen=True, slots=True)
class SchedulesChanged(Fact):
    """Many schedules were changed at once; `verbs` counts what happened."""

    namespace: str
    verbs: dict[str, int]
    by: str


@dataclass(frozen=True, slots=True)
class ScheduleRetimed(Fact):
    """The time zone database changed the next time of a schedule. Instants in microseconds; None: no time is left."""

    namespace: str
    schedule_id: str
    before: int | None
    after: int | None
    tzdata: str


@dataclass(frozen=True, slots=True)
class TzdataChanged(Fact):
    """All schedules have been planned anew by another release of the time zone database than before."""

    before: str
    after: str
    schedules: int


@dataclass(frozen=True, slots=True)
class OccurrencesRecorded(Fact):
    """One turn of the engine wrote these many runs and these many occurrences that will not run."""

    schedules: int
    runs: int
    dropped: int
    milliseconds: float


@dataclass(frozen=True, slots=True)
class ScheduleQuarantined(Fact):
    """Planning a schedule raised; it is in state `error` until `retry_at`, alone."""

    namespace: str
    schedule_id: str
    error: str
    retry_at: int


@dataclass(frozen=True, slots=True)
class OverlapStreak(Fact):
    """So many occurrences in a row were skipped because a run of the schedule was still open."""

    namespace: str
    schedule_id: str
    skips: int


@dataclass(frozen=True, slots=True)
class BackfillStarted(Fact):
    """Runs for a past range were recorded on request."""

    namespace: str
    schedule_id: str
    backfill_id: str
    runs: int
    by: str


@dataclass(frozen=True, slots=True)
class SchedulePaused(Fact):
    """A schedule paused itself after a streak of failures."""

    namespace: str
    schedule_id: str
    note: str


@dataclass(frozen=True, slots=True)
class RunsClaimed(Fact):
    """A worker holds a lease on these many runs."""

    worker: str
    runs: int


@dataclass(frozen=True, slots=True)
class AttemptFinished(Fact):
    """An attempt ended and was recorded; `run_state` is what its run is now."""

    namespace: str
    schedule_id: str
    run_id: str
    attempt: int
    target: str
    outcome: str
    run_state: str
    error: str | None
    nominal_at: int
    scheduled_at: int
    started_at: int
    finished_at: int


@dataclass(frozen=True, slots=True)
class LeaseLost(Fact):
    """The result of an attempt was refused, because its lease had passed to somebody else."""

    run_id: str
    attempt: int
    worker: str


@dataclass(frozen=True, slots=True)
class AttemptsReaped(Fact):
    """Leases of workers that fell silent were taken back."""

    requeued: int
    dead: int


@dataclass(frozen=True, slots=True)
class LedgerAudited(Fact):
    """The ledgers' last hour was compared with the occurrences that there should be; none missing, none doubled."""

    schedules: int
    expected: int
    missing: int
    doubled: int
    examples: str
    """Some that are missing or doubled."""
    milliseconds: float


@dataclass(frozen=True, slots=True)
class ClockHeld(Fact):
    """The database's clock, `now`, has jumped so many seconds ahead; the engine waits. Told again every minute."""

    ahead_seconds: float
    now: int


@dataclass(frozen=True, slots=True)
class ClockTrusted(Fact):
    """The database's clock has come back, and the engine goes on."""


@dataclass(frozen=True, slots=True)
class LoopFailed(Fact):
    """A turn of a loop raised; the loop goes on after a pause."""

    loop: str
    error: str
    traceback: str


@dataclass(frozen=True, slots=True)
class RequestAnswered(Fact):
    """The API answered; `milliseconds` until the answer began, `at` the instant of its end by this machine's clock.

    `route` is the template, empty where none fits; so are `by` without a key, `traceparent` if none came, `run_id` if
    no run was started.
    """

    method: str
    route: str
    status: int
    milliseconds: float
    by: str
    request_id: str
    at: int
    traceparent: str
    run_id: str


@dataclass(frozen=True, slots=True)
class LimitReached(Fact):
    """A request was refused with 429; `limit` is the quota's name, or `requests_per_second`."""

    namespace: str
    limit: str


@dataclass(frozen=True, slots=True)
class TracesUnavailable(Fact):
    """Traces were asked for, but what writes them is not installed."""

    fix: str


@dataclass(frozen=True, slots=True)
class DatabaseAwaited(Fact):
    """The database did not answer while we start; it is asked again after `pause` seconds."""

    error: str
    pause: float


Subscriber = Callable[[Fact], None]


class Events:
    """Hands each fact to every subscriber, in the order they came."""

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call `subscriber` with every fact from now on; it must be quick and must not raise."""
        self._subscribers.append(subscriber)

    def emit(self, fact: Fact) -> None:
        """Tell all subscribers."""
        for subscriber in self._subscribers:
            subscriber(fact)
