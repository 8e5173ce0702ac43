"""The command target with real processes."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
from pydantic import ValidationError

from backend.errors import FieldError
from backend.model.ids import RunId
from backend.model.run import Dispatch
from backend.targets import child
from backend.targets.base import Failed, Outcome, Succeeded, TargetRules, Tools
from backend.targets.command import CommandTarget
from backend.targets.registry import parse_target

pytestmark = pytest.mark.anyio

RULES = TargetRules(allow_commands=True, allow_private_urls=False)
BASE = {"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": "/"}
DEADLINE = 20


def dispatch(**changes: Any) -> Dispatch:
    values: dict[str, Any] = {
        "run_id": RunId("0190a000-0000-7000-8000-000000000001"),
        "schedule_id": "nightly",
        "namespace": "default",
        "trigger_type": "schedule",
        "nominal_at": 1_764_579_600_000_000,
        "scheduled_at": 1_764_579_600_000_000,
        "attempt": 2,
        "timeout": 15.0,
        "input": {},
        "missed_count": 0,
        "missed_first_at": None,
        "missed_last_at": None,
    }
    return Dispatch(**(values | changes))


async def run(*argv: str, given: Mapping[str, Any] | None = None, **fields: Any) -> Outcome:
    async with asyncio.timeout(DEADLINE), Tools.open(RULES, base_env=BASE) as tools:
        return await CommandTarget(argv=argv, **fields).perform(dispatch(input=dict(given or {})), tools)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - other processes set no event of ours
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def pids(path: Path) -> list[int]:
    return [int(word) for word in path.read_text().split()] if path.exists() else []


async def test_exit_0_succeeds_with_both_streams_as_output() -> None:
    outcome = await run("/bin/sh", "-c", "echo out; echo err >&2; printf 'a\\000b\\377'")
    assert outcome == Succeeded("out\nerr\nab\ufffd", truncated=False, status_code=0)


async def test_another_exit_code_fails_with_the_last_line() -> None:
    outcome = await run("/bin/sh", "-c", "echo first; echo 'disk  full\033[0m'; echo; exit 3")
    assert isinstance(outcome, Failed)
    assert outcome.error == "exited with 3: disk  full [0m"
    assert (outcome.permanent, outcome.status_code) == (False, 3)
    assert outcome.output.startswith("first\n")


async def test_a_signal_is_named() -> None:
    outcome = await run("/bin/sh", "-c", "kill -SEGV $$")
    assert outcome == Failed("was killed by SIGSEGV", permanent=False)


async def test_no_shell_reads_the_arguments() -> None:
    assert await run("/bin/echo", "$HOME; `id` *") == Succeeded("$HOME; `id` *\n", truncated=False, status_code=0)


async def test_the_environment_is_the_minimum_and_says_which_run_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_SECRET", "x")
    outcome = await run("/usr/bin/env", env={"MINE": "1", "LANG": "de"})
    assert isinstance(outcome, Succeeded)
    found = dict(line.split("=", 1) for line in outcome.output.splitlines())
    assert found.pop("SCHEDULER_WARD")
    assert found == {
        "PATH": os.defpath,
        "HOME": "/",
        "LANG": "de",
        "MINE": "1",
        "SCHEDULER_RUN_ID": "0190a000-0000-7000-8000-000000000001",
        "SCHEDULER_SCHEDULE_ID": "nightly",
        "SCHEDULER_ATTEMPT": "2",
        "SCHEDULER_NOMINAL_TIME": "2025-12-01T09:00:00Z",
        "IDEMPOTENCY_KEY": "0190a000-0000-7000-8000-000000000001",
    }


async def test_the_program_is_looked_up_in_the_path_of_the_command(tmp_path: Path) -> None:
    program = tmp_path / "greet"
    program.write_text("#!/bin/sh\necho hello\n")
    program.chmod(0o755)
    outcome = await run("greet", env={"PATH": str(tmp_path)})
    assert outcome == Succeeded("hello\n", truncated=False, status_code=0)


async def test_the_input_is_json_on_stdin() -> None:
    outcome = await run("/bin/cat", given={"topic": "é"})
    assert isinstance(outcome, Succeeded)
    assert json.loads(outcome.output) == {"topic": "é"}


async def test_a_command_that_ignores_a_large_input_is_not_disturbed() -> None:
    assert await run("/bin/true", given={"a": "x" * 1_000_000}) == Succeeded("", truncated=False, status_code=0)


async def test_a_command_runs_in_its_folder(tmp_path: Path) -> None:
    assert await run("/bin/pwd", cwd=str(tmp_path)) == Succeeded(f"{tmp_path}\n", truncated=False, status_code=0)


async def test_output_is_kept_up_to_64_kib_and_the_rest_does_not_block() -> None:
    outcome = await run("/bin/sh", "-c", "head -c 3000000 /dev/zero | tr '\\000' x; echo; echo the end; exit 1")
    assert isinstance(outcome, Failed)
    assert (outcome.output, outcome.truncated) == ("x" * 65536, True)
    assert outcome.error == "exited with 1: the end"


async def test_what_cannot_be_started_fails_for_good_and_says_why(tmp_path: Path) -> None:
    plain, binary = tmp_path / "plain", tmp_path / "binary"
    plain.write_text("#!/bin/sh\n")
    binary.write_bytes(b"\x01\x02\x03")
    binary.chmod(0o755)
    cases: list[tuple[Outcome, str]] = [
        (await run("no-such-program"), "no-such-program was not found"),
        (await run("/no/such/program"), "/no/such/program was not found"),
        (await run("/bin/true", cwd="/no/such/folder"), "the folder /no/such/folder does not exist"),
        (await run(str(plain)), f"{plain} is not executable, or its folder may not be entered"),
        (await run(str(binary)), f"{binary} is not a program: it needs a first line such as #!/bin/sh"),
    ]
    for outcome, error in cases:
        assert outcome == Failed(error, permanent=True)


async def cancelled(script: str, marks: Path, count: int) -> list[int]:
    """Start a script, wait until it has written `count` process ids, cancel it, and wait until all are gone."""
    async with asyncio.timeout(DEADLINE), Tools.open(RULES, base_env=BASE) as tools:
        target = CommandTarget(argv=("/bin/sh", "-c", script), env={"MARKS": str(marks)})
        attempt = asyncio.create_task(target.perform(dispatch(), tools))
        await until(lambda: len(pids(marks)) == count)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        await until(lambda: not any(alive(pid) for pid in pids(marks)))
    return pids(marks)


async def test_a_cancelled_command_dies_with_its_children(tmp_path: Path) -> None:
    marks = tmp_path / "pids"
    script = '(sleep 1000 & echo $! >>"$MARKS"; wait) & sleep 1000 & echo $! $$ >>"$MARKS"; wait'
    assert len(await cancelled(script, marks, 3)) == 3


async def test_a_command_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    marks = tmp_path / "pids"
    await cancelled("trap '' TERM; echo $$ >>\"$MARKS\"; while :; do sleep 0.1; done", marks, 1)


async def test_a_cancelled_command_has_a_moment_to_tidy_up(tmp_path: Path) -> None:
    marks, tidy = tmp_path / "pids", tmp_path / "tidy"
    await cancelled(
        f"trap 'echo done >{tidy}; exit' TERM; echo $$ >>\"$MARKS\"; while :; do sleep 0.02; done", marks, 1
    )
    assert tidy.read_text() == "done\n"


async def test_a_cancel_scope_of_the_worker_ends_the_command() -> None:
    async with Tools.open(RULES, base_env=BASE) as tools:
        with anyio.move_on_after(0.2) as scope:
            await CommandTarget(argv=("/bin/sleep", "1000")).perform(dispatch(), tools)
    assert scope.cancelled_caught
    assert not [each for each in psutil.Process().children() if "sleep" in each.name()]


async def test_a_timeout_of_the_worker_ends_the_command() -> None:
    async with Tools.open(RULES, base_env=BASE) as tools:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await CommandTarget(argv=("/bin/sleep", "1000")).perform(dispatch(), tools)
    assert not [each for each in psutil.Process().children() if "sleep" in each.name()]


async def test_what_a_finished_command_left_in_its_group_is_killed(tmp_path: Path) -> None:
    marks = tmp_path / "pids"
    outcome = await run("/bin/sh", "-c", 'sleep 1000 & echo $! >>"$MARKS"; echo done', env={"MARKS": str(marks)})
    assert outcome == Succeeded("done\n", truncated=False, status_code=0)
    await until(lambda: not alive(pids(marks)[0]))


async def test_a_daemon_that_keeps_the_pipe_does_not_hold_us_up(tmp_path: Path) -> None:
    marks = tmp_path / "pids"
    script = (
        'setsid sh -c \'echo $$ >>"$MARKS"; exec sleep 1000\' & while [ ! -s "$MARKS" ]; do sleep 0.01; done; echo up'
    )
    try:
        outcome = await run("/bin/sh", "-c", script, env={"MARKS": str(marks)})
        assert outcome == Succeeded("up\n", truncated=False, status_code=0)
        assert alive(pids(marks)[0]), "a process that left the group on purpose is not ours to kill"
    finally:
        for pid in pids(marks):
            os.kill(pid, 9)


async def test_the_end_of_an_ordinary_command_is_noticed_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "FLUSH_SECONDS", 3600)
    assert await run("/bin/echo", "a") == Succeeded("a\n", truncated=False, status_code=0)


def children() -> set[int]:
    return {each.pid for each in psutil.Process().children()}


async def test_many_commands_at_a_time_leave_no_process_and_no_file_open() -> None:
    others = children()
    async with asyncio.timeout(DEADLINE), Tools.open(RULES, base_env=BASE) as tools:
        target = CommandTarget(argv=("/bin/sh", "-c", "echo $SCHEDULER_RUN_ID"))
        await target.perform(dispatch(), tools)
        before = psutil.Process().num_fds()
        runs = [dispatch(run_id=RunId(f"run-{n}")) for n in range(40)]
        outcomes = await asyncio.gather(*(target.perform(each, tools) for each in runs))
        assert outcomes == [Succeeded(f"{each.run_id}\n", truncated=False, status_code=0) for each in runs]
        assert psutil.Process().num_fds() == before
        assert children() - others == {tools.warden.process_id}
    assert children() <= others


async def test_commands_are_off_unless_allowed() -> None:
    off = TargetRules(allow_commands=False, allow_private_urls=True)
    target = CommandTarget(argv=("/bin/true",))
    target.check(RULES)
    with pytest.raises(FieldError) as caught:
        target.check(off)
    assert (caught.value.field, caught.value.rule) == ("kind", "commands are switched off")
    assert caught.value.fix == "set SCHEDULER_ALLOW_COMMANDS=true on the server"
    async with Tools.open(off) as tools:
        outcome = await target.perform(dispatch(), tools)
    assert isinstance(outcome, Failed)
    assert (outcome.barred, outcome.permanent) == (True, False)


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"argv": []}, "argv"),
        ({"argv": [""]}, "argv"),
        ({"argv": ["a\x00b"]}, "argv"),
        ({"argv": ["a", "\ud800"]}, "argv"),
        ({"argv": ["a"] * 257}, "argv"),
        ({"argv": ["a" * 200_000]}, "argv"),
        ({"argv": "date -u"}, "argv"),
        ({"argv": [1]}, "argv"),
        ({"env": {"A=B": "c"}}, "env"),
        ({"env": {"": "c"}}, "env"),
        ({"env": {"A": "b\x00"}}, "env"),
        ({"env": {"SCHEDULER_RUN_ID": "mine"}}, "env"),
        ({"env": {"IDEMPOTENCY_KEY": "mine"}}, "env"),
        ({"env": {"A": "b" * 70_000}}, "env"),
        ({"cwd": "relative"}, "cwd"),
        ({"cwd": ""}, "cwd"),
        ({"cwd": "/a\x00"}, "cwd"),
        ({"shell": True}, "shell"),
    ],
)
def test_a_command_that_could_not_run_is_refused(fields: dict[str, Any], place: str) -> None:
    with pytest.raises(ValidationError) as caught:
        parse_target({"kind": "command", "argv": ["/bin/true"]} | fields)
    assert place in caught.value.errors()[0]["loc"]
