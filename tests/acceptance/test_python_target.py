"""Callables of the operator's own, from the API to the record of their run."""

from __future__ import annotations

import json
from pathlib import Path

from tests.acceptance.server import Server, is_alive, until

JOBS = """
import os, pathlib, time

async def digest(name, *, input):
    print("working for", name)
    return {"name": name, "input": input, "key": os.environ["IDEMPOTENCY_KEY"]}

def hang():
    pathlib.Path("pid").write_text(str(os.getpid()))
    time.sleep(300)

def fail():
    raise LookupError("no such customer")
"""


def target(name: str, /, **args: object) -> dict[str, object]:
    return {"kind": "python", "callable": f"jobs:{name}", "args": args}


def test_a_callable_in_the_servers_folder_runs_and_its_value_and_failure_are_recorded(tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(JOBS)
    with Server(tmp_path, python_targets="jobs") as server:
        server.ready().create("digest", target("digest", name="you"), input={"topic": "a"})
        run = server.run(server.post("/schedules/digest/trigger", {"input": {"more": 1}})["id"])
        printed, returned = run["output"].splitlines()
        assert printed == "working for you"
        assert json.loads(returned) == {"name": "you", "input": {"topic": "a", "more": 1}, "key": run["id"]}
        server.create("fail", target("fail"), retry={"max_attempts": 2, "initial": "10ms", "maximum": "10ms"})
        failed = server.run(server.post("/schedules/fail/trigger")["id"])
        assert (failed["state"], failed["attempt"], failed["error"]) == ("failed", 2, "LookupError: no such customer")
        assert server.stop() == 0


def test_a_callable_is_killed_at_its_timeout_and_with_the_server(tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(JOBS)
    with Server(tmp_path, python_targets="jobs") as server:
        server.ready().create("brief", target("hang"), timeout="1s", retry={"max_attempts": 1})
        run = server.run(server.post("/schedules/brief/trigger")["id"])
        assert run["state"] == "timed_out"
        pid = tmp_path / "pid"
        until("its end", lambda: not is_alive(int(pid.read_text())))
        pid.unlink()
        server.create("long", target("hang"))
        server.post("/schedules/long/trigger")
        until("its begin", lambda: pid.exists() and pid.read_text())
        assert is_alive(int(pid.read_text()))
        server.kill()
        until("its end", lambda: not is_alive(int(pid.read_text())))


def test_callables_are_refused_with_the_setting_that_would_allow_them(tmp_path: Path) -> None:
    body = {"id": "x", "triggers": [{"kind": "interval", "every": "1d"}], "target": target("digest")}
    with Server(tmp_path / "off") as server:
        reply = server.ready().ask("POST", "/schedules", body)
        assert reply.status == 422
        (error,) = reply.body["errors"]
        assert error["field"] == "target.kind"
        assert "SCHEDULER_PYTHON_TARGETS" in error["fix"]
    with Server(tmp_path / "other", python_targets="reports") as server:
        reply = server.ready().ask("POST", "/schedules", body)
        assert reply.status == 422
        (error,) = reply.body["errors"]
        assert error["field"] == "target.callable"
        assert "SCHEDULER_PYTHON_TARGETS" in error["rule"]
