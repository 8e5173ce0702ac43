"""`import crontab` and `export`: what the server is asked, and what a person is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from backend.cli.crontab import machine_zone
from backend.cli.export import definitions, yaml_text
from backend.cli.main import run
from backend.cli.yaml_file import read_schedules
from tests.unit.cli_server import Asked, Server, problem, schedule, serving

CRONTAB = """\
# Nightly backup
0 3 * * * backup.sh
MAILTO=ops@example.org

*/5 * * * * poll
"""

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
    (tmp_path / "my.crontab").write_text(CRONTAB)
    options = ("--url", server.url, "--api-key", "sched_test")

    def call(*argv: str) -> tuple[int, str, str]:
        code = run([*argv, *options])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def batch(change: str) -> dict[str, Any]:
    return {
        "items": [{"id": id_, "created": change == "created", "change": change} for id_ in ("nightly-backup", "poll")]
    }


def test_a_crontab_is_rehearsed_and_then_sent_in_one_batch(cli: Cli, server: Server):
    server.on("POST", "/schedules/batch", 200, batch("created"))
    code, out, err = cli("import", "crontab", "./my.crontab", "--timezone", "Europe/London")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "LINE  CHANGE   ID              WHEN",
        "   2  created  nightly-backup  0 3 * * * Europe/London",
        "   5  created  poll            */5 * * * * Europe/London",
        "2 created",
        "note: 2 of 2 jobs are read in the zone Europe/London (as --timezone says)",
        "note: line 3: MAILTO is only a variable here: output is kept with each run, and not mailed",
    ]
    rehearsal, done = (asked.body for asked in server.asked)
    assert rehearsal.pop("dry_run") is True
    assert done.pop("dry_run") is False
    assert rehearsal == done
    assert [one["id"] for one in done.pop("schedules")] == ["nightly-backup", "poll"]
    assert done == {"source": "my.crontab", "prune": False}


def test_a_dry_run_says_when_each_would_fire_next(cli: Cli, server: Server):
    def preview(asked: Asked) -> tuple[int, Any]:
        hour = 3 if asked.body["id"] == "nightly-backup" else 0
        return 200, {"occurrences": [{"nominal_time": f"2098-11-24T0{hour}:00:00Z"}]}

    server.on("POST", "/schedules/batch", 200, batch("created"))
    server.when("POST", "/preview", preview)
    argv = ("import", "crontab", "my.crontab", "--timezone", "UTC", "--dry-run", "--prune", "--source", "table")
    code, out, _ = cli(*argv)
    assert code == 0
    assert "2 created (dry run: nothing was written)\n" in out
    assert [line.split()[-3:] for line in out.splitlines()[1:3]]
    told = json.loads(cli(*argv, "--json")[1])
    assert [(item["line"], item["next_nominal_time"]) for item in told["items"]] == [
        (2, "2098-11-24T03:00:00Z"),
        (5, "2098-11-24T00:00:00Z"),
    ]
    bodies = [asked.body for asked in server.asked if asked.path == "/schedules/batch"]
    assert all((body["dry_run"], body["prune"], body["source"]) == (True, True, "table") for body in bodies)


def test_schedules_that_something_else_made_are_not_changed(cli: Cli, server: Server):
    server.on("POST", "/schedules/batch", 200, batch("updated"))
    server.on("GET", "/schedules/poll", 200, schedule("poll", source=None))
    server.on("GET", "/schedules/nightly-backup", 200, schedule("nightly-backup", source="my.crontab"))
    code, _, err = cli("import", "crontab", "my.crontab", "--timezone", "UTC")
    assert code == 1
    assert "my.crontab did not make: poll\n" in err
    assert "--prefix" in err
    assert [asked.body["dry_run"] for asked in server.asked if asked.body] == [True]


def test_a_crontab_with_bad_lines_exits_2_and_asks_nothing(cli: Cli, server: Server, tmp_path: Path):
    (tmp_path / "my.crontab").write_text("@reboot agent\n0 5 * * * fine\n61 * * * * late\n")
    code, _, err = cli("import", "crontab", "my.crontab", "--timezone", "UTC")
    assert code == 2
    assert err.splitlines()[0].startswith("my.crontab:1: schedule: @reboot is no time")
    assert err.splitlines()[1].startswith("my.crontab:3: triggers[0].expression: minute 61 is outside 0–59; use 0–59")
    assert err.splitlines()[2:] == ["nothing was imported"]
    assert not server.asked


def test_what_the_server_refuses_is_named_with_its_line(cli: Cli, server: Server):
    rule = ("schedules[1].target.kind", "commands are switched off", "set SCHEDULER_ALLOW_COMMANDS=true on the server")
    other = ("source", "it is longer than 200 characters", "shorten it")
    server.on("POST", "/schedules/batch", 422, problem(422, "Unprocessable Entity", "as below", rule, other))
    code, _, err = cli("import", "crontab", "my.crontab", "--timezone", "UTC")
    assert code == 1
    assert "my.crontab:5: target.kind: commands are switched off; set SCHEDULER_ALLOW_COMMANDS=true" in err
    assert "my.crontab:source: it is longer" in err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("nowhere.crontab",), "nowhere.crontab: it cannot be read"),
        (("my.crontab", "--prefix", "-x"), "--prefix"),
        (("my.crontab", "--timezone", "Europe/Lundon"), "my.crontab:2: triggers[0].timezone: 'Europe/Lundon' is not"),
        (("my.crontab", "--system"), "my.crontab:2: command: it is empty"),
        ((), "FILE"),
    ],
)
def test_wrong_usage_exits_2(cli: Cli, server: Server, argv: tuple[str, ...], words: str):
    code, out, err = cli("import", "crontab", *argv)
    assert code == 2
    assert words in out + err
    assert not server.asked


@pytest.mark.parametrize(
    ("link", "file", "zone"),
    [
        ("/usr/share/zoneinfo/Europe/London", None, "Europe/London"),
        ("/usr/share/zoneinfo/Etc/UTC", "Africa/Cairo\n", "Etc/UTC"),
        (None, "Africa/Cairo\n", "Africa/Cairo"),
        (None, "\n", None),
        (None, None, None),
    ],
)
def test_the_machine_tells_its_zone_by_link_or_by_file(
    tmp_path: Path, link: str | None, file: str | None, zone: str | None
):
    if link:
        folder = tmp_path / link.removeprefix("/")
        folder.parent.mkdir(parents=True)
        folder.touch()
        (tmp_path / "localtime").symlink_to(folder)
    if file is not None:
        (tmp_path / "timezone").write_text(file)
    assert machine_zone(tmp_path / "localtime", tmp_path / "timezone") == zone


AWKWARD = [
    *(
        "on",
        "Yes",
        "n",
        "null",
        "~",
        "",
        "true",
        "1:30",
        "010",
        "0o17",
        "0x1F",
        "1e3",
        "1_000",
        ".5",
        ".inf",
        "=",
        "<<",
    ),
    *("2026-12-01", "2026-12-01T09:00:00", "@daily", "*/5 * * * *", "- a", "a: b", "a #b", " a ", "'", '"', "\\", "%"),
    *(
        "a\nb\n",
        "tab\t",
        "\x85\u2028",
        "zwölf",
        "日本",
        "😀",
        "\ufeff",
        "&a",
        "*a",
        "!a",
        "?",
        "|",
        "{a}",
        "[",
        "a" * 300,
    ),
    *("plain", "Europe/London", "3m", "a.b-c_d"),
]


def test_text_stays_text_for_readers_of_both_versions_of_yaml():
    document = {"schedules": [{"id": "a", "input": {text: text for text in AWKWARD} | {"list": AWKWARD}}]}
    text = yaml_text(document)
    assert yaml.safe_load(text) == document
    assert read_schedules("f.yaml", text.encode()).schedules == document["schedules"]
    assert (
        yaml.safe_load(text.encode("ascii", "backslashreplace")) == document
    )  # as printed where the terminal is ASCII
    assert "&id" not in text


@pytest.mark.parametrize("value", [0, -7, 2**53, 1.0, 1e300, 1e-7, -0.0, True, False, None, [], {}, [[1], {"a": [2]}]])
def test_other_values_keep_their_type(value: object):
    text = yaml_text({"schedules": [{"id": "a", "input": {"x": value}}]})
    (found,) = read_schedules("f.yaml", text.encode()).schedules
    assert repr(found["input"]["x"]) == repr(value) == repr(yaml.safe_load(text)["schedules"][0]["input"]["x"])


def test_an_export_has_what_was_defined_and_no_more():
    found = schedule("digest", input={"a": 1}, owner="user-42", misfire_policy="skip", next_nominal_time=None)
    assert definitions([found]) == [
        {
            "id": "digest",
            "triggers": [{"kind": "cron", "expression": "0 9 * * mon-fri", "timezone": "Europe/London"}],
            "target": {"kind": "http", "url": "https://example.org/hook"},
            "input": {"a": 1},
            "tags": {"team": "growth"},
            "owner": "user-42",
            "misfire_policy": "skip",
            "retry": {"max_attempts": 3, "initial": "10s", "maximum": "10m", "multiplier": 2.0},
        }
    ]


def test_an_export_goes_to_a_file_or_to_standard_output(cli: Cli, server: Server, tmp_path: Path):
    items = [schedule("a"), schedule("b", state="paused")]
    server.on("GET", "/schedules", 200, {"items": items, "next_cursor": None})
    code, out, err = cli("export", "--tag", "team=growth")
    assert code == 0
    assert "paused here, which a file cannot say; a new server would run them: b" in err
    assert server.asked[0].query["tag"] == "team:growth"
    code, said, _ = cli("export", "-o", "out.yaml")
    assert (code, said) == (0, "2 schedules written to out.yaml\n")
    assert (tmp_path / "out.yaml").read_text() == out
    assert json.loads(cli("export", "--json")[1]) == yaml.safe_load(out)
    assert cli("export", "-o", "no/such/folder.yaml")[0] == 2


def test_an_export_of_what_cannot_be_read_says_so_and_writes_nothing(cli: Cli, server: Server, tmp_path: Path):
    broken = {"id": "broken", "name": "broken", "namespace": "default", "state": "error", "error": "no kind"}
    server.on("GET", "/schedules", 200, {"items": [schedule("a"), broken], "next_cursor": None})
    code, out, err = cli("export", "-o", "out.yaml")
    assert (code, out) == (1, "")
    assert "broken" in err
    assert not (tmp_path / "out.yaml").exists()


def test_an_export_of_nothing_is_an_empty_file_that_apply_takes(cli: Cli, server: Server):
    server.on("GET", "/schedules", 200, {"items": [], "next_cursor": None})
    code, out, _ = cli("export")
    assert code == 0
    assert read_schedules("f.yaml", out.encode()).schedules == []
