"""`simulate` and `calendars` on the command line: what they ask, what they print and draw."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backend.cli.bars import Series, columns, svg_plot, terminal_plot
from backend.cli.main import run
from tests.unit.cli_server import Server, problem, serving

Cli = Callable[..., tuple[int, str, str]]
BEGIN = datetime(2026, 12, 1, tzinfo=UTC)
SPAN = ("--from", "2026-12-01T00:00:00Z", "--to", "2026-12-02T00:00:00Z")
ANSWER: dict[str, Any] = {
    "schedules": 2,
    "total": 5,
    "bucket_seconds": 60,
    "minutes": [["2026-12-01T00:00:00Z", 1], ["2026-12-01T09:00:00Z", 4]],
    "peak": {"starts": 4, "minutes": ["2026-12-01T09:00:00Z"]},
    "peak_schedules": [{"id": f"job-{n}", "starts": 1} for n in range(7)],
    "peak_schedule_count": 107,
    "overlaps": {
        "count": 0,
        "skipped": 0,
        "waited": 0,
        "replaced": 0,
        "at_return": 0,
        "schedule_count": 0,
        "schedules": [],
    },
    "misfires": None,
    "notes": [],
}


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as told:
        told.on("POST", "/simulate", 200, ANSWER)
        yield told


@pytest.fixture
def cli(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCHEDULER_URL", server.url)
    monkeypatch.setenv("SCHEDULER_API_KEY", "sched_test")
    monkeypatch.setenv("COLUMNS", "80")

    def call(*argv: str) -> tuple[int, str, str]:
        code = run(argv)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def series(*starts: tuple[int, int], hours: int = 24) -> Series:
    found = [(BEGIN + timedelta(minutes=minute), number) for minute, number in starts]
    return Series(BEGIN, BEGIN + timedelta(hours=hours), timedelta(minutes=1), found)


def test_the_plot_and_the_peak_are_printed_within_80_columns(server: Server, cli: Cli):
    code, out, err = cli("simulate", *SPAN)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].startswith("       4 │")
    assert lines[-2] == "5 starts of 2 schedules; at most 4 in a minute (2026-12-01T09:00:00Z)"
    assert lines[-1] == "in the peak: job-0 (1), job-1 (1), job-2 (1), job-3 (1), job-4 (1) and 102 more"
    assert server.asked[-1].body == {"from": SPAN[1], "to": SPAN[3]}


def test_overlaps_misfires_and_notes_are_told(server: Server, cli: Cli):
    overlaps: dict[str, Any] = {
        "count": 3,
        "skipped": 2,
        "waited": 1,
        "replaced": 0,
        "at_return": 1,
        "schedule_count": 1,
    }
    overlaps["schedules"] = [{"id": "job", "count": 3}]
    misfires: dict[str, Any] = {"late": 4, "run": 1, "dropped": {"missed": 3}, "schedule_count": 1}
    misfires["schedules"] = [{"id": "job", "late": 4}]
    told = ANSWER | {"overlaps": overlaps, "misfires": misfires, "notes": ["that is all"]}
    server.on("POST", "/simulate", 200, told)
    _, out, _ = cli("simulate", *SPAN)
    assert out.splitlines()[-6:] == [
        "3 overlap a run of their schedule: 2 skipped, 1 waited",
        "of them 1 as the server returns, which plans at once what is late and due",
        "of them: job (3)",
        "4 fall into the outage; after it 1 runs late, 3 missed",
        "of them: job (4)",
        "note: that is all",
    ]


def test_drafts_lengths_and_an_outage_are_sent(server: Server, cli: Cli, tmp_path: Path):
    (tmp_path / "drafts.yaml").write_text("schedules:\n  - id: a\n    timeout: 1m\n")
    (tmp_path / "lengths.yaml").write_text('a: 5m\n"*": 30\n')
    outage = "2026-12-01T08:00:00Z/2026-12-01T10:00:00Z"
    code, *_ = cli("simulate", *SPAN, "-f", "drafts.yaml", "--durations", "lengths.yaml", "--outage", outage)
    assert code == 0
    assert server.asked[-1].body == {
        "from": SPAN[1],
        "to": SPAN[3],
        "schedules": [{"id": "a", "timeout": "1m"}],
        "durations": {"a": "5m", "*": 30},
        "outage": {"from": "2026-12-01T08:00:00Z", "to": "2026-12-01T10:00:00Z"},
    }
    cli("simulate", *SPAN, "--durations", "30s")
    assert server.asked[-1].body["durations"] == "30s"


def test_what_the_server_refuses_is_told_with_its_line(server: Server, cli: Cli, tmp_path: Path):
    (tmp_path / "drafts.yaml").write_text("schedules:\n  - id: a\n    timeout: 1m\n    triggers: []\n")
    refusal = problem(422, "Unprocessable Entity", "…", ("schedules[0].triggers", "there is none", "give one"))
    server.on("POST", "/simulate", 422, refusal)
    code, _, err = cli("simulate", *SPAN, "-f", "drafts.yaml")
    assert code == 1
    assert err.splitlines()[-1] == "drafts.yaml:4: schedules[0].triggers: there is none; give one"
    assert cli("simulate", *SPAN)[0] == 1


def test_what_is_wrong_with_an_option_is_told_of_the_option_and_not_of_the_file(server: Server, cli: Cli, tmp_path):
    (tmp_path / "drafts.yaml").write_text("schedules:\n  - id: a\n")
    wrong = (("to", "too far", "nearer"), ("outage.to", "bad", "mend it"), ("durations.a", "no length", "give 5m"))
    server.on("POST", "/simulate", 422, problem(422, "Unprocessable Entity", "…", *wrong))
    for drafts in ((), ("-f", "drafts.yaml")):
        _, _, err = cli("simulate", *SPAN, *drafts)
        assert err.splitlines()[-3:] == [
            "--to: too far; nearer",
            "--outage: to: bad; mend it",
            "--durations.a: no length; give 5m",
        ]


@pytest.mark.parametrize(
    "wrong",
    [("--outage", "2026-12-01"), ("--outage", "/b"), ("--durations", "list.yaml"), ("--durations", "missing.yaml")],
)
def test_what_makes_no_sense_is_refused_before_the_server_is_asked(server: Server, cli: Cli, tmp_path: Path, wrong):
    (tmp_path / "list.yaml").write_text("- a\n")
    code, _, err = cli("simulate", *SPAN, *wrong)
    assert code == 2
    assert err
    assert server.asked == []


def test_json_is_the_answer_as_it_is(cli: Cli, tmp_path: Path):
    import json

    code, out, _ = cli("simulate", *SPAN, "--json", "--svg", "load.svg")
    assert (code, json.loads(out)) == (0, ANSWER)
    assert (tmp_path / "load.svg").exists()
    assert cli("simulate", *SPAN, "--svg", "nowhere/load.svg")[0] == 2


def test_no_peak_is_lost_between_the_columns():
    busy = series((0, 1), (700, 9), (701, 2), (1439, 3))
    heights = columns(busy, 68)
    assert len(heights) == 68
    assert (max(heights), heights[0], heights[-1]) == (9, 1, 3)
    assert sum(height > 0 for height in heights) == 3


def test_a_short_range_has_a_column_for_each_of_its_buckets():
    assert columns(series((0, 1), (5, 2), hours=1), 68)[:6] == [1, 0, 0, 0, 0, 2]
    assert len(columns(series((0, 1), hours=1), 68)) == 60


def test_the_terminal_plot_rises_from_nothing_to_the_full_height():
    lines = terminal_plot(series((0, 8), (1, 4), (2, 1), hours=1))
    assert [line[10:13] for line in lines[:8]] == ["█", "█", "█", "█", "██", "██", "██", "███"]
    assert lines[0].startswith("       8 │")
    assert lines[7].startswith("       0 │")
    assert all(len(line) <= 80 for line in lines)
    assert terminal_plot(series())[0] == "       0 │"


def test_whatever_is_above_nothing_is_seen_beside_the_highest():
    lines = terminal_plot(series((0, 100_000), (1, 1), hours=1))
    assert lines[7][10:12] == "█▁"


def test_the_svg_is_well_formed_and_its_bars_lie_within_it():
    text = svg_plot(series(*((minute, minute % 13 + 1) for minute in range(0, 1440, 7))), 'a <title> & "more"')
    root = ET.fromstring(text)
    name = "{http://www.w3.org/2000/svg}"
    assert root[0].text == 'a <title> & "more"'
    bars = root.findall(f".//{name}rect")
    assert len(bars) == 206
    for bar in bars:
        x, y, width, height = (float(bar.attrib[key]) for key in ("x", "y", "width", "height"))
        assert x >= 56
        assert x + width <= 945
        assert y >= 40
        assert y + height == pytest.approx(260, abs=0.2)
    assert len({bar.attrib["height"] for bar in bars}) == 13


def test_an_svg_without_starts_has_no_bars():
    assert "<rect" not in svg_plot(series(), "nothing")


UK = {"id": "uk", "days": ["2026-12-25", "2026-12-28"], "updated_at": "…", "updated_by": "key:admin"}


def test_calendars_are_listed_and_shown(server: Server, cli: Cli):
    server.on("GET", "/calendars", 200, {"items": [UK, UK | {"id": "none", "days": []}], "next_cursor": None})
    server.on("GET", "/calendars/uk", 200, UK)
    assert cli("calendars", "list")[1].splitlines() == [
        "ID    DAYS  FIRST       LAST",
        "uk       2  2026-12-25  2026-12-28",
        "none     0  –           –",
    ]
    assert cli("calendars", "show", "uk")[1] == "2026-12-25\n2026-12-28\n"
    assert cli("calendars", "show", "de")[0] == 4


def test_a_calendar_is_put_from_lines_of_dates(server: Server, cli: Cli, tmp_path: Path):
    (tmp_path / "uk.txt").write_text("# holidays\n2026-12-25\n\n2026-12-28  # substitute\n")
    server.on("PUT", "/calendars/uk", 201, UK | {"replanned": ["office", "shop"]})
    code, out, _ = cli("calendars", "put", "uk.txt")
    assert (code, out) == (0, "uk: 2 days, from 2026-12-25 to 2026-12-28\nplanned anew: office, shop\n")
    assert server.asked[-1].body == {"days": ["2026-12-25", "2026-12-28"]}
    (tmp_path / "uk.txt").write_text("2026-12-25\nnext friday\n")
    code, _, err = cli("calendars", "put", "uk.txt")
    assert code == 2
    assert "uk.txt:2: 'next friday' is not a date" in err


def test_a_calendar_is_put_as_an_icalendar_under_another_id(cli: Cli, server: Server, tmp_path: Path):
    text = "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"
    (tmp_path / "holidays.ics").write_bytes(b"\xef\xbb\xbf" + text.encode())
    received = {}

    def take(asked):
        received.update(asked.headers)
        return 200, UK | {"days": [], "replanned": []}

    server.when("PUT", "/calendars/uk", take)
    code, out, _ = cli("calendars", "put", "holidays.ics", "--id", "uk")
    assert (code, out) == (0, "uk: 0 days\n")
    assert received["Content-Type"] == "text/calendar"
    assert server.asked[-1].body == text


def test_what_is_wrong_with_an_icalendar_is_told_with_file_and_line(cli: Cli, server: Server, tmp_path: Path):
    (tmp_path / "bad.ics").write_text("BEGIN:VCALENDAR\nEND:VCALENDAR\n")
    wrong = (("body", "line 7: no", "mend it"), ("body", "the event on line 2: x", "y"), ("body", "empty", "z"))
    server.on("PUT", "/calendars/bad", 422, problem(422, "Unprocessable Entity", "…", *wrong, ("id", "long", "cut")))
    code, _, err = cli("calendars", "put", "bad.ics")
    assert code == 1
    assert err.splitlines()[-4:] == ["bad.ics:7: no; mend it", "bad.ics:2: x; y", "bad.ics: empty; z", "id: long; cut"]


def test_a_calendar_is_deleted(server: Server, cli: Cli):
    server.on("DELETE", "/calendars/uk", 204, {})
    assert cli("calendars", "delete", "uk")[:2] == (0, "deleted uk\n")
    assert cli("calendars", "put", "-")[0] == 2
