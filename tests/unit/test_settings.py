from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from backend.duration import format_duration
from backend.errors import ConfigurationError
from backend.settings import Settings, base_environment, env_names, load_settings

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
EXAMPLE = Path(__file__).parents[2] / ".env.example"


@pytest.fixture(autouse=True)
def _an_empty_folder_and_environment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("SCHEDULER_") or name in {"DATABASE_URL", "DIRECT_URL"}:
            monkeypatch.delenv(name)


def refusal(**overrides) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(**overrides)
    return str(caught.value)


def test_nothing_needs_to_be_set():
    settings = load_settings()
    assert settings.port == 8003
    assert settings.bind_host == "127.0.0.1"
    assert settings.database_url == "sqlite:///data/scheduler.db"
    assert settings.lease == timedelta(seconds=15)
    assert not settings.allow_commands
    assert not settings.allow_private_urls
    assert (settings.retry_max_attempts, settings.retry_multiplier) == (3, 2)


def test_each_source_outranks_the_next(monkeypatch):
    Path("scheduler.yaml").write_text("port: 1001\nworker_concurrency: 1\nlease: 1m\nlog_level: debug\n")
    Path(".env").write_text("SCHEDULER_PORT=1002\nSCHEDULER_WORKER_CONCURRENCY=2\nSCHEDULER_LEASE=2m\n")
    monkeypatch.setenv("SCHEDULER_PORT", "1003")
    monkeypatch.setenv("SCHEDULER_WORKER_CONCURRENCY", "3")
    settings = load_settings(port=1004)
    assert settings.port == 1004
    assert settings.worker_concurrency == 3
    assert settings.lease == timedelta(minutes=2)
    assert settings.log_level == "debug"


def test_yaml_takes_either_form_of_a_name():
    Path("scheduler.yaml").write_text("SCHEDULER_PORT: 9000\nallow_commands: true\nlog_file:\n")
    settings = load_settings()
    assert (settings.port, settings.allow_commands, settings.log_file) == (9000, True, None)


def test_yaml_may_not_name_a_setting_twice():
    Path("scheduler.yaml").write_text("SCHEDULER_PORT: 9000\nport: 9001\n")
    assert "SCHEDULER_PORT is given twice" in refusal()


@pytest.mark.parametrize("content", ["port: [", "- port", "port: \x00", "just words"])
def test_yaml_that_is_no_mapping_is_refused_by_name(content):
    Path("scheduler.yaml").write_text(content)
    assert refusal().startswith("scheduler.yaml: ")


@pytest.mark.parametrize("name", [".env", "scheduler.yaml"])
def test_a_file_that_is_not_text_is_refused_without_quoting_it(name):
    Path(name).write_bytes(b"SCHEDULER_PORT=\xff\xfehush")
    assert refusal() == f"{name}: it cannot be read (UnicodeDecodeError), so make it a readable UTF-8 file"


@pytest.mark.parametrize("content", ["", "# nothing\n"])
def test_empty_files_set_nothing(content):
    Path("scheduler.yaml").write_text(content)
    Path(".env").write_text(content)
    assert load_settings().port == 8003


def test_a_misspelt_variable_is_refused_with_the_nearest_name(monkeypatch):
    monkeypatch.setenv("SCHEDULER_WORKERS_CONCURENCY", "hush")
    message = refusal()
    assert message == (
        "SCHEDULER_WORKERS_CONCURENCY: there is no such setting; the nearest known name is SCHEDULER_WORKER_CONCURRENCY"
    )


def test_a_misspelt_name_is_refused_in_files_too():
    Path(".env").write_text("SCHEDULER_LEASES=15\nSOMETHING_ELSE=fine\n")
    Path("scheduler.yaml").write_text("log_formt: json\n")
    message = refusal()
    assert "SCHEDULER_LEASES: there is no such setting; the nearest known name is SCHEDULER_LEASE" in message
    assert "log_formt: there is no such setting; the nearest known name is log_format" in message


def test_a_misspelt_name_is_refused_even_when_empty(monkeypatch):
    monkeypatch.setenv("SCHEDULER_PROT", "")
    assert "SCHEDULER_PORT" in refusal()


def test_names_are_exact(monkeypatch):
    monkeypatch.setenv("scheduler_port", "9000")
    assert load_settings().port == 8003
    monkeypatch.setenv("SCHEDULER_port", "9000")
    assert "nearest known name is SCHEDULER_PORT" in refusal()


def test_names_that_belong_to_others_are_left_alone(monkeypatch):
    for name, value in {
        "SCHEDULER_URL": "http://127.0.0.1:8003",
        "SCHEDULER_API_KEY": "hush",
        "SCHEDULER_HOST": "scheduler",
        "SCHEDULER_DB_POOL_SIZE": "3",
        "EXECUTION_SCHEDULER_PORT": "8003",
        "SCHEDULER_SERVICE_HOST": "10.0.0.1",
        "SCHEDULER_SERVICE_PORT_HTTP": "8003",
        "SCHEDULER_PORT": "tcp://10.0.0.1:8003",
        "SCHEDULER_PORT_8003_TCP_ADDR": "10.0.0.1",
        "SCHEDULER_API_SERVICE_HOST": "10.0.0.1",
        "SCHEDULER_API_PORT": "tcp://10.0.0.1:8003",
        "SCHEDULER_API_PORT_8003_TCP": "tcp://10.0.0.1:8003",
    }.items():
        monkeypatch.setenv(name, value)
    assert load_settings().port == 8003


def test_an_empty_variable_means_the_default(monkeypatch):
    for name in env_names():
        monkeypatch.setenv(name, "")
    assert load_settings() == Settings()


def test_all_that_is_wrong_is_named_at_once(monkeypatch):
    monkeypatch.setenv("SCHEDULER_PORT", "70000")
    monkeypatch.setenv("SCHEDULER_LEASE", "999ms")
    monkeypatch.setenv("SCHEDULER_ALLOW_COMMANDS", "perhaps")
    monkeypatch.setenv("SCHEDULER_LOG_FORMAT", "xml")
    monkeypatch.setenv("SCHEDULER_SHUTDOWN_GRACE", "soon")
    message = refusal()
    assert "SCHEDULER_PORT: '70000' is outside its limits, so give a whole number from 0 to 65535" in message
    assert "SCHEDULER_LEASE: 999ms is outside its limits, so give a duration from 1s to 1h" in message
    assert "SCHEDULER_ALLOW_COMMANDS: 'perhaps' is not accepted, so give true or false" in message
    assert "SCHEDULER_LOG_FORMAT: 'xml' is not accepted, so give console or json" in message
    assert "SCHEDULER_SHUTDOWN_GRACE: 'soon' is not a duration, so give seconds" in message
    assert "\n" not in message


def test_a_refused_data_dir_does_not_blame_the_database_too():
    assert refusal(data_dir="a\x00b") == "SCHEDULER_DATA_DIR: it holds a control character, so leave that out"


SWITCHES = {name for name, field in Settings.model_fields.items() if field.annotation is bool}


@pytest.mark.parametrize("field", sorted(set(Settings.model_fields) - SWITCHES))
def test_a_boolean_is_no_number_length_or_path(field):
    assert refusal(**{field: True}).startswith(f"SCHEDULER_{field.upper()}")


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0.5", "101"])
def test_a_multiplier_lies_between_1_and_100(value):
    assert "SCHEDULER_RETRY_MULTIPLIER" in refusal(retry_multiplier=value)


def test_the_longest_back_off_is_no_shorter_than_the_first(monkeypatch):
    monkeypatch.setenv("SCHEDULER_RETRY_MAXIMUM", "5s")
    assert refusal() == "SCHEDULER_RETRY_MAXIMUM: it is below SCHEDULER_RETRY_INITIAL, so give at least 10s"


@pytest.mark.parametrize("folder", ["data", "/var/lib/scheduler", "with space/and%20"])
def test_the_database_lies_in_the_data_dir_unless_said_otherwise(folder):
    assert load_settings(data_dir=folder).database_path == Path(folder) / "scheduler.db"


@pytest.mark.parametrize("alias", ["DIRECT_URL", "DATABASE_URL"])
def test_an_alias_counts_only_when_no_source_sets_the_database(monkeypatch, alias):
    monkeypatch.setenv(alias, "sqlite:///alias.db")
    assert load_settings().database_path == Path("alias.db")
    Path("scheduler.yaml").write_text("database_url: sqlite:///own.db\n")
    assert load_settings().database_path == Path("own.db")


def test_direct_url_outranks_database_url(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "sqlite:///second.db")
    monkeypatch.setenv("DIRECT_URL", "sqlite:///first.db")
    assert load_settings().database_path == Path("first.db")


@pytest.mark.parametrize("name", ["SCHEDULER_DATABASE_URL", "DIRECT_URL", "DATABASE_URL"])
@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_a_postgresql_url_is_taken_and_its_password_is_not_shown(monkeypatch, name, scheme):
    monkeypatch.setenv(name, f"{scheme}://me:hush@host/db?schema=mine")
    settings = load_settings()
    assert settings.database_url == f"{scheme}://me:hush@host/db?schema=mine"
    assert "hush" not in repr(settings)


ELSEWHERE = ["mysql://me:hush@host/db", "postgresql+asyncpg://me:hush@host/db"]


@pytest.mark.parametrize("url", [*ELSEWHERE, "sqlite://", "sqlite:///", "sqlite:///:memory:", "hush.db"])
def test_a_database_of_another_kind_is_refused(url):
    message = refusal(database_url=url)
    assert "SCHEDULER_DATABASE_URL" in message
    assert "hush" not in message


def test_a_url_of_a_wrong_type_is_not_shown():
    Path("scheduler.yaml").write_text("database_url: [hush]\n")
    assert "hush" not in refusal()


def test_settings_do_not_change_and_do_not_show_the_database():
    settings = load_settings()
    field = "port"
    with pytest.raises(ValidationError, match="frozen"):
        setattr(settings, field, 1)
    assert "sqlite" not in repr(settings)


def test_commands_inherit_no_secret(monkeypatch):
    monkeypatch.setenv("SCHEDULER_API_KEY", "hush")
    monkeypatch.setenv("DATABASE_URL", "hush")
    monkeypatch.setenv("PATH", "/bin")
    monkeypatch.setenv("TZ", "Europe/London")
    monkeypatch.delenv("TMPDIR", raising=False)
    environment = base_environment()
    assert (environment["PATH"], environment["TZ"]) == ("/bin", "Europe/London")
    assert "hush" not in environment.values()
    assert "TMPDIR" not in environment


def documented() -> dict[str, list[str]]:
    rows = re.findall(r"^\| `(SCHEDULER_\w+)` \|(.*)\|$", REFERENCE.read_text(), re.MULTILINE)
    assert len({name for name, _ in rows}) == len(rows)
    return {name: [cell.strip() for cell in rest.split(" | ")] for name, rest in rows}


def shown_default(field: str) -> str:
    default = Settings.model_fields[field].default
    if field == "database_url":
        return "`sqlite:///DATA_DIR/scheduler.db`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return (
        "—" if default in (None, ()) else f"`{format_duration(default) if isinstance(default, timedelta) else default}`"
    )


@pytest.mark.parametrize("text", ["app.jobs,reports", " app.jobs , reports "])
def test_modules_for_python_targets_are_split_at_commas(monkeypatch, text):
    monkeypatch.setenv("SCHEDULER_PYTHON_TARGETS", text)
    assert load_settings().python_targets == ("app.jobs", "reports")


def test_modules_for_python_targets_may_be_a_list_in_yaml():
    Path("scheduler.yaml").write_text("python_targets: [app.jobs, reports]\n")
    assert load_settings().python_targets == ("app.jobs", "reports")


@pytest.mark.parametrize("text", ["app.*", "app.jobs,", "app jobs", ".app", "app/jobs", "app:func"])
def test_what_is_no_module_is_refused_for_python_targets(text):
    assert refusal(python_targets=text).startswith("SCHEDULER_PYTHON_TARGETS: ")


def test_every_setting_is_documented_and_nothing_else_is():
    assert set(documented()) == set(env_names())


@pytest.mark.parametrize(("name", "field"), sorted(env_names().items()))
def test_the_documented_default_unit_and_meaning_are_the_real_ones(name, field):
    info = Settings.model_fields[field]
    assert isinstance(info.json_schema_extra, dict)
    assert documented()[name] == [shown_default(field), info.json_schema_extra["unit"], info.description]


def test_the_example_file_names_every_setting_with_its_default():
    lines = dict(re.findall(r"^#(SCHEDULER_\w+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))
    expected = {name: shown_default(field).strip("`—") for name, field in env_names().items()}
    assert lines == expected | {"SCHEDULER_DATABASE_URL": "sqlite:///data/scheduler.db"}
    Path(".env").write_text(EXAMPLE.read_text().replace("#SCHEDULER_", "SCHEDULER_"))
    assert load_settings() == Settings()
