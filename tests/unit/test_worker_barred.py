"""A mixed fleet: workers whose settings differ share one database, with real targets."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.engine.retry import UNABLE
from backend.errors import ClockAhead
from backend.events import AttemptFinished, RunDeclined
from backend.model.instants import SECOND
from backend.targets.abilities import NONE, abilities_of, read_abilities, write_abilities
from backend.targets.base import TargetRules, Tools
from backend.worker.loop import Worker, WorkerConfig
from tests.unit.worker_world import LEASE, World, until, world

pytestmark = pytest.mark.anyio

COMMAND = {"kind": "command", "argv": [sys.executable, "-c", "print('done')"]}
PLAIN = {"kind": "python", "callable": "tests.unit.pytargets.jobs:plain"}
STRICT = TargetRules(allow_commands=False, allow_private_urls=False)


@asynccontextmanager
async def workers(w: World, **rules: TargetRules) -> AsyncIterator[dict[str, Worker]]:
    async with AsyncExitStack() as stack:
        found = {}
        for name, allowed in rules.items():
            tools = await stack.enter_async_context(Tools.open(allowed))
            worker = Worker(w.store.worker(), tools, WorkerConfig(name, 8, LEASE), clock=w.clock, events=w.events)
            found[name] = await stack.enter_async_context(worker.serving())
        for worker in [*found.values(), *found.values()]:  # twice, so that the first has met the last
            await worker._beat_turn()
        yield found


async def turn(worker: Worker) -> None:
    await worker.turn()
    await until(lambda: worker.active == 0)


async def prepared(w: World, **fields: Any) -> None:
    await w.put(**fields)
    await w.due()


async def test_a_command_waits_for_the_worker_that_may_run_it_and_no_other_touches_it(tmp_path: Path) -> None:
    lenient = TargetRules(allow_commands=True, allow_private_urls=False)
    async with world(tmp_path) as w, workers(w, strict=STRICT, lenient=lenient) as found:
        await prepared(w, target=COMMAND)
        await turn(found["strict"])
        assert await w.history() == ("queued", [])
        await turn(found["lenient"])
        assert await w.history() == ("succeeded", ["succeeded"])
        assert (await w.run()).attempts[0].worker == "lenient"
        assert w.told(RunDeclined) == 0


async def test_a_callable_of_a_module_that_only_another_worker_allows_is_given_back_to_it(tmp_path: Path) -> None:
    other = TargetRules(allow_commands=False, allow_private_urls=False, python_prefixes=("app.jobs",))
    able = TargetRules(allow_commands=False, allow_private_urls=False, python_prefixes=("tests.unit",))
    async with world(tmp_path) as w, workers(w, other=other, able=able) as found:
        await prepared(w, target=PLAIN)
        await turn(found["other"])
        record = await w.run()
        assert (record.run.state, record.run.attempt, record.attempts) == ("retrying", 0, ())
        assert record.run.error is not None
        assert record.run.error.startswith("worker other may not run this (tests.unit.pytargets.jobs is not below")
        assert "SCHEDULER_PYTHON_TARGETS" in record.run.error
        assert record.run.error.endswith("it waits for able")
        w.clock.advance(1)
        await turn(found["other"])
        assert w.told(RunDeclined) == 1, "who has given it back is not offered it again"
        await turn(found["able"])
        assert await w.history() == ("succeeded", ["succeeded"])
        assert (w.told(RunDeclined), w.told(AttemptFinished)) == (1, 1)


async def test_a_private_address_is_left_to_the_worker_that_may_send_there(tmp_path: Path) -> None:
    lenient = TargetRules(allow_commands=False, allow_private_urls=True)
    async with world(tmp_path) as w, workers(w, strict=STRICT, lenient=lenient) as found:
        w.gate.open.set()
        await prepared(w)
        await turn(found["strict"])
        assert (await w.run()).run.error == (
            "worker strict may not run this (blocked: 127.0.0.1 is at a loopback address; "
            "set SCHEDULER_ALLOW_PRIVATE_URLS=true on the server); it waits for lenient"
        )
        w.clock.advance(1)
        await turn(found["strict"])
        assert w.told(RunDeclined) == 1, "who has given it back is not offered it again"
        await turn(found["lenient"])
        assert await w.history() == ("succeeded", ["succeeded"])


async def test_a_run_whose_worker_has_left_after_it_was_given_back_for_it_fails_in_the_end(tmp_path: Path) -> None:
    able = TargetRules(allow_commands=False, allow_private_urls=False, python_prefixes=("tests.unit",))
    other = replace(able, python_prefixes=("app.jobs",))
    async with world(tmp_path) as w:
        async with workers(w, other=other, able=able) as found:
            await prepared(w, target=PLAIN)
            await turn(found["other"])
            assert ((await w.run()).run.error or "").endswith("it waits for able")
            await found["able"].drain(0)
            await found["other"].drain(0)
        async with workers(w, third=other) as found:
            for _ in range(10):
                w.clock.advance(UNABLE / SECOND / 4)
                await found["third"]._beat_turn()
                await turn(found["third"])
            record = await w.run()
        assert (record.run.state, record.attempts) == ("failed", ())
        assert (record.run.error or "").startswith("no worker may run this; worker third")


async def lone_turn(w: World, worker: Worker) -> None:
    """Claim a lease and more after the start, with heartbeats all the while."""
    for _ in range(4):
        w.clock.advance(LEASE.total_seconds() / 3)
        await worker._beat_turn()
    await turn(worker)


async def test_a_private_address_that_a_lone_worker_may_not_send_to_fails_at_once(tmp_path: Path) -> None:
    async with world(tmp_path) as w, workers(w, strict=STRICT) as found:
        await prepared(w)
        await found["strict"]._beat_turn()  # the hour until it was due passed at once, like an outage
        await lone_turn(w, found["strict"])
        assert await w.history() == ("failed", ["failed"])
        error = (await w.run()).run.error or ""
        assert error.startswith("blocked: 127.0.0.1 is at a loopback address")
        assert "SCHEDULER_ALLOW_PRIVATE_URLS" in error
        assert "worker strict" in error


async def test_a_private_address_waits_when_who_may_send_there_fell_silent_of_late(tmp_path: Path) -> None:
    lenient = TargetRules(allow_commands=False, allow_private_urls=True)
    async with world(tmp_path) as w, workers(w, strict=STRICT, lenient=lenient) as found:
        w.gate.open.set()
        await w.put()
        await w.due(3600)
        w.execute("update workers set seen_at = seen_at + 3540000000 where name = 'lenient'")  # the last of its beats
        await found["strict"]._beat_turn()
        await lone_turn(w, found["strict"])
        assert await w.history() == ("retrying", [])
        assert ((await w.run()).run.error or "").startswith("blocked: 127.0.0.1")
        await found["lenient"]._beat_turn()
        w.clock.advance(1)
        await turn(found["lenient"])
        assert await w.history() == ("succeeded", ["succeeded"])


async def test_who_comes_back_from_a_long_outage_does_not_take_itself_for_alone(tmp_path: Path) -> None:
    async with world(tmp_path) as w, workers(w, strict=STRICT) as found:
        await lone_turn(w, found["strict"])
        await prepared(w)
        await turn(found["strict"])
        assert await w.history() == ("retrying", [])
        w.clock.advance(1)
        await found["strict"]._beat_turn()
        await turn(found["strict"])
        assert await w.history() == ("retrying", [])


async def test_a_private_address_that_none_of_several_workers_may_send_to_fails_after_a_while(tmp_path: Path) -> None:
    async with world(tmp_path) as w, workers(w, strict=STRICT, other=STRICT) as found:
        await prepared(w)
        for _ in range(5):
            await found["other"]._beat_turn()
            await found["strict"]._beat_turn()
            assert await w.history() in [("queued", []), ("retrying", [])]
            await turn(found["strict"])
            assert ((await w.run()).run.error or "").startswith("blocked: 127.0.0.1 is at a loopback address")
            w.clock.advance(UNABLE / SECOND / 4)
        assert await w.history() == ("failed", [])


async def test_orphans_are_left_alone_while_the_clock_is_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path) as w, workers(w, strict=STRICT) as found:
        await prepared(w, target=COMMAND)
        await found["strict"]._beat_turn()

        async def ahead(*_: Any) -> None:
            raise ClockAhead(600 * SECOND, w.clock.instant)

        monkeypatch.setattr(type(w.store.worker()), "claim_orphans", ahead)
        assert await found["strict"].turn() > 0


async def test_what_no_worker_may_run_says_so_at_once_and_fails_when_none_comes(tmp_path: Path) -> None:
    async with world(tmp_path) as w, workers(w, strict=STRICT) as found:
        await prepared(w, target=COMMAND)
        text = "no worker may run this; worker strict: commands are switched off; set SCHEDULER_ALLOW_COMMANDS=true"
        record = await w.run()
        while record.run.state != "failed":
            await found["strict"]._beat_turn()
            await turn(found["strict"])
            record = await w.run()
            assert (record.run.error or "").startswith(text)
            w.clock.advance(UNABLE / SECOND / 4)
        assert (record.run.state, record.run.attempt, record.attempts) == ("failed", 0, ())
        assert w.told(AttemptFinished) == 0


def test_abilities_are_read_as_they_were_written_and_nonsense_as_none() -> None:
    rules = TargetRules(allow_commands=True, allow_private_urls=True, python_prefixes=("a", "b.c"))
    assert read_abilities(write_abilities(abilities_of(rules))) == abilities_of(rules)
    assert abilities_of(rules).kinds == ("http", "http:private", "command", "python", "python:a", "python:b.c")
    for text in ("", "{}", "[]", "null", '{"kinds": 7}', '{"python_prefixes": null}'):
        assert read_abilities(text) == NONE
