"""Draws from a seed what there is and what will happen, as plain values that can be left out one by one."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from backend.model.instants import DAY, MINUTE, SECOND, rfc3339
from tests.simulation.wall_clocks import Turn, turns

EPOCH = 1_800_000_000 * SECOND // DAY * DAY
OVERLAPS = ("skip", "skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all")
MISFIRES = ("fire_once", "fire_once", "skip", "fire_all")
CRONS = ("* * * * *", "*/2 * * * *", "*/20 * * * * *", "1-59/3 * * * *", "15,45 * * * * *", "30 */5 * * * *")
FIXED_MINUTES = ("0-59", "0-59/2", "0,30,59", "30", "0", "0,20 0-59")
ACTS = (
    *("trigger",) * 3,
    *("cancel",) * 3,
    *("retry",) * 2,
    *("update",) * 5,
    *("pause",) * 4,
    *("resume",) * 5,
    *("delete",) * 2,
    *("create",) * 3,
    *("backfill",) * 2,
    *("calendar",) * 2,
)


class Act(NamedTuple):
    """What a person does, at a second of the simulation. `seed` decides the rest when it is done."""

    at: float
    verb: str
    schedule: str
    seed: str


class Trouble(NamedTuple):
    """What befalls a replica: `crash` (begins anew after `length` seconds), `freeze`, `drain`; or somebody else.

    The database's `clock` jumps by `length`, so little that it is taken as it comes; or it is `wrong` by `length`, far
    more than that, for a while; or one of the schedules cannot be planned (`poison`), for `length` seconds or, with 0,
    for ever.
    """

    at: float
    kind: str
    replica: int
    length: float


class Rates(NamedTuple):
    """How often, of commits: the operation never runs; is undone; its answer is lost; its caller is frozen."""

    before: float = 0.0
    undone: float = 0.0
    unknown: float = 0.0
    frozen: float = 0.0


@dataclass(frozen=True)
class Scenario:
    """Everything about one seed. Lengths in seconds, `start` in microseconds."""

    seed: str
    start: int
    horizon: float
    lease: float
    poll: float
    batch: int
    replicas: int
    concurrency: int
    ids: tuple[str, ...]
    acts: tuple[Act, ...]
    troubles: tuple[Trouble, ...]
    rates: Rates
    misbehaviour: float
    """Which part of the targets' answers is not a quick success."""
    slowness: float
    """How much longer than a second or two a good answer takes."""
    keep: float | None
    """How long ended runs are kept; None: longer than the simulation."""
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    turn: Turn | None = None
    """In whose zone the schedules are, and when its clocks change meanwhile; None: all is in UTC."""


def draw(seed: str) -> Scenario:
    """Draw a scenario."""
    rng = Random(seed)
    horizon = rng.choice((120.0, 180.0, 240.0, 360.0))
    start = EPOCH + rng.randrange(300) * DAY + rng.randrange(DAY // SECOND) * SECOND
    if rng.random() < 0.4:  # around midnight, where calendars change their mind
        start = start // DAY * DAY + DAY - int(horizon * SECOND) // 2
    turn = rng.choice(turns(EPOCH, EPOCH + 300 * DAY)) if rng.random() < 0.3 else None
    if turn is not None:
        start = turn.at - int(horizon * rng.uniform(0.1, 0.9)) * SECOND
    start += rng.randrange(SECOND)
    ids = tuple(f"s{n}" for n in range(rng.randint(1, 4)))
    replicas = rng.choice((1, 2, 2, 3))
    lease = rng.choice((20.0, 30.0, 45.0))
    quiet = rng.random() < 0.1
    return Scenario(
        seed=seed,
        start=start,
        horizon=horizon,
        lease=lease,
        poll=rng.choice((10.0, 20.0, 30.0)),
        batch=rng.choice((1, 3, 1000)),
        replicas=replicas,
        concurrency=rng.choice((1, 2, 4)),
        ids=ids,
        acts=tuple(sorted(_act(rng, ids, horizon, f"{seed}/act/{n}") for n in range(rng.choice((0, 4, 8, 16))))),
        troubles=tuple(sorted(_trouble(rng, replicas, lease, horizon) for _ in range(rng.choice((0, 1, 3, 6))))),
        rates=Rates() if quiet else _rates(rng),
        misbehaviour=rng.choice((0.1, 0.4, 0.8)),
        slowness=rng.choice((1, 1, 8, 20)),
        keep=rng.choice((None, None, None, 40.0)),
        documents={id_: document(Random(f"{seed}/{id_}"), id_, start, turn) for id_ in ids},
        turn=turn,
    )


def _rates(rng: Random) -> Rates:
    before, undone, unknown = (rng.choice((0, 0.02, 0.06)) for _ in range(3))
    return Rates(before, undone, unknown, rng.choice((0, 0.03, 0.06)))


def _act(rng: Random, ids: tuple[str, ...], horizon: float, seed: str) -> Act:
    return Act(rng.uniform(0, horizon), rng.choice(ACTS), rng.choice(ids), seed)


def _trouble(rng: Random, replicas: int, lease: float, horizon: float) -> Trouble:
    kind = rng.choice(("crash", "crash", "freeze", "freeze", "drain", "clock", "wrong", "poison"))
    match kind:
        case "clock":
            length = rng.uniform(-30, 30)
        case "wrong":
            length = rng.choice((500.0, 7200.0, 34_560_000.0, -500.0, -900.0))
        case "poison":
            length = rng.choice((0.0, 15.0, 60.0, 120.0))
        case _:
            length = rng.choice((0.3, 1.2, 2.0, 4.0)) * lease
    return Trouble(rng.uniform(0, horizon), kind, rng.randrange(replicas), length)


def document(rng: Random, id_: str, now: int, turn: Turn | None) -> dict[str, Any]:
    """Draw a definition, as a person would write it."""
    found: dict[str, Any] = {
        "id": id_,
        "triggers": [_trigger(rng, now, turn) for _ in range(rng.choice((1, 1, 1, 2)))],
        "target": {"kind": "http", "url": "https://target.example/"},
        "overlap_policy": rng.choice(OVERLAPS),
        "misfire_policy": rng.choice(MISFIRES),
        "misfire_threshold": rng.choice((0, 5, 60)),
        "catchup_window": rng.choice((60, 300, 31_536_000)),
        "delivery": rng.choice(("at_least_once", "at_least_once", "at_most_once")),
        "timeout": rng.choice((5, 20, 90)),
        "pause_after_failures": rng.choice((0, 1, 3, 5)),
        "retry": {"max_attempts": rng.randint(1, 4), "initial": rng.choice((0, 2, 10)), "maximum": 20},
    }
    if rng.random() < 0.25:
        found["jitter"] = rng.choice((1, 8, 30))
    if rng.random() < 0.2:
        found["max_runs"] = rng.randint(1, 8)
    if rng.random() < 0.2:
        found["end_at"] = rfc3339(now + rng.randint(40, 300) * SECOND)
    if rng.random() < 0.15:
        found["start_at"] = rfc3339(now + rng.randint(1, 90) * SECOND)
    if rng.random() < 0.3:
        found["exclusions"] = [_exclusion(rng, now)]
    return found


def _trigger(rng: Random, now: int, turn: Turn | None) -> dict[str, Any]:
    if turn is not None and rng.random() < 0.7:
        return _zoned(rng, turn)
    match rng.randrange(10):
        case 0:
            return {"kind": "once", "at": rfc3339(now // SECOND * SECOND + rng.randint(-20, 200) * SECOND)}
        case 1 | 2 | 3:
            return {"kind": "cron", "expression": rng.choice(CRONS)}
        case _:
            return {"kind": "interval", "every": rng.choice((7, 15, 15, 30, 30, 60, 100))}


def _zoned(rng: Random, turn: Turn) -> dict[str, Any]:
    """Draw a rule for the hours around the change: mostly fixed times, some of which do not exist, or come twice."""
    found: dict[str, Any] = {"kind": "cron", "expression": rng.choice(CRONS), "timezone": turn.zone}
    if rng.random() < 0.7:
        hours = rng.choice((turn.hours[:2], turn.hours[:1], turn.hours[1:2], turn.hours[-1:]))
        found["expression"] = f"{rng.choice(FIXED_MINUTES)} {','.join(map(str, hours))} * * *"
    if rng.random() < 0.5:
        found |= {"dst_gap": rng.choice(("shift", "skip")), "dst_overlap": rng.choice(("first", "second", "both"))}
    return found


def _exclusion(rng: Random, now: int) -> dict[str, Any]:
    match rng.randrange(3):
        case 0:
            return {"kind": "calendar", "calendar": "holidays"}
        case 1:
            begin = now // MINUTE * MINUTE + rng.randint(-2, 5) * MINUTE
            until = begin + rng.randint(1, 4) * MINUTE
            return {"kind": "range", "from": rfc3339(begin)[:-1], "to": rfc3339(until)[:-1]}
        case _:
            return {"kind": "date", "dates": [rfc3339(now + rng.choice((0, DAY)))[:10]]}
