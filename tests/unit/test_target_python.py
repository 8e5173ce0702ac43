"""The python target with real child processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import ValidationError

from backend.errors import FieldError
from backend.model.ids import RunId
from backend.model.run import Dispatch
from backend.targets import callee, pool
from backend.targets.base import Failed, Outcome, Succeeded, TargetRules, Tools
from backend.targets.output import KEPT_BYTES
from backend.targets.pool import MOST_ANSWER_BYTES, PythonPool
from backend.targets.python import PythonTarget
from backend.targets.registry import parse_target

pytestmark = pytest.mark.anyio

PACKAGE = "tests.unit.pytargets"
RULES = TargetRules(allow_commands=False, allow_private_urls=False, python_prefixes=(PACKAGE,))
BASE = {"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": "/"}
DEADLINE = 30
ROOT = Path(__file__).parents[2]


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


@asynccontextmanager
async def tools(rules: TargetRules = RULES) -> AsyncIterator[Tools]:
    async with asyncio.timeout(DEADLINE), Tools.open(rules, base_env=BASE) as lent:
        yield lent


def target(name: str, /, **args: Any) -> PythonTarget:
    return PythonTarget(callable=f"{PACKAGE}.jobs:{name}", args=args)


async def call(lent: Tools, name: str, given: Mapping[str, Any] | None = None, /, **args: Any) -> Outcome:
    return await target(name, **args).perform(dispatch(input=dict(given or {})), lent)


async def once(name: str, given: Mapping[str, Any] | None = None, /, **args: Any) -> Outcome:
    async with tools() as lent:
        return await call(lent, name, given, **args)


async def failure(name: str, given: Mapping[str, Any] | None = None, /, **args: Any) -> Failed:
    outcome = await once(name, given, **args)
    assert isinstance(outcome, Failed), outcome
    return outcome


async def value(lent: Tools, name: str, /, **args: Any) -> Any:
    outcome = await call(lent, name, **args)
    assert isinstance(outcome, Succeeded), outcome
    return json.loads(outcome.output)


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


# What is called, and what comes back


async def test_a_function_gets_its_args_and_the_input_and_its_value_is_the_output() -> None:
    outcome = await once("greet", {"topic": "é"}, name="you")
    assert isinstance(outcome, Succeeded)
    printed, returned = outcome.output.splitlines()
    assert printed == "greeting you"
    assert json.loads(returned) == {"hello": "you", "input": {"topic": "é"}}


async def test_an_async_function_runs_to_its_end() -> None:
    assert await once("greet_later", name="you") == Succeeded("\"later, you: ['input']\"")


async def test_one_that_takes_no_input_is_called_without_as_long_as_there_is_none() -> None:
    assert await once("plain") == Succeeded("1")
    refused = await failure("plain", {"topic": "x"})
    assert refused == Failed("the run has an input, but the callable takes no argument called input", permanent=True)


async def test_it_finds_in_its_environment_which_run_it_is_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_SECRET", "x")
    async with tools() as lent:
        assert await value(lent, "which_run") == ["0190a000-0000-7000-8000-000000000001", "2", "none"]
        other = await target("which_run").perform(dispatch(run_id=RunId("other"), attempt=7), lent)
    assert isinstance(other, Succeeded)
    assert json.loads(other.output)[:2] == ["other", "7"]


async def test_its_stdin_is_empty() -> None:
    assert await once("read_stdin") == Succeeded('""')


async def test_secret_args_never_stand_on_a_command_line(tmp_path: Path) -> None:
    async with tools() as lent:
        attempt = asyncio.create_task(call(lent, "hang", marks=str(tmp_path / "hush-hush")))
        await until(lambda: len(pids(tmp_path / "hush-hush")) == 2)
        lines = [" ".join(each.cmdline()) for each in psutil.Process().children(recursive=True)]
        attempt.cancel()
        await asyncio.wait([attempt])
    assert lines
    assert not [line for line in lines if "hush-hush" in line]


async def test_values_that_json_does_not_know_stand_as_their_repr() -> None:
    outcome = await once("odd_values")
    assert isinstance(outcome, Succeeded)
    assert json.loads(outcome.output) == ["<Greeting of us>", "<class 'set'>", "lock"]


@pytest.mark.parametrize(
    ("name", "error"), [("unwritable", "ValueError: Circular"), ("unspeakable", "RuntimeError: no words")]
)
async def test_a_value_that_cannot_be_written_at_all_is_a_failure(name: str, error: str) -> None:
    assert (await failure(name)).error.startswith(error)


async def test_a_huge_value_is_cut() -> None:
    outcome = await once("huge", size=5_000_000)
    assert isinstance(outcome, Succeeded)
    assert (len(outcome.output), outcome.truncated) == (KEPT_BYTES, True)


async def test_long_printing_is_cut_and_the_value_kept() -> None:
    outcome = await once("chatty", lines=50_000)
    assert isinstance(outcome, Succeeded)
    assert outcome.truncated
    assert len(outcome.output.encode()) == KEPT_BYTES
    assert outcome.output.endswith('"the end"')


# What goes wrong


async def test_an_exception_keeps_its_type_message_and_traceback() -> None:
    failed = await failure("fail", message="no such customer")
    assert (failed.error, failed.permanent) == ("ValueError: no such customer", False)
    assert failed.output.startswith("before\nTraceback")
    assert failed.output.rstrip().endswith("ValueError: no such customer")
    assert "in fail" in failed.output
    assert "callee.py" not in failed.output


async def test_a_long_message_is_cut() -> None:
    failed = await failure("fail", message="m" * 300_000)
    assert len(failed.error) == 200
    assert len(failed.output.encode()) <= KEPT_BYTES
    assert failed.truncated


async def test_after_five_megabytes_of_exception_or_value_the_child_takes_the_next_call() -> None:
    async with tools() as lent:
        pid = await value(lent, "my_pid")
        failed = await call(lent, "fail", message="é" * 2_500_000)
        assert isinstance(failed, Failed)
        assert failed.error.startswith("ValueError: éé")
        assert (len(failed.output.encode()) <= KEPT_BYTES, failed.truncated, failed.permanent) == (True, True, False)
        huge = await call(lent, "huge", size=5_000_000)
        assert isinstance(huge, Succeeded)
        assert (len(huge.output), huge.truncated) == (KEPT_BYTES, True)
        assert await value(lent, "my_pid") == pid


def test_no_answer_is_longer_than_the_server_reads() -> None:
    class Named(Exception):
        pass

    Named.__qualname__ = "N" * 5_000_000
    worst = "\x01" * 5_000_000
    for error in (Named(worst), ValueError(worst), ValueError("\ud800" * 5_000_000)):
        assert len(callee.summary(error).encode()) <= callee.SUMMARY_BYTES
        said = callee.answer(callee.told(error), error=callee.summary(error))
        assert len(json.dumps({**said, "left": False})) <= MOST_ANSWER_BYTES


async def test_an_interrupt_is_an_exception_like_others() -> None:
    assert (await failure("interrupt")).error == "KeyboardInterrupt"


async def test_sys_exit_means_what_it_does_for_a_program() -> None:
    assert await once("leave", code=None) == Succeeded()
    assert await once("leave", code=0) == Succeeded()
    assert await failure("leave", code=3) == Failed("SystemExit: 3", permanent=False)


async def test_a_process_that_ends_in_the_middle_says_how() -> None:
    vanished = await failure("vanish", code=5)
    assert vanished.error == "its process exited with 5 in the middle of the call: about to vanish"
    assert (vanished.permanent, vanished.output) == (False, "about to vanish\n")
    crashed = await failure("segfault")
    assert crashed.error.startswith("its process was killed by SIGSEGV")
    assert "Fatal Python error" in crashed.output, "the frames of a crash are worth keeping"


async def test_one_that_closes_our_socket_fails_and_is_over() -> None:
    assert not (await failure("close_everything")).permanent


@pytest.mark.parametrize(
    ("callable_", "error"),
    [
        (f"{PACKAGE}.nothing:job", f"there is no module {PACKAGE}.nothing"),
        (f"{PACKAGE}.jobs.deeper:job", f"there is no module {PACKAGE}.jobs.deeper"),
        (f"{PACKAGE}.jobs:nothing", f"{PACKAGE}.jobs has no callable nothing"),
        (f"{PACKAGE}.jobs:not_callable", f"{PACKAGE}.jobs has no callable not_callable"),
        (f"{PACKAGE}.jobs:generator", f"{PACKAGE}.jobs:generator is a generator, of which a call runs nothing"),
        (f"{PACKAGE}.jobs:system", f"{PACKAGE}.jobs:system comes from posix, which SCHEDULER_PYTHON_TARGETS does not"),
        (f"{PACKAGE}.jobs:greet", "args do not fit the callable: missing a required argument: 'name'"),
    ],
)
async def test_what_will_never_work_fails_for_good_and_says_why(callable_: str, error: str) -> None:
    async with tools() as lent:
        outcome = await PythonTarget(callable=callable_).perform(dispatch(), lent)
    assert isinstance(outcome, Failed)
    assert outcome.error.startswith(error)
    assert outcome.permanent


async def test_a_module_that_raises_when_imported_is_tried_again() -> None:
    async with tools() as lent:
        outcome = await PythonTarget(callable=f"{PACKAGE}.broken:job").perform(dispatch(), lent)
    assert isinstance(outcome, Failed)
    assert outcome.error == "ModuleNotFoundError: No module named 'no_such_module_anywhere'"
    assert not outcome.permanent
    assert "broken.py" in outcome.output


# The pool


async def test_a_child_stays_warm_and_takes_the_next_call() -> None:
    async with tools() as lent:
        assert await value(lent, "my_pid") == await value(lent, "my_pid")
        assert [await value(lent, "plain") for _ in range(3)] == [1, 2, 3]
        assert len(lent.python.process_ids) == 1


async def test_a_child_is_renewed_after_so_many_calls() -> None:
    async with tools() as lent:
        lent.python.calls_per_child = 3
        assert [await value(lent, "plain") for _ in range(5)] == [1, 2, 3, 1, 2]


async def test_a_child_that_has_rested_long_enough_is_let_go() -> None:
    async with tools() as lent:
        lent.python.rest_seconds = 0.05
        pid = await value(lent, "my_pid")
        await until(lambda: not alive(pid))
        assert lent.python.process_ids == []
        assert await value(lent, "my_pid") != pid


async def test_a_child_that_was_killed_at_rest_is_replaced_unnoticed() -> None:
    async with tools() as lent:
        pid = await value(lent, "my_pid")
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not alive(pid))
        assert await value(lent, "my_pid") != pid


async def test_nothing_runs_before_the_first_call_and_nothing_after_the_end() -> None:
    before = set(psutil.Process().children())
    async with tools() as lent:
        assert set(psutil.Process().children()) == before
        pid = await value(lent, "my_pid")
        assert alive(pid)
    assert not alive(pid)
    assert set(psutil.Process().children()) == before


async def test_many_calls_at_a_time_run_beside_each_other_and_leave_no_file_open() -> None:
    async with tools() as lent:
        await call(lent, "plain")
        calls = [call(lent, "greet", {"n": n}, name="all") for n in range(12)]
        outcomes = await asyncio.gather(*calls)
        for n, outcome in enumerate(outcomes):
            assert isinstance(outcome, Succeeded)
            assert f'"n": {n}' in outcome.output
        await asyncio.gather(*lent.python._ending)
        assert len(lent.python.process_ids) <= 8
        files = psutil.Process().num_fds()
        for _ in range(10):
            await call(lent, "plain")
        assert psutil.Process().num_fds() == files


async def test_one_that_closes_its_streams_leaves_the_child_fit_for_the_next_call() -> None:
    async with tools() as lent:
        pid = await value(lent, "my_pid")
        assert await call(lent, "close_stdout") == Succeeded('"closed"')
        greeted = await call(lent, "greet", name="you")
        assert isinstance(greeted, Succeeded)
        assert greeted.output.startswith("greeting you\n")
        assert await value(lent, "my_pid") == pid


@pytest.mark.parametrize("name", ["fork_and_return", "fork_and_raise"])
async def test_of_a_fork_only_the_parent_answers(name: str) -> None:
    async with tools() as lent:
        for _ in range(3):
            assert await call(lent, name) == Succeeded('"parent"')


async def test_what_a_call_left_running_is_killed_with_its_child(tmp_path: Path) -> None:
    marks = tmp_path / "pids"
    async with tools() as lent:
        pid = await value(lent, "my_pid")
        assert await call(lent, "fork_and_stay", marks=str(marks)) == Succeeded('"left one behind"')
        await until(lambda: not alive(pids(marks)[0]) and not alive(pid))


async def test_a_daemon_that_keeps_the_output_does_not_hold_us_up(tmp_path: Path) -> None:
    marks = tmp_path / "pids"
    try:
        assert await once("daemonize", marks=str(marks)) == Succeeded('"left a daemon"')
    finally:
        for pid in filter(alive, pids(marks)):
            os.kill(pid, signal.SIGKILL)


# Its end


@pytest.mark.parametrize(("name", "count"), [("hang", 2), ("hang_stubbornly", 1), ("hang_async", 1)])
async def test_a_cancelled_call_dies_with_its_children(tmp_path: Path, name: str, count: int) -> None:
    marks = tmp_path / "pids"
    async with tools() as lent:
        attempt = asyncio.create_task(call(lent, name, marks=str(marks)))
        await until(lambda: len(pids(marks)) == count)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        await until(lambda: not any(map(alive, pids(marks))))
        assert lent.python.process_ids == []
        assert await value(lent, "plain") == 1


async def test_a_call_that_is_cancelled_just_after_its_answer_leaves_no_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks, answered, children = tmp_path / "pids", asyncio.Event(), []
    until_the_answer = pool._answer

    async def noticed(child: Any, body: bytes) -> Any:
        answer = await until_the_answer(child, body)
        children.append(child.process.pid)
        answered.set()
        return answer

    monkeypatch.setattr(pool, "_answer", noticed)
    monkeypatch.setattr(pool, "FLUSH_SECONDS", DEADLINE)
    try:
        async with tools() as lent:
            attempt = asyncio.create_task(call(lent, "daemonize_from_afar", marks=str(marks)))
            await answered.wait()
            attempt.cancel()
            with pytest.raises(asyncio.CancelledError):
                await attempt
            assert lent.python.process_ids == []
            assert not any(map(alive, children))
    finally:
        for pid in filter(alive, pids(marks)):
            os.kill(pid, signal.SIGKILL)


async def test_a_child_that_has_been_ended_is_not_ended_again_when_its_call_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended, end = [], PythonPool._end

    async def counted(self: PythonPool, child: Any, number: signal.Signals | None) -> int | None:
        code = await end(self, child, number)
        ended.append(child.process.pid)  # from here on, it may be another's
        attempt.cancel()
        return code

    monkeypatch.setattr(PythonPool, "_end", counted)
    async with tools() as lent:
        attempt = asyncio.create_task(call(lent, "vanish", code=7))
        with pytest.raises(asyncio.CancelledError):
            await attempt
    assert len(ended) == 1


async def test_endless_output_ends_with_the_timeout() -> None:
    async with tools() as lent:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await call(lent, "endless")
        assert lent.python.process_ids == []


SERVER = """
import asyncio, sys
from tests.unit.test_target_python import RULES, dispatch, target
from backend.targets.base import Tools
async def main():
    async with Tools.open(RULES) as lent:
        await target("plain").perform(dispatch(), lent)
        await asyncio.gather(*(target("hang", marks=sys.argv[1] + n).perform(dispatch(), lent) for n in "ab"))
asyncio.run(main())
"""


async def test_calls_die_with_a_server_that_was_killed(tmp_path: Path) -> None:
    environment = {"PATH": os.defpath, "PYTHONPATH": str(ROOT)}
    marks = [tmp_path / "a", tmp_path / "b"]
    with psutil.Popen([sys.executable, "-c", SERVER, f"{tmp_path}/"], env=environment, cwd=ROOT) as server:
        try:
            await until(lambda: all(len(pids(each)) == 2 for each in marks))
            family = [child.pid for child in server.children(recursive=True)]
        finally:
            server.send_signal(signal.SIGKILL)
    await until(lambda: not any(map(alive, family)))


async def test_an_idle_child_ends_with_a_server_that_was_killed() -> None:
    code = SERVER.replace("await asyncio.gather", "print(lent.python.process_ids[0], flush=True)\n        input() #")
    environment = {"PATH": os.defpath, "PYTHONPATH": str(ROOT)}
    with psutil.Popen(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        pid = int(await asyncio.to_thread(server.stdout.readline))
        server.kill()
    await until(lambda: not alive(pid))


# What is refused


def test_callables_are_off_unless_a_module_is_allowed() -> None:
    with pytest.raises(FieldError) as caught:
        target("plain").check(TargetRules(allow_commands=True, allow_private_urls=True))
    assert (caught.value.field, caught.value.rule) == ("kind", "python targets are switched off")
    assert "SCHEDULER_PYTHON_TARGETS" in caught.value.fix


@pytest.mark.parametrize(
    ("module", "allowed"),
    [("app.jobs", True), ("app.jobs.x", True), ("app.jobs.x.y", True), ("app.jobsx", False), ("app", False)],
)
def test_a_prefix_allows_whole_names_only(module: str, allowed: bool) -> None:
    rules = TargetRules(allow_commands=False, allow_private_urls=False, python_prefixes=("reports", "app.jobs"))
    job = PythonTarget(callable=f"{module}:run")
    if allowed:
        job.check(rules)
        return
    with pytest.raises(FieldError) as caught:
        job.check(rules)
    assert caught.value.field == "callable"
    assert "reports, app.jobs" in caught.value.fix


async def test_what_is_no_longer_allowed_is_not_called() -> None:
    async with tools(TargetRules(allow_commands=True, allow_private_urls=True)) as lent:
        outcome = await call(lent, "plain")
    assert isinstance(outcome, Failed)
    assert (outcome.barred, outcome.permanent) == (True, False)


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"callable": "app.jobs"}, "callable"),
        ({"callable": "app.jobs:os.system"}, "callable"),
        ({"callable": "app.jobs:"}, "callable"),
        ({"callable": ":run"}, "callable"),
        ({"callable": "app..jobs:run"}, "callable"),
        ({"callable": "app.jobs:_private"}, "callable"),
        ({"callable": "app.jobs:__import__"}, "callable"),
        ({"callable": "app/jobs:run"}, "callable"),
        ({"callable": "app.jobs:run\n"}, "callable"),
        ({"callable": "a" * 600 + ":run"}, "callable"),
        ({"args": {"input": 1}}, "args"),
        ({"args": {"not a name": 1}}, "args"),
        ({"args": {"a": float("nan")}}, "args"),
        ({"args": [1]}, "args"),
        ({"kwargs": {}}, "kwargs"),
    ],
)
def test_a_callable_that_could_not_be_called_is_refused(fields: dict[str, Any], place: str) -> None:
    with pytest.raises(ValidationError) as caught:
        parse_target({"kind": "python", "callable": "app.jobs:run"} | fields)
    assert place in caught.value.errors()[0]["loc"]
