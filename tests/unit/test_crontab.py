"""Crontabs as they are found on machines, line by line."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backend.engine.definition import ScheduleDefinition
from backend.service.crontab import LONGEST_NAME, SHELL, Crontab, Options, read_crontab, split_percent
from backend.service.crontab_ids import make_ids, slug

DATA = Path(__file__).parent / "data"


def read(name: str, **options: Any) -> Crontab:
    return read_crontab((DATA / name).read_bytes(), Options(**({"timezone": "Africa/Cairo"} | options)))


def lines(*text: str, **options: Any) -> Crontab:
    return read_crontab("\n".join(text).encode(), Options(**({"timezone": "UTC"} | options)))


def one(*text: str, **options: Any) -> dict[str, Any]:
    found = lines(*text, **options)
    assert found.problems == []
    assert len(found.jobs) == 1
    return found.jobs[0].document


def told(crontab: Crontab) -> list[tuple[int, str, str, str, str | None]]:
    return [
        (job.line, job.document["id"], trigger["expression"], trigger["timezone"], job.document["name"])
        for job in crontab.jobs
        for trigger in job.document["triggers"]
    ]


def test_the_crontab_of_a_system_is_read_without_its_users():
    found = read("system.crontab", system=True)
    assert found.problems == []
    zone = "Africa/Cairo"
    assert told(found) == [
        (15, "cd-run-parts-report-cron.hourly", "17 * * * *", zone, None),
        (16, "test-x-anacron-cd-run-parts-report-cron.daily", "25 6 * * *", zone, None),
        (17, "test-x-anacron-cd-run-parts-report-cron.weekly", "47 6 * * 7", zone, None),
        (18, "test-x-anacron-cd-run-parts-report-cron.monthly", "52 6 1 * *", zone, None),
        (21, "clear-old-sessions", "09,39 * * * *", zone, "Clear old sessions"),
    ]
    target = found.jobs[0].document["target"]
    assert target["argv"] == ["/bin/sh", "-c", "cd / && run-parts --report /etc/cron.hourly"]
    assert target["env"]["PATH"].startswith("/usr/local/sbin:")
    assert found.without_zone == 5
    assert [warning for warning in found.warnings if "(root 4, www-data 1)" in warning]


def test_the_crontab_of_a_user_keeps_names_zones_variables_and_input():
    found = read("user.crontab")
    assert found.problems == []
    cairo, london = "Africa/Cairo", "Europe/London"
    backup = "Nightly backup of the database, keeps seven copies"
    assert told(found) == [
        (14, "nightly-backup-of-the-database-keeps-seven-copies", "0 3 * * *", cairo, backup),
        (16, "backup.sh-full", "30 4 * * sun", cairo, None),
        (21, "remind-the-team", "15 9 * * mon-fri", london, "Remind the team"),
        (22, "report-date-date-f-a-b-c", "*/10 8-18/2 1,15 jan-jun mon,wed,fri", london, None),
        (23, "curl-fss-ping", "@hourly", london, None),
        (25, "backup.sh-keep-7", "@daily", cairo, None),
        (27, "uberprufung-taglich", "5 5 * * 7", cairo, "Überprüfung täglich"),
    ]
    assert found.without_zone == 4
    first, _, mail, report, *_, last = (job.document["target"] for job in found.jobs)
    assert first["argv"] == ["/bin/bash", "-c", "backup.sh --keep 7 > /srv/ana/backup.log 2>&1   "]
    assert first["cwd"] == "/srv/ana"
    assert first["env"] == {
        "MAILTO": "ops@example.org",
        "SHELL": "/bin/bash",
        "PATH": "/srv/ana/bin:/usr/bin:/bin",
        "HOME": "/srv/ana",
        "EMPTY": "",
        "GREETING": " good morning ",
    }
    assert mail["argv"][3:] == [
        "cron",
        "/bin/bash",
        'mail -s "Stand-up at 9:20 (100% remote)" team@example.org',
        "Good morning,\n\nsee you in five minutes.\n",
    ]
    assert report["argv"][2] == "report --date=$(date +%F) --url=https://example.org/a?b=c"
    assert last["argv"][2] == "A=1 check"
    assert [warning for warning in found.warnings if warning.startswith("line 5: MAILTO")]


def test_a_crontab_from_another_system_is_read_with_its_mark_its_line_ends_and_without_the_last_one():
    found = read("windows.crontab", timezone=None)
    assert found.problems == []
    zone = "America/New_York"
    assert told(found) == [
        (5, "tidy-up", "0 0 1 * *", zone, "Tidy up"),
        (6, "tidy.sh", "30 22 * * FRI", zone, None),
        (8, "last", "15 14 1 * *", zone, None),
    ]
    assert found.jobs[1].document["target"]["argv"][-2:] == ["/opt/tidy.sh", "yes\n"]
    assert found.jobs[2].document["target"]["argv"][2] == "/opt/last"
    assert [warning for warning in found.warnings if warning.startswith("line 2: TZ is taken for the zone")]


def test_every_bad_line_is_named_and_not_only_the_first():
    found = read("bad.crontab")
    assert [(line, field, rule) for line, field, rule, _ in found.problems] == [
        (3, "schedule", "@reboot is no time, and a schedule has times"),
        (4, "triggers[0].expression", "minute 61 is outside 0–59"),
        (5, "schedule", "it is neither times with a command nor NAME=VALUE"),
        (6, "schedule", "it is neither times with a command nor NAME=VALUE"),
        (7, "triggers[0].expression", "day 30 never occurs in month 2"),
        (8, "MAILTO", "its quote does not end with the line"),
        (9, "triggers[0].expression", "'@fortnightly' is not a known alias"),
        (10, "command", "it is empty"),
        (11, "triggers[0].timezone", "'Europe/Lundon' is not a known time zone"),
        (15, "target.env.SCHEDULER_RUN_ID", "SCHEDULER_RUN_ID tells the command which run this is"),
        (17, "line", "not UTF-8 (byte 0xe9)"),
        (18, "line", "it holds a NUL character"),
    ]
    assert all(problem.fix for problem in found.problems)


@pytest.mark.parametrize("name", ["system.crontab", "user.crontab", "windows.crontab"])
def test_what_is_made_of_a_crontab_is_a_definition(name: str):
    for job in read(name, system=name == "system.crontab", prefix="web1-").jobs:
        definition = ScheduleDefinition.model_validate(job.document)
        assert str(definition.id).startswith("web1-")


def test_the_same_file_gives_the_same_schedules():
    assert read("user.crontab") == read("user.crontab")


def test_another_time_keeps_the_id():
    assert one("0 5 * * * backup")["id"] == one("30 6 * * 1 backup")["id"]


def test_a_job_that_is_added_below_leaves_the_ids_above():
    before = lines("0 5 * * * backup", "0 6 * * * backup")
    after = lines("0 5 * * * backup", "0 6 * * * backup", "0 7 * * * backup", "0 8 * * * backup-2")
    assert [job.document["id"] for job in after.jobs] == ["backup", "backup-2", "backup-3", "backup-2-2"]
    assert after.jobs[:2] == before.jobs


def test_an_imported_job_is_not_killed_repeated_or_given_up_sooner_than_by_cron():
    definition = ScheduleDefinition.model_validate(one("0 5 * * * backup"))
    assert definition.timeout.days == 7
    assert definition.retry.max_attempts == 1
    assert definition.pause_after_failures == 0


@pytest.mark.parametrize(
    "comment",
    [
        ["# m h  dom mon dow   command"],
        ["# minute hour day month weekday"],
        ["# ----------"],
        ["#"],
        ["# 0 5 * * * something else"],
        ["# */5 * * * * something else"],
        ["# @daily something else"],
        ["# MAILTO=me"],
        ["# A name, but a blank line stands between", ""],
        ["# A name, but a variable stands between", "A=b"],
    ],
)
def test_what_only_looks_like_a_name_is_none(comment: list[str]):
    assert one(*comment, "0 5 * * * backup")["name"] is None


@pytest.mark.parametrize(
    ("comment", "name"),
    [
        (["#Backup"], "Backup"),
        (["  #\t Two \t words "], "Two words"),
        (["# Old", "", "# New"], "New"),
        (["# m h dom mon dow", "# Backup"], "Backup"),
        (["# 3 times a day"], "3 times a day"),
        (["# bell \x07 rung"], "bell rung"),
    ],
)
def test_the_comment_directly_above_is_the_name(comment: list[str], name: str):
    assert one(*comment, "0 5 * * * backup")["name"] == name


def test_a_comment_names_the_next_job_alone():
    assert [job.document["name"] for job in lines("# Both", "@daily a", "@daily b").jobs] == ["Both", None]


def test_a_long_comment_is_cut_to_what_a_name_may_be():
    name = one("# " + "word " * 100, "0 5 * * * backup")["name"]
    assert len(name) == 200
    assert name.endswith("…")


def test_a_name_that_no_id_can_hold_leaves_the_id_to_the_command():
    assert one("# バックアップ", "@daily /opt/backup.sh")["id"] == "backup.sh"
    assert one("@daily ./バックアップ")["id"] == "job"


def test_variables_hold_for_the_jobs_below_them():
    first, second, third = lines("@daily a", "X=1", "@daily b", "X=2", "Y=' z '", "@daily c").jobs
    assert first.document["target"]["env"] == {}
    assert second.document["target"]["env"] == {"X": "1"}
    assert third.document["target"]["env"] == {"X": "2", "Y": " z "}


def test_cron_tz_outranks_tz_and_both_outrank_the_default():
    found = lines("@daily a", "TZ=Africa/Cairo", "@daily b", "CRON_TZ=Europe/London", "@daily c", timezone="UTC")
    assert [row[3] for row in told(found)] == ["UTC", "Africa/Cairo", "Europe/London"]
    assert found.jobs[2].document["target"]["env"] == {"TZ": "Africa/Cairo", "CRON_TZ": "Europe/London"}


def test_a_tz_below_a_cron_tz_leaves_the_times_where_they_are_and_a_note_says_so():
    found = lines("CRON_TZ=Europe/London", "@daily a", "TZ=Africa/Cairo", "@daily b", "@daily c")
    assert [row[3] for row in told(found)] == ["Europe/London"] * 3
    assert list(found.warnings) == [
        (
            "line 3: TZ is for the commands alone here, since CRON_TZ (line 1) goes first: "
            "the times below stay in Europe/London"
        )
    ]
    assert lines("TZ=Africa/Cairo", "CRON_TZ=Europe/London", "@daily a").warnings == []
    assert lines("CRON_TZ=Europe/London", "TZ=Europe/London", "@daily a").warnings == []


def test_a_bad_zone_hides_nothing_of_what_is_wrong_below_it():
    found = lines("CRON_TZ=Europe/Lonndon", "@daily a", "99 * * * * b", "* * * * 8 c")
    assert [(problem.line, problem.field) for problem in found.problems] == [
        (1, "triggers[0].timezone"),
        (3, "triggers[0].expression"),
        (4, "triggers[0].expression"),
    ]
    assert [problem.line for problem in lines("99 * * * * b", timezone=None).problems] == [1, 1]


def test_without_any_zone_each_job_is_refused():
    found = lines("@daily a", "CRON_TZ=Africa/Cairo", "@daily b", timezone=None)
    assert [(problem.line, problem.field) for problem in found.problems] == [(1, "timezone")]
    assert "--timezone" in found.problems[0].fix


def test_users_where_there_are_none_are_refused_and_missing_ones_are_suspected():
    found = lines("@daily /usr/bin/backup now", "0 5 * * * root", system=True)
    assert [(problem.line, problem.field) for problem in found.problems] == [(1, "user"), (2, "command")]
    assert [w for w in lines("@daily root /usr/bin/backup").warnings if "--system" in w]


def test_an_empty_crontab_has_no_jobs():
    assert lines("", "# nothing").jobs == []
    assert read_crontab(b"", Options(None)) == Crontab([], [], [], 0)


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_standard_input_reaches_the_command_exactly_and_its_exit_code_counts(shell: str):
    text = r"""cat; printf '[%s]' "$0"; exit 7%-n it's "q" $HOME `x` \\ 100\%%%end"""
    argv = one(f"SHELL={shell}", f"@daily {text.replace('[%s]', '[done]')}")["target"]["argv"]
    done = subprocess.run(argv, input="{}", capture_output=True, text=True, check=False, timeout=30)
    assert done.stdout == '-n it\'s "q" $HOME `x` \\\\ 100%\n\nend\n' + "[done]"
    assert done.returncode == 7


def as_cron_reads(text: str) -> tuple[str, str | None]:
    """Read a command character by character, as crontab(5) describes it."""
    command, place, escaped = "", 0, False
    while place < len(text) and (escaped or text[place] != "%"):
        if escaped and text[place] == "%":
            command = command[:-1]
        command += text[place]
        escaped = not escaped and text[place] == "\\"
        place += 1
    if place == len(text):
        return command, None
    stdin = ""
    for character in text[place + 1 :]:
        if character == "%":
            stdin = stdin[:-1] + "%" if escaped else stdin + "\n"
        else:
            stdin += character
        escaped = character == "\\"
    return command, stdin if not stdin or stdin[-1] == "\n" else stdin + "\n"


@given(st.text("ab%\\ ", max_size=30))
@example("a\\")
@example("\\\\%\\\\%")
@example("a%")
def test_percent_signs_are_read_as_cron_does(text: str):
    assert split_percent(text) == as_cron_reads(text)


@given(st.lists(st.text(max_size=80), max_size=20))
def test_ids_are_always_distinct_and_allowed(labels: list[str]):
    ids = make_ids(labels, "x-")
    assert len(set(ids)) == len(ids) == len(labels)
    trigger, target = {"kind": "interval", "every": "1d"}, {"kind": "command", "argv": [SHELL]}
    for id_ in ids:
        assert ScheduleDefinition.model_validate({"id": id_, "triggers": [trigger], "target": target}).id == id_


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(content: bytes):
    read_crontab(content, Options("UTC"))


def test_a_long_word_is_cut_in_an_id():
    assert slug("x" * 300) == "x" * 60


def test_a_long_comment_is_read_in_one_go():
    began = time.process_time()
    found = lines(*["# x"] * 100_000, "0 5 * * * job")
    assert [len(job.document["name"]) for job in found.jobs] == [LONGEST_NAME]
    assert time.process_time() - began < 10, "each line of it copies all above"
