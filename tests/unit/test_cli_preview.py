"""Times on the command line: what `preview` and `add` are told, and how times, rules and warnings are shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.cli.main import run
from backend.cli.schedule_rows import describe, when_text
from backend.cli.times import instant, moment
from tests.unit.cli_server import Asked, Server, problem, schedule, serving

Cli = Callable[..., tuple[int, str, str]]
NOW = moment("2026-12-01T00:00:00Z")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as told:
        yield told


@pytest.fixture
def cli(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.chdir(tmp_path)
    options = ("--url", server.url, "--api-key", "sched_test")

    def call(*argv: str) -> tuple[int, str, str]:
        at = argv.index("--") if "--" in argv else len(argv)
        code = run([*argv[:at], *options, *argv[at:]])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def shown(id_: str = "a", **changes: Any) -> dict[str, Any]:
    occurrence = {
        "nominal_time": "2098-11-24T09:00:00Z",
        "scheduled_time": "2098-11-24T09:00:00Z",
        "local_time": "2098-11-24T09:00:00+00:00",
        "timezone": "UTC",
        "note": None,
    }
    return {"occurrences": [occurrence | changes], "description": f"words of {id_}", "warnings": []}


def test_preview_takes_every_kind_of_trigger_the_clock_changes_and_an_id(cli: Cli, server: Server):
    server.on("POST", "/preview", 200, shown())
    code, _, err = cli(
        *("preview", "H 7 * * *", "--cron", "0 9 * * *", "--every", "90m", "--at", "2026-12-01T09:00:00"),
        *("--rrule", "FREQ=MONTHLY;BYDAY=1MO", "--dtstart", "2026-01-05T09:00:00", "--timezone", "Europe/London"),
        *("--dst-gap", "skip", "--dst-overlap", "both", "--id", "hh", "--from", "2026-11-01", "-n", "3"),
    )
    assert (code, err) == (0, "")
    zone, changes = {"timezone": "Europe/London"}, {"dst_gap": "skip", "dst_overlap": "both"}
    assert server.asked[0].body == {
        "triggers": [
            {"kind": "cron", "expression": "H 7 * * *"} | zone | changes,
            {"kind": "cron", "expression": "0 9 * * *"} | zone | changes,
            {"kind": "interval", "every": "90m"},
            {"kind": "once", "at": "2026-12-01T09:00:00"} | zone,
            {"kind": "rrule", "rule": "FREQ=MONTHLY;BYDAY=1MO", "dtstart": "2026-01-05T09:00:00"} | zone,
        ],
        "id": "hh",
        "count": 3,
        "from": "2026-11-01T00:00:00Z",
    }


def test_add_takes_calendar_rules_and_clock_changes_too(cli: Cli, server: Server):
    server.on("POST", "/schedules", 201, schedule())
    cli("add", "x", "--rrule", "FREQ=DAILY", "--dtstart", "2026-01-05T09:00:00", "--", "echo")
    assert server.asked[0].body["triggers"] == [
        {"kind": "rrule", "rule": "FREQ=DAILY", "dtstart": "2026-01-05T09:00:00"}  # the namespace's zone
    ]
    cli("add", "x", "--cron", "30 2 * * *", "--dst-gap", "skip", "--", "echo")
    assert server.asked[1].body["triggers"][0]["dst_gap"] == "skip"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--rrule", "FREQ=DAILY"), "--rrule needs the local time that it counts from"),
        (("--every", "1h", "--dtstart", "2026-01-05T09:00:00"), "--dtstart goes with --rrule"),
        (("--every", "1h", "--dst-gap", "skip"), "go with --cron"),
        (("-f", "drafts.yaml", "--every", "1h"), "--file has the rules"),
        (("-f", "drafts.yaml", "--id", "x"), "--file has the rules"),
        (("--id", "x"), "it never fires"),
    ],
)
def test_options_that_do_not_belong_together_are_wrong_usage(cli: Cli, server: Server, argv, words):
    code, _, err = cli("preview", *argv)
    assert (code, server.asked) == (2, [])
    assert words in err


DRAFTS = """\
schedules:
  - id: one
    triggers: [{kind: cron, expression: "0 9 * * *"}]
    exclusions: [{kind: date, date: 2026-12-25}]
    end_at: 2027-01-01T00:00:00Z
    jitter: 5m
    max_runs: 3
    target: {kind: http, url: "https://example.org"}
  - id: two
    triggers:
      - kind: cron
        expression: "61 * * * *"
    target: {kind: http, url: "https://example.org"}
"""


def test_each_draft_of_a_file_is_previewed_with_all_that_decides_its_times(cli: Cli, server: Server, tmp_path: Path):
    (tmp_path / "drafts.yaml").write_text(DRAFTS)
    server.when("POST", "/preview", lambda asked: (200, shown(asked.body["id"])))
    code, out, _ = cli("preview", "-f", "drafts.yaml", "-n", "2")
    assert code == 0
    assert [line for line in out.splitlines() if line in {"one", "two", "words of one", "words of two"}] == [
        "one",
        "words of one",
        "two",
        "words of two",
    ]
    assert server.asked[0].body == {
        "id": "one",
        "triggers": [{"kind": "cron", "expression": "0 9 * * *"}],
        "exclusions": [{"kind": "date", "date": "2026-12-25"}],
        "end_at": "2027-01-01T00:00:00Z",
        "jitter": "5m",
        "max_runs": 3,
        "count": 2,
    }
    items = json.loads(cli("preview", "-f", "drafts.yaml", "--json")[1])["items"]
    assert [(item["id"], item["description"]) for item in items] == [("one", "words of one"), ("two", "words of two")]


def test_a_draft_that_is_refused_is_named_with_its_line(cli: Cli, server: Server, tmp_path: Path):
    (tmp_path / "drafts.yaml").write_text(DRAFTS)

    def reply(asked: Asked) -> tuple[int, Any]:
        error = ("triggers[0].expression", "minute 61 is outside 0–59", "use 0–59")
        refusal = problem(422, "Unprocessable Entity", "as below", error)
        return (422, refusal) if asked.body["id"] == "two" else (200, shown())

    server.when("POST", "/preview", reply)
    code, _, err = cli("preview", "-f", "drafts.yaml")
    assert code == 1
    assert "drafts.yaml:12: schedules[1].triggers[0].expression: minute 61 is outside 0–59; use 0–59" in err


def test_a_column_says_when_jitter_lets_a_time_fire(cli: Cli, server: Server):
    server.on("POST", "/preview", 200, shown(scheduled_time="2098-11-24T09:12:03Z"))
    header, row = cli("preview", "0 9 * * *")[1].splitlines()[1:3]
    assert "FIRES" in header
    assert "2098-11-24T09:00:00Z  09:12:03Z" in row
    server.on("POST", "/preview", 200, shown(scheduled_time="2098-11-25T00:01:00Z"))
    assert "2098-11-24T09:00:00Z  2098-11-25T00:01:00Z" in cli("preview", "0 9 * * *")[1]
    server.on("POST", "/preview", 200, shown())
    assert "FIRES" not in cli("preview", "0 9 * * *")[1]


def test_what_may_surprise_is_told_beside_the_answer_when_something_is_made(cli: Cli, server: Server, tmp_path: Path):
    server.on("POST", "/schedules", 201, schedule("w45", warnings=["*/45 is uneven"]))
    code, out, err = cli("add", "w45", "--cron", "*/45 * * * *", "--", "echo")
    assert (code, err) == (0, "warning: */45 is uneven\n")
    assert out.startswith("created w45")
    code, out, err = cli("add", "w45", "--cron", "*/45 * * * *", "--json", "--", "echo")
    assert (json.loads(out)["warnings"], err) == (["*/45 is uneven"], "")
    (tmp_path / "drafts.yaml").write_text(DRAFTS)
    items = [
        {"id": "one", "created": True, "change": "created", "warnings": []},
        {"id": "two", "created": True, "change": "created", "warnings": ["*/45 is uneven"]},
    ]
    server.on("POST", "/schedules/batch", 200, {"items": items})
    code, _, err = cli("apply", "-f", "drafts.yaml")
    assert (code, err) == (0, "warning: drafts.yaml:10: two: */45 is uneven\n")
    assert cli("apply", "-f", "drafts.yaml", "--json")[2] == ""


RULE = {"kind": "rrule", "rule": "FREQ=DAILY", "dtstart": "2026-01-05T09:00:00", "timezone": "Europe/London"}
EXCLUSIONS = [
    {"kind": "cron", "expression": "* * 25 12 *", "timezone": "UTC"},
    {"kind": "date", "date": "2026-12-26", "timezone": "UTC"},
    {"kind": "range", "from": "2026-12-24", "to": "2027-01-01", "timezone": "UTC"},
    {"kind": "calendar", "calendar": "uk", "timezone": "UTC"},
]


def test_show_tells_rules_exclusions_jitter_and_limits():
    fields = describe(
        schedule(
            triggers=[RULE],
            exclusions=EXCLUSIONS,
            jitter="30m",
            max_runs=3,
            description="every day at 09:00",
            warnings=["odd"],
        ),
        NOW,
    )
    assert [value for name, value in fields if name in {"when", "except"}] == [
        "FREQ=DAILY from 2026-01-05T09:00:00 Europe/London",
        "* * 25 12 * UTC",
        "2026-12-26 UTC",
        "2026-12-24 to 2027-01-01 UTC",
        "calendar uk UTC",
    ]
    told = dict(fields)
    assert (told["in words"], told["warning"], told["window"]) == ("every day at 09:00", "odd", "at most 3 runs")
    assert told["jitter"] == "up to 30m later, each occurrence by an amount of its own"
    assert "jitter" not in dict(describe(schedule(jitter="0s"), NOW))
    bounded = dict(describe(schedule(start_at="2026-12-01T00:00:00Z", max_runs=1), NOW))
    assert bounded["window"].startswith("from 2026-1")
    assert bounded["window"].endswith(", at most 1 run")


def test_a_list_tells_a_few_exclusions_by_name_and_more_by_number():
    rule = "FREQ=DAILY from 2026-01-05T09:00:00 Europe/London"
    assert when_text(schedule(triggers=[RULE], exclusions=EXCLUSIONS[3:])) == f"{rule}, except calendar uk UTC"
    assert when_text(schedule(triggers=[RULE], exclusions=EXCLUSIONS)) == f"{rule}, except 4 exclusions"


def test_runs_that_wait_for_others_can_be_listed(cli: Cli, server: Server):
    server.on("GET", "/runs", 200, {"items": [], "next_cursor": None})
    assert cli("runs", "--state", "buffered", "--from", "2026-11-01")[0] == 0
    assert server.asked[0].query == {"state": "buffered", "from": "2026-11-01T00:00:00Z", "limit": "50"}


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("2026-11-01", "2026-11-01T00:00:00Z"),
        ("2026-11-01T09:00:00Z", "2026-11-01T09:00:00Z"),
        ("x", "x"),
        (None, None),
    ],
)
def test_a_date_stands_for_its_beginning_in_utc(text, sent):
    assert instant(text) == sent


def test_a_rehearsed_backfill_lists_twenty_instants_and_counts_the_rest(cli: Cli, server: Server):
    nominal = [f"2026-11-01T{n // 60:02}:{n % 60:02}:00Z" for n in range(100)]
    answer = {"count": 120, "first": nominal[0], "last": "2026-11-01T01:59:00Z", "recorded": 0, "backfill_id": None}
    server.on("POST", "/schedules/digest/backfill", 200, answer | {"nominal_times": nominal})
    out = cli("backfill", "digest", "--from", "2026-11-01", "--to", "2026-11-02", "--dry-run")[1].splitlines()
    assert [line.strip() for line in out[1:]] == [*nominal[:20], "… and 100 more"]
    assert server.asked[0].body == {"from": "2026-11-01T00:00:00Z", "to": "2026-11-02T00:00:00Z", "dry_run": True}


def test_every_bad_line_of_a_calendar_is_named(cli: Cli, server: Server, tmp_path: Path):
    (tmp_path / "uk.txt").write_text("2026-12-25\nnext friday\n# a comment\n2026-02-30\n")
    code, _, err = cli("calendars", "put", "uk.txt")
    assert (code, server.asked) == (2, [])
    assert err.splitlines() == [
        "uk.txt:2: 'next friday' is not a date",
        "uk.txt:4: '2026-02-30' is not a date",
        "give one such as 2026-12-25 on each line",
    ]
    (tmp_path / "long.txt").write_text("x\n" * 25)
    assert "… and 5 more" in cli("calendars", "put", "long.txt")[2]


def test_dates_are_read_alike_wherever_a_command_takes_an_instant(cli: Cli, server: Server):
    span = ("--from", "2026-11-01", "--to", "2026-11-02")
    cli("audit", *span)
    cli("simulate", *span)
    cli("list", "--due-before", "2026-11-01")
    asked = [{**one.query, **(one.body or {})} for one in server.asked]
    instants = [value for one in asked for name, value in one.items() if name in {"from", "to", "due_before"}]
    begin, end = "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"
    assert instants == [begin, end, begin, end, begin]
