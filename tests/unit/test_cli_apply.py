"""`apply`: what a file means, on which line it is wrong, and what the server is asked."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import gethostname
from typing import Any

import pytest

from backend.cli.failures import WrongUsage
from backend.cli.main import run
from backend.cli.yaml_file import read_schedules
from tests.unit.cli_server import Server, problem, serving

FILE = """\
# a comment
schedules:
  - id: first
    triggers:
      - kind: cron
        expression: "0 9 * * *"
    target: {kind: http, url: "https://example.org"}
  - id: second
    triggers:
      - {kind: interval, every: 15m}
      - kind: cron
        expression: 61 * * * *
        timezone: Europe/London
"""


def read(text: str | bytes) -> list[dict[str, Any]]:
    return read_schedules("f.yaml", text.encode() if isinstance(text, str) else text).schedules


def refusal(text: str | bytes) -> str:
    with pytest.raises(WrongUsage) as refused:
        read(text)
    return str(refused.value)


def values(text: str) -> Any:
    return read(f"schedules:\n  - id: a\n    input: {text}\n")[0]["input"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-12-01T09:00:00", "2026-12-01T09:00:00"),
        ("2026-12-01", "2026-12-01"),
        ("2026-12-01 09:00:00.5 +01:00", "2026-12-01 09:00:00.5 +01:00"),
        ("12:30:45", "12:30:45"),
        ("1:30", "1:30"),
        ("1:30.5", "1:30.5"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("n", "n"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-7", -7),
        ("1_000", "1_000"),
        ("1e3", 1000.0),
        ("-.5", -0.5),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("'010'", "010"),
        ('"true"', "true"),
        ("!!str 12", "12"),
        ("0 9 * * *", "0 9 * * *"),
        ("{on: 1, 5: x}", {"on": 1, "5": "x"}),
        ("|\n      a\n      b\n", "a\nb\n"),
        ("[1, [2]]", [1, [2]]),
        ("=", "="),
    ],
)
def test_scalars_mean_what_was_written(text: str, value: object):
    found = values(text)
    assert found == value
    assert type(found) is type(value)


def test_merge_keys_and_aliases_are_written_out():
    found = read(
        "schedules:\n"
        "  - &base {id: a, timeout: 3m, tags: {x: y}}\n"
        "  - {<<: *base, id: b}\n"
        "  - {<<: [{timeout: 1s}, *base], id: c}\n"
    )
    assert found == [
        {"id": "a", "timeout": "3m", "tags": {"x": "y"}},
        {"id": "b", "timeout": "3m", "tags": {"x": "y"}},
        {"id": "c", "timeout": "1s", "tags": {"x": "y"}},
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schedules:\n  - id: a\n   bad: [\n", "f.yaml:3: not YAML"),
        ("schedules:\n  - id: a\n    id: b\n", "f.yaml:3: 'id' is given twice"),
        ("schedules:\n  - id: a\n  - id: b\n  - id: a\n", "f.yaml:4: the id 'a' is that of line 2 already"),
        ("schedules:\n  - id: a\n  - name: b\n", "f.yaml:3: a schedule has no `id:`"),
        ("schedules:\n  - id: 5\n", "f.yaml:2: a schedule has no `id:` that is text"),
        ("schedules:\n  - id: a\n  - b\n", "f.yaml:3: a schedule is not a mapping"),
        ("schedules:\n  a: {}\n", "f.yaml:2: `schedules:` is not a list"),
        ("schedules: []\nscheduels: []\n", "f.yaml:2: there is no 'scheduels'"),
        ("schedules: []\nschedules: []\n", "f.yaml:2: 'schedules' is given twice"),
        ("- id: a\n", "f.yaml:1: the file is not a mapping"),
        ("", "f.yaml:1: the file is not a mapping"),
        ("{}", "f.yaml:1: there is no `schedules:`"),
        (b"schedules:\n  - id: caf\xe9\n", "f.yaml:2: not UTF-8 (byte 0xe9)"),
        (b"schedules:\n\n  - id: a\0b\n", "f.yaml:3: a NUL"),
        ("schedules:\n  - id: !!python/object:os.system x\n", "f.yaml:2: the tag"),
        ("schedules:\n  - id: a\n    input: !!int abc\n", "f.yaml:3: 'abc' is no number"),
        ("schedules:\n  - id: a\n    ? [x]\n    : y\n", "f.yaml:3: a key is not text"),
        ("schedules:\n  - id: a\n    input: *nowhere\n", "f.yaml:3: not YAML"),
        ("schedules:\n  - id: a\n    <<: text\n", "f.yaml:3: `<<` is not followed"),
        ("schedules:\n  - id: a\n    input: &loop [*loop]\n", "f.yaml:3: it is nested more than 100 deep"),
        ("schedules:\n  - id: a\n    <<: &loop {<<: *loop}\n", "f.yaml:3: it is nested more than 100 deep"),
        ("schedules: []\n---\nschedules: []\n", "f.yaml:2: not YAML"),
        (
            "schedules:\n  - id: a\n    input: " + "[" * 400 + "]" * 400,
            "f.yaml:3: not YAML: it is nested more than 100 deep",
        ),
        ("a: " + "[" * 100_000, "f.yaml:1: not YAML: it is nested more than 100 deep"),
        ("schedules:\n  - id: a\n    x: 1" + "0" * 5000, "f.yaml:3: '1000"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_its_line(text: str | bytes, message: str):
    assert refusal(text).startswith(message)


def test_an_alias_bomb_is_refused_quickly():
    lines = ["schedules:", "  - id: a", "    a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"    a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "values; split it" in refusal("\n".join(lines))


def test_a_bomb_of_merge_keys_is_refused_quickly():
    lines = ["schedules:", "  - id: a", "    a0: &a0 {x: 1}"]
    lines += [f"    a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 12)]
    assert "values; split it" in refusal("\n".join(lines))


def test_a_file_beyond_32_mib_is_refused():
    assert "32 MiB" in refusal(b"#" * (32 * 2**20 + 1))


def test_an_empty_list_is_a_file_without_schedules():
    assert read("schedules:\n") == []
    assert read("\ufeffschedules: []\n") == []


@pytest.mark.parametrize(
    ("field", "line"),
    [
        ("schedules[1].triggers[1].expression", 12),
        ("schedules[1].triggers[1].cron.expression", 12),
        ("schedules[1].triggers[0].every", 10),
        ("schedules[1].triggers[1]", 11),
        ("schedules[0].target.url", 7),
        ("schedules[1].target", 8),
        ("schedules[9].id", 2),
        ("body", 1),
        ("", 1),
    ],
)
def test_a_field_is_found_on_its_line(field: str, line: int):
    assert read_schedules("f.yaml", FILE.encode()).line_of(field) == line


def test_a_field_from_a_merged_mapping_is_found_where_it_is_written():
    text = "schedules:\n  - &base\n    id: a\n    timeout: 3m\n  - <<: *base\n    id: b\n"
    described = read_schedules("f.yaml", text.encode())
    assert described.line_of("schedules[1].timeout") == 4
    assert described.line_of("schedules[1].id") == 6


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
    (tmp_path / "hello.yaml").write_text(FILE)
    options = ("--url", server.url, "--api-key", "sched_test")

    def call(*argv: str) -> tuple[int, str, str]:
        code = run([*argv, *options])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_the_file_is_sent_in_one_batch(cli: Cli, server: Server):
    items = [
        {"id": "first", "created": True, "change": "created"},
        {"id": "second", "created": False, "change": "unchanged"},
        {"id": "third", "created": False, "change": "deleted"},
    ]
    server.on("POST", "/schedules/batch", 200, {"items": items})
    code, out, _ = cli("apply", "-f", "./hello.yaml", "--prune", "--dry-run")
    assert code == 0
    assert out.splitlines()[1:] == [
        "created  first",
        "deleted  third",
        "1 created, 1 unchanged, 1 deleted (dry run: nothing was written)",
    ]
    body = server.asked[0].body
    assert [schedule["id"] for schedule in body.pop("schedules")] == ["first", "second"]
    assert body == {"source": f"{gethostname()}:{Path.cwd() / 'hello.yaml'}", "prune": True, "dry_run": True}
    assert json.loads(cli("apply", "-f", "hello.yaml", "--json")[1]) == {"items": items}


def test_a_file_that_the_server_refuses_is_refused_with_lines(cli: Cli, server: Server):
    rule = ("schedules[1].triggers[1].expression", "minute 61 is outside 0–59", "use 0–59")
    server.on("POST", "/schedules/batch", 422, problem(422, "Unprocessable Entity", "as below", rule))
    code, _, err = cli("apply", "-f", "hello.yaml")
    assert code == 1
    assert "hello.yaml:12: schedules[1].triggers[1].expression: minute 61 is outside 0–59; use 0–59" in err


def test_a_file_that_is_wrong_by_itself_exits_2_and_asks_nothing(cli: Cli, server: Server, tmp_path: Path):
    (tmp_path / "hello.yaml").write_text("schedules:\n  - id: a\n    id: b\n")
    code, _, err = cli("apply", "-f", "hello.yaml")
    assert code == 2
    assert "hello.yaml:3:" in err
    assert not server.asked


def test_standard_input_is_a_file_too(cli: Cli, server: Server, monkeypatch: pytest.MonkeyPatch):
    server.on("POST", "/schedules/batch", 200, {"items": []})
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(FILE.encode())))
    code, out, _ = cli("apply", "-f", "-", "--source", "team/crons.yaml")
    assert (code, out) == (0, "no schedules\n")
    assert server.asked[0].body["source"] == "team/crons.yaml"
