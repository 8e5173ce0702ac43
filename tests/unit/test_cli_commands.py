"""Commands against a small real server: what they ask, what they print, how they end."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend.cli.main import run
from tests.unit.cli_server import Asked, Server, problem, run_of, schedule, serving

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as told:
        yield told


@pytest.fixture
def cli(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCHEDULER_URL", server.url)
    monkeypatch.setenv("SCHEDULER_API_KEY", "sched_test")
    monkeypatch.setenv("COLUMNS", "80")

    def call(*argv: str) -> tuple[int, str, str]:
        code = run(argv)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_backfill_asks_for_the_range_and_says_what_runs(server: Server, cli: Cli):
    answer = {"count": 2, "first": "2026-11-01T09:00:00Z", "last": "2026-11-02T09:00:00Z", "recorded": 1}
    server.on("POST", "/schedules/digest/backfill", 202, answer | {"backfill_id": "b-1", "nominal_times": []})
    span = ("--from", "2026-11-01T00:00:00Z", "--to", "2026-11-03T00:00:00Z")
    code, out, _ = cli("backfill", "digest", *span, "--overlap-policy", "allow_all")
    assert code == 0
    assert out.splitlines() == [
        "backfill b-1: 2 runs, from 2026-11-01T09:00:00Z to 2026-11-02T09:00:00Z",
        "1 of them ran at their time already",
    ]
    assert server.asked[-1].body == {
        "from": "2026-11-01T00:00:00Z",
        "to": "2026-11-03T00:00:00Z",
        "dry_run": False,
        "overlap_policy": "allow_all",
    }
    one = {"backfill_id": None, "count": 1, "recorded": 0, "nominal_times": ["2026-11-01T09:00:00Z"]}
    server.on("POST", "/schedules/digest/backfill", 200, answer | one)
    _, out, _ = cli("backfill", "digest", *span, "--dry-run")
    assert out.splitlines() == [
        "would make 1 run, from 2026-11-01T09:00:00Z to 2026-11-02T09:00:00Z",
        "  2026-11-01T09:00:00Z",
    ]
    assert server.asked[-1].body["dry_run"] is True


def test_a_backfill_without_a_range_is_wrong_usage(cli: Cli):
    assert cli("backfill", "digest", "--from", "2026-11-01T00:00:00Z")[0] == 2


def test_add_sends_the_whole_definition(cli: Cli, server: Server):
    server.on("POST", "/schedules", 201, schedule())
    code, out, _ = cli(
        *("add", "digest", "--cron", "0 9 * * mon-fri", "--timezone", "Europe/London"),
        *("--http", "https://example.org/hook", "--method", "PUT", "--header", "X-A=b=c", "--body", '{"topic": [1]}'),
        *("--name", "Daily", "--tag", "team=growth", "--owner", "u", "--input", '{"a": 1}'),
        *("--misfire-policy", "skip", "--overlap-policy", "allow_all", "--timeout", "3m", "--max-attempts", "5"),
    )
    assert code == 0
    assert out.startswith("created digest; next 2098-11-24 ")
    assert server.asked[0].headers["Authorization"] == "Bearer sched_test"
    assert server.asked[0].body == {
        "id": "digest",
        "triggers": [{"kind": "cron", "expression": "0 9 * * mon-fri", "timezone": "Europe/London"}],
        "target": {
            "kind": "http",
            "url": "https://example.org/hook",
            "method": "PUT",
            "headers": {"X-A": "b=c"},
            "body": {"topic": [1]},
        },
        "name": "Daily",
        "tags": {"team": "growth"},
        "owner": "u",
        "input": {"a": 1},
        "misfire_policy": "skip",
        "overlap_policy": "allow_all",
        "timeout": "3m",
        "retry": {"max_attempts": 5},
    }


def test_a_command_stands_behind_two_dashes_and_keeps_its_own_options(cli: Cli, server: Server):
    server.on("POST", "/schedules", 201, schedule())
    assert (
        cli("add", "x", "--every", "15m", "--anchor", "2026-01-01T00:00:00Z", "--", "echo", "--json", "--", "-n")[0]
        == 0
    )
    assert server.asked[0].body["target"] == {"kind": "command", "argv": ["echo", "--json", "--", "-n"]}
    assert server.asked[0].body["triggers"] == [{"kind": "interval", "every": "15m", "anchor": "2026-01-01T00:00:00Z"}]


@pytest.mark.parametrize("tag", ["team=a:b", "team:a:b"])
def test_a_tag_is_given_with_an_equals_sign_or_a_colon_to_every_command(cli: Cli, server: Server, tag: str):
    server.on("POST", "/notifications", 201, {})
    server.on(
        "POST", "/schedules/pause", 200, {"matched": 0, "changed": 0, "refused": 0, "items": [], "next_cursor": None}
    )
    server.on("POST", "/schedules", 201, schedule("x"))
    cli("notifications", "add", "oncall", "--event", "failure", "--tag", tag, "--http", "https://example.org")
    cli("pause", "--tag", tag)
    cli("add", "x", "--every", "1m", "--tag", tag, "--", "true")
    route, pause, made = [asked.body for asked in server.asked]
    assert (route["tag"], pause["filter"]["tag"], made["tags"]) == ("team:a:b", "team:a:b", {"team": "a:b"})


@pytest.mark.parametrize(
    "argv",
    [
        ("add", "x", "--cron", "0", "9", "*", "*", "*", "--http", "http://h"),
        ("add", "x", "--http", "http://h"),
        ("add", "x", "--every", "1m"),
        ("add", "x", "--every", "1m", "--http", "http://h", "--", "echo"),
        ("add", "x", "--every", "1m", "--body", "{}", "--", "echo"),
        ("add", "x", "--every", "1m", "--http", "http://h", "--body", "{not json"),
        ("add", "x", "--every", "1m", "--http", "http://h", "--body", "NaN"),
        ("add", "x", "--every", "1m", "--http", "http://h", "--input", "[1]"),
        ("add", "x", "--every", "1m", "--http", "http://h", "--tag", "novalue"),
        ("add", "x", "--every", "1m", "--http", "http://h", "--tag", "a=1", "--tag", "a=2"),
        ("add", "x", "--cron", "* * * * *", "--anchor", "2026-01-01T00:00:00Z", "--http", "http://h"),
        ("add",),
        ("list", "--nope"),
        ("bogus",),
        ("runs", "--state", "bogus"),
        ("runs", "--watch", "--to", "2026-01-01T00:00:00Z"),
        ("preview",),
        ("upcoming", "x", "-n", "many"),
        ("upcoming", "x", "-n", "0"),
        ("runs", "--limit", "0"),
        ("runs", "--limit", "-3"),
        ("list", "--limit", "0"),
        ("list", "--limit=-3"),
        ("list", "--tag", "foo"),
        ("list", "--state", "foo"),
        ("add", "x", "--every", "1h", "--timezone", "Europe/London", "--", "echo"),
        ("list", "--url", "ftp://example.org"),
        ("list", "--url", "http://example.org:port"),
        ("list", "--url", "http://user:secret@example.org"),
        ("list", "--api-key", "a\nb"),
        ("apply",),
        ("apply", "-f", "there-is-no-such-file.yaml"),
    ],
)
def test_wrong_usage_exits_2_before_anything_is_asked(cli: Cli, server: Server, argv: tuple[str, ...]):
    code, out, err = cli(*argv)
    assert (code, out) == (2, "")
    assert err
    assert not server.asked


def test_a_refusal_exits_1_and_names_field_rule_and_fix(cli: Cli, server: Server):
    rule = ("triggers[0].expression", "minute 61 is outside 0–59", "use 0–59")
    server.on("POST", "/schedules", 422, problem(422, "Unprocessable Entity", "as below", rule))
    code, out, err = cli("add", "x", "--cron", "61 * * * *", "--http", "http://h")
    assert (code, out) == (1, "")
    assert err.startswith("refused:\n")
    assert "triggers[0].expression: minute 61 is outside 0–59; use 0–59" in err


def test_a_refusal_with_json_prints_the_problem_document(cli: Cli, server: Server):
    document = problem(409, "Conflict", "the schedule 'x' exists already")
    server.on("POST", "/schedules", 409, document)
    code, out, err = cli("add", "x", "--every", "1m", "--http", "http://h", "--json")
    assert code == 1
    assert json.loads(out) == document
    assert err == "refused: there is a schedule 'x' already; `scheduler apply -f FILE` replaces it\n"


def test_what_does_not_exist_exits_4(cli: Cli):
    code, _, err = cli("show", "nothing")
    assert code == 4
    assert "no such thing" in err


def test_a_wrong_key_says_where_keys_come_from(cli: Cli, server: Server):
    server.on("GET", "/schedules", 401, problem(401, "Unauthorized", "the key is not known"))
    code, _, err = cli("list")
    assert code == 1
    assert err.startswith("refused: the key is not known\ngive a key by --api-key")
    assert "admin.key" in err


def test_how_to_send_a_key_over_http_is_not_told_on_a_command_line(cli: Cli, server: Server):
    server.on("GET", "/runs", 401, problem(401, "Unauthorized", "there is no key; send Authorization: Bearer KEY"))
    assert "Bearer" not in cli("runs")[2]


def test_an_unreachable_server_exits_3_and_is_named(cli: Cli):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        code, _, err = cli("list", "--url", url)
    assert code == 3
    assert url in err
    assert "scheduler serve" in err


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>"), (502, b"bad gateway"), (200, b"[]"), (302, b"")])
def test_something_else_that_answers_is_no_scheduler(cli: Cli, server: Server, status: int, body: bytes):
    server.on("GET", "/schedules", status, body)
    assert cli("list")[0] == 3
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", ["starting", "draining"])
def test_a_server_that_is_not_there_yet_exits_3_and_says_so(cli: Cli, server: Server, status: str):
    server.on("GET", "/schedules", 503, {"status": status})
    code, _, err = cli("list")
    assert (code, err) == (3, f"the scheduler at {server.url} is {status}; try again in a moment\n")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_server_whose_database_is_away_exits_3_and_says_so(cli: Cli, server: Server, method: str):
    problem = {"title": "Service Unavailable", "status": 503, "detail": "the database does not answer"}
    path = "/schedules" if method == "GET" else "/schedules/digest/pause"
    server.on(method, path, 503, problem)
    code, _, err = cli(*(["list"] if method == "GET" else ["pause", "digest"]))
    assert code == 3
    assert (
        err == f"the scheduler at {server.url} cannot answer now: the database does not answer; try again in a moment\n"
    )


def test_options_of_the_connection_may_stand_before_the_command(cli: Cli, server: Server):
    server.on("GET", "/runs/1", 200, run_of(1))
    code, out, _ = cli("--namespace", "team", "--json", "--url", server.url, "run", "show", "1")
    assert code == 0
    assert json.loads(out)["schedule_id"] == "digest"
    assert server.asked[0].query == {"namespace": "team"}


def test_ids_are_quoted_in_paths(cli: Cli, server: Server):
    server.on("POST", "/schedules/a/b?c d/pause", 200, schedule("a/b?c d", state="paused", note="why"))
    assert cli("pause", "a/b?c d", "--note", "why")[1] == "a/b?c d is paused (why)\n"
    assert server.asked[0].body == {"note": "why"}


def test_list_reads_all_pages_and_sends_every_filter(cli: Cli, server: Server):
    def reply(asked: Asked) -> tuple[int, object]:
        first = "cursor" not in asked.query
        return 200, {"items": [schedule("a" if first else "b")], "next_cursor": "next" if first else None}

    server.when("GET", "/schedules", reply)
    code, out, _ = cli(
        *("list", "--json", "--state", "active", "--tag", "team=growth", "--target", "http", "--owner", "u"),
        *("--name", "n", "--due-before", "2026-12-01T00:00:00Z", "-q", "text"),
    )
    assert code == 0
    assert [item["id"] for item in json.loads(out)["items"]] == ["a", "b"]
    assert server.asked[0].query == {
        "state": "active",
        "tag": "team:growth",
        "target": "http",
        "owner": "u",
        "name": "n",
        "due_before": "2026-12-01T00:00:00Z",
        "q": "text",
        "limit": "500",
    }


def test_list_stops_at_its_limit(cli: Cli, server: Server):
    server.on("GET", "/schedules", 200, {"items": [schedule()], "next_cursor": "next"})
    code, out, _ = cli("list", "--limit", "1")
    assert code == 0
    assert len(server.asked) == 1
    assert server.asked[0].query["limit"] == "1"
    assert out.splitlines()[0].split() == ["ID", "STATE", "WHEN", "NEXT", "LAST"]
    assert "0 9 * * mon-fri Europe/London" in out
    assert "there are more" in out


def test_show_tells_definition_next_times_and_last_runs(cli: Cli, server: Server):
    server.on(
        "GET", "/schedules/digest", 200, schedule(note="moved", note_by="key:ops", note_at="2026-01-01T00:00:00Z")
    )
    times = [
        {
            "nominal_time": "2098-03-30T01:00:00Z",
            "local_time": "2098-03-30T02:00:00+01:00",
            "timezone": "Europe/London",
            "note": "shifted out of a gap",
        }
    ]
    server.on("GET", "/schedules/digest/upcoming", 200, {"items": times, "next_cursor": None})
    runs = [run_of(1, "failed", error="connect: refused"), run_of(2, "skipped", reason="overlap", started_at=None)]
    server.on("GET", "/schedules/digest/runs", 200, {"items": runs, "next_cursor": None})
    code, out, _ = cli("show", "digest")
    assert code == 0
    assert "POST https://example.org/hook" in out
    assert "moved — key:ops" in out
    assert "Sun 2098-03-30 02:00" in out
    assert "shifted out of a gap" in out
    assert "connect: refused" in out
    assert "overlap" in out


def test_a_schedule_whose_definition_cannot_be_read_is_shown_all_the_same(cli: Cli, server: Server):
    broken = schedule(state="error", error="unreadable definition")
    for name in ("triggers", "target", "tags", "retry"):
        del broken[name]
    server.on("GET", "/schedules/digest", 200, broken)
    server.on("GET", "/schedules/digest/upcoming", 200, {"items": []})
    server.on("GET", "/schedules/digest/runs", 200, {"items": []})
    server.on("GET", "/schedules", 200, {"items": [broken], "next_cursor": None})
    assert "unreadable definition" in cli("show", "digest")[1]
    assert "unreadable definition" in cli("list")[1]


def test_changes_of_a_schedule_are_told_in_a_line(cli: Cli, server: Server):
    server.on("POST", "/schedules/digest/resume", 200, schedule())
    server.on("POST", "/schedules/digest/trigger", 202, run_of(7, "queued"))
    server.on("DELETE", "/schedules/digest", 204, None)
    assert cli("resume", "digest", "--catch-up")[1].startswith("digest is active; next 2098-11-24")
    assert "is queued" in cli("trigger", "digest", "--input", '{"a": 1}')[1]
    assert cli("delete", "digest")[1] == "deleted digest\n"
    assert json.loads(cli("delete", "digest", "--json")[1]) == {"id": "digest", "deleted": True}
    assert [asked.body for asked in server.asked] == [{"catch_up": True}, {"input": {"a": 1}}, None, None]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("show",), "show needs an ID: scheduler show ID"),
        (("run", "show"), "run show needs an ID: scheduler run show ID"),
        (("apply",), "apply needs --file: scheduler apply --file FILE"),
        (("list", "--limit"), "--limit needs a value; see scheduler list --help"),
        (("list", "--limt", "3"), "there is no option --limt; did you mean --limit?"),
        (("list", "--nosuch"), "there is no option --nosuch; see scheduler list --help"),
        (("pause", "a", "b"), "what is 'b'? see scheduler pause --help"),
        (("runs", "--limit", "x"), "--limit: 'x' is not a whole number"),
        (("runs", "--limit", "0"), "--limit: give 1 or more"),
        (("list", "--state", "foo"), "--state: 'foo' is not one of active, paused, completed, error"),
        (("show", "a", "--url", "http://h", "--url", "http://i"), "--url is given twice"),
        (("lst",), "there is no command 'lst'; did you mean list?"),
        (("run", "nosuch"), "there is no command 'nosuch'; there are show, cancel, retry"),
    ],
)
def test_a_mistake_on_the_command_line_is_named_in_a_line(cli: Cli, argv: tuple[str, ...], words: str):
    assert cli(*argv) == (2, "", f"{words}\n")


def test_a_command_that_does_not_exist_is_answered_with_all_there_are(cli: Cli):
    err = cli("nosuch")[2]
    assert all(name in err for name in ("serve", "preview", "apply", "run", "db"))


def test_a_schedule_that_paused_itself_says_the_way_out(cli: Cli, server: Server):
    locked = schedule(
        "locked", state="paused", note="paused after 5 failed runs in a row: HTTP 401", note_by="scheduler"
    )
    server.on("GET", "/schedules", 200, {"items": [locked], "next_cursor": None})
    out = " ".join(cli("list")[1].split())
    assert "HTTP 401; fix the target, then scheduler resume locked" in out


@pytest.mark.parametrize("state", ["paused", "completed", "error"])
def test_the_times_of_what_will_not_fire_are_marked(cli: Cli, server: Server, state: str):
    server.on("GET", "/schedules/digest", 200, schedule(state=state, next_nominal_time=None))
    time = {"nominal_time": "2098-03-30T01:00:07Z", "local_time": "2098-03-30T01:00:07+00:00", "timezone": "UTC"}
    whole = time | {"nominal_time": "2098-03-30T01:01:00Z", "local_time": "2098-03-30T01:01:00+00:00"}
    server.on("GET", "/schedules/digest/upcoming", 200, {"items": [time, whole], "next_cursor": None})
    server.on("GET", "/schedules/digest/runs", 200, {"items": [], "next_cursor": None})
    words = {"paused": "would fire if it were resumed", "completed": "will not fire again", "error": "in error"}[state]
    for command in ("show", "upcoming"):
        out = cli(command, "digest")[1]
        assert words in out
        assert "01:01:00  UTC" in out  # seconds throughout, as one has some


def test_show_tells_the_last_runs_that_ran_behind_a_long_pause(cli: Cli, server: Server):
    def reply(asked: Asked) -> tuple[int, object]:
        state = asked.query.get("state")
        if state is None:
            skips = [run_of(n, "skipped", reason="paused", started_at=None, attempt=0) for n in range(59, 54, -1)]
            return 200, {"items": skips, "next_cursor": "more"}
        ran = [run_of(3, "failed", error="boom"), run_of(1, "failed")] if state == "failed" else []
        return 200, {"items": [run_of(2)] if state == "succeeded" else ran, "next_cursor": None}

    server.on("GET", "/schedules/digest", 200, schedule())
    server.on("GET", "/schedules/digest/upcoming", 200, {"items": [], "next_cursor": None})
    server.when("GET", "/schedules/digest/runs", reply)
    rows = cli("show", "digest")[1].partition("Last runs")[2].splitlines()[2:]
    states = [word for row in rows for word in ("skipped", "failed", "succeeded") if f" {word} " in row]
    assert states == ["skipped", "skipped", "failed", "succeeded", "failed"]
    assert "the schedule was paused" in "".join(rows)


def test_a_schedule_that_is_behind_is_catching_up(cli: Cli, server: Server):
    behind = schedule(next_nominal_time="2020-01-01T00:00:00Z", next_scheduled_time="2020-01-01T00:00:00Z")
    server.on("POST", "/schedules/digest/resume", 200, behind)
    assert "is active; catching up from 20" in cli("resume", "digest", "--catch-up")[1]


def test_rows_say_what_they_stand_for(cli: Cli, server: Server):
    missed = {"count": 270, "first": "2026-11-22T09:00:00Z", "last": "2026-11-22T22:51:03Z"}
    items = [
        run_of(3, "skipped", reason="overlap", missed=missed),
        run_of(2, "missed", reason="missed", missed=missed),
        run_of(1, missed=missed),
    ]
    server.on("GET", "/runs", 200, {"items": items, "next_cursor": None})
    out = " ".join(cli("runs")[1].split())
    assert out.count("270 occurrences until 2026-11-22") == 2
    assert out.count("270 missed before it") == 1
    assert "an earlier run was still open; 270 occurrences" in out


def test_a_table_for_a_pipe_is_as_wide_as_columns_says(cli: Cli, server: Server):
    server.on("GET", "/schedules", 200, {"items": [schedule("s" * 60)], "next_cursor": None})
    lines = cli("list")[1].splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[2].strip() == "0 9 * * mon-fri Europe/London"


def test_preview_prints_times_description_and_warnings(cli: Cli, server: Server):
    occurrence = {
        "nominal_time": "2098-11-24T09:00:00Z",
        "local_time": "2098-11-24T09:00:00+00:00",
        "timezone": "Europe/London",
        "note": None,
    }
    answer = {"occurrences": [occurrence], "description": "At 09:00 on weekdays", "warnings": ["odd"]}
    server.on("POST", "/preview", 200, answer)
    code, out, _ = cli("preview", "0 9 * * mon-fri", "--timezone", "Europe/London", "-n", "5")
    assert code == 0
    assert out.splitlines()[0] == "At 09:00 on weekdays"
    assert "Mon 2098-11-24 09:00  Europe/London  2098-11-24T09:00:00Z" in out
    assert out.splitlines()[-1] == "warning: odd"
    assert server.asked[0].body == {
        "triggers": [{"kind": "cron", "expression": "0 9 * * mon-fri", "timezone": "Europe/London"}],
        "count": 5,
    }
    cli("preview", "--every", "90m", "--at", "2026-12-01T09:00:00")
    assert [trigger["kind"] for trigger in server.asked[1].body["triggers"]] == ["interval", "once"]


def test_run_show_tells_attempts_and_output_without_letting_it_steer_the_terminal(cli: Cli, server: Server):
    attempts = [
        {
            "number": number,
            "state": state,
            "started_at": "2026-11-22T09:01:00Z",
            "finished_at": "2026-11-22T09:01:02Z",
            "worker": "w1",
            "error": error,
            "status_code": code,
        }
        for number, state, error, code in ((1, "failed", "HTTP 503", 503), (2, "succeeded", None, 200))
    ]
    output = "line one [red]\x1b]0;evil\x07\nline two"
    server.on("GET", "/runs/1", 200, run_of(1, attempts=attempts, attempt=2, output=output, output_truncated=True))
    code, out, _ = cli("run", "show", "1")
    assert code == 0
    assert "Attempt 2" in out
    assert "HTTP 503" in out
    assert "Output (cut)" in out
    assert "line one [red]\\x1b]0;evil\\x07\nline two" in out
    assert "\x1b" not in out


def test_run_cancel_and_retry_are_posted(cli: Cli, server: Server):
    server.on("POST", "/runs/1/cancel", 200, run_of(1, "cancelled"))
    server.on("POST", "/runs/1/retry", 202, run_of(2, "queued"))
    assert cli("run", "cancel", "1")[1].endswith("is cancelled\n")
    assert json.loads(cli("run", "retry", "1", "--json")[1])["state"] == "queued"


def test_runs_lists_the_newest_with_lateness_and_duration(cli: Cli, server: Server):
    server.on("GET", "/schedules/digest/runs", 200, {"items": [run_of(1)], "next_cursor": None})
    code, out, _ = cli("runs", "--schedule", "digest", "--state", "succeeded", "--from", "2026-11-22T00:00:00Z")
    assert code == 0
    assert out.splitlines()[0].split() == ["WHEN", "SCHEDULE", "STATE", "TRY", "LATE", "TOOK"]
    assert out.splitlines()[1].endswith("digest    succeeded    1  12 ms  1.5 s")
    assert server.asked[0].query == {"state": "succeeded", "from": "2026-11-22T00:00:00Z", "limit": "50"}


def test_the_key_of_this_machine_is_found_in_the_data_directory(
    cli: Cli, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.delenv("SCHEDULER_API_KEY")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "admin.key").write_text("sched_admin_local\n")
    monkeypatch.setenv("SCHEDULER_DATA_DIR", "here")
    server.on("GET", "/schedules", 200, {"items": [], "next_cursor": None})
    assert cli("list")[:2] == (0, "no schedules\n")
    assert server.asked[0].headers["Authorization"] == "Bearer sched_admin_local"


def test_the_key_of_this_machine_is_not_sent_to_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from backend.cli.options import local_key

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SCHEDULER_DATA_DIR", raising=False)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "admin.key").write_text("secret")
    assert local_key("http://localhost:8003") == "secret"
    assert local_key("https://scheduler.example.org") is None


def test_without_a_url_the_server_of_the_settings_is_asked(cli: Cli, server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SCHEDULER_URL")
    monkeypatch.setenv("SCHEDULER_BIND_HOST", "0.0.0.0")
    monkeypatch.setenv("SCHEDULER_PORT", server.url.rpartition(":")[2])
    server.on("GET", "/schedules", 200, {"items": [], "next_cursor": None})
    assert cli("list")[0] == 0


def test_a_refused_setting_exits_2_with_its_name(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SCHEDULER_URL")
    monkeypatch.setenv("SCHEDULER_PORT", "99999")
    code, _, err = cli("list")
    assert code == 2
    assert "SCHEDULER_PORT" in err


def test_the_database_is_migrated_and_checked_here(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("SCHEDULER_DATABASE_URL", f"sqlite:///{tmp_path}/new/scheduler.db")
    assert json.loads(cli("db", "migrate", "--json")[1])["applied"]
    assert cli("db", "migrate")[1] == "the schema is the newest already\n"
    assert cli("db", "check")[:2] == (0, "no problems\n")
    database = tmp_path / "new" / "scheduler.db"
    for leftover in tmp_path.glob("new/scheduler.db-*"):
        leftover.unlink()
    database.write_bytes(b"this is no database at all" * 100)
    code, out, err = cli("db", "check")
    assert code == 1
    assert out or err


@pytest.mark.parametrize("command", ["migrate", "check"])
def test_a_database_that_does_not_answer_exits_3_and_the_setting_is_named(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str
):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        monkeypatch.setenv("SCHEDULER_DATABASE_URL", f"postgresql://me:hush@127.0.0.1:{port}/app")
        code, out, err = cli("db", command)
    assert (code, out) == (3, "")
    assert err.startswith("the database did not answer: ")
    assert "SCHEDULER_DATABASE_URL" in err
    assert "hush" not in err


@pytest.mark.parametrize("words", [("--url", "http://x:1", "db", "check"), ("db", "migrate", "--url=http://x:1")])
def test_what_works_on_the_database_itself_takes_no_url(cli: Cli, words: tuple[str, ...]):
    code, _, err = cli(*words)
    assert code == 2
    assert "works on the database of this machine's settings (SCHEDULER_DATABASE_URL)" in err
    assert "leave --url out" in err


def test_many_are_paused_and_resumed_by_what_they_have_in_common(cli: Cli, server: Server):
    answer = {"matched": 3, "changed": 1, "refused": 1, "next_cursor": None}
    items = [{"id": "a", "change": "paused", "detail": None}, {"id": "b", "change": "refused", "detail": "why"}]
    server.on("POST", "/schedules/pause", 200, answer | {"items": items})
    server.on("POST", "/schedules/resume", 200, answer | {"items": []})
    told = cli("pause", "--tag", "team=growth", "--note", "upgrade")[1]
    assert told == "1 of 3 that fit paused; 1 refused\na paused\nb refused: why\n"
    assert cli("resume", "--all", "--dry-run")[1] == "1 of 3 that fit would be resumed; 1 refused\n"
    for wrong in (("pause",), ("resume", "a", "--all"), ("resume", "a", "--note", "upgrade")):
        assert cli(*wrong)[0] == 2
