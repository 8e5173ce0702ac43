"""What an operator may decide, and the only reader of the environment."""

from __future__ import annotations

import base64
import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from dotenv import dotenv_values
from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from backend.database_url import read_options
from backend.duration import Duration, format_duration
from backend.errors import ConfigurationError, FieldError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

PREFIX = "SCHEDULER_"
DATABASE_ALIASES = ("DIRECT_URL", "DATABASE_URL")
COLLECTOR_ALIAS = "OTEL_EXPORTER_OTLP_ENDPOINT"
SQLITE = "sqlite:///"
POSTGRES = ("postgresql://", "postgres://")
ENV_FILE = Path(".env")
YAML_FILE = Path("scheduler.yaml")

# Ours to leave alone: the CLI's own names, and those that AutoGPT's deployment sets for its clients.
NOT_SETTINGS = frozenset({"SCHEDULER_URL", "SCHEDULER_API_KEY", "SCHEDULER_HOST", "SCHEDULER_DB_POOL_SIZE"})
# What Kubernetes injects for a service called scheduler, or scheduler-anything.
_SERVICE_NAMES = re.compile(
    r"SCHEDULER_(SERVICE_|PORT_).*|SCHEDULER_\w+_(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
_COLLECTOR = re.compile(r"https?://[^\s/]+")
_PUBLIC_URL = re.compile(r"https?://[!-~]{1,2000}")
_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")

ZERO, SECOND, MINUTE, HOUR = timedelta(0), timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
DAY, CENTURY = timedelta(days=1), timedelta(days=36500)

_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "USER", "LOGNAME")


def _lowered(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _modules(value: object) -> object:
    """Split names at commas, and refuse what is no module's name."""
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else value
    if not isinstance(names, list | tuple):
        return names
    for name in names:
        if not all(part.isidentifier() for part in str(name).split(".")):
            raise FieldError(f"{str(name)[:80]!r} is not the name of a module", "give names such as app.jobs,reports")
    return tuple(names)


def _keys(value: object) -> object:
    """Split `id:base64` at commas; no message shows a key."""
    if not isinstance(value, str | list | tuple):
        return value
    entries = value.split(",") if isinstance(value, str) else value
    keys = [(entry[0], entry[1]) if isinstance(entry, tuple) else _key(str(entry).strip()) for entry in entries]
    if len({key_id for key_id, _ in keys}) < len(keys):
        raise FieldError("an id stands there twice", "give each key its own")
    return tuple(keys)


def _key(entry: str) -> tuple[str, bytes]:
    key_id, _, encoded = entry.partition(":")
    try:
        key = base64.b64decode(encoded, validate=True)
    except ValueError:
        key = b""
    if not _KEY_ID.fullmatch(key_id) or len(key) != KEY_BYTES:
        raise FieldError("a key is no id:base64 of 32 bytes", "give what `scheduler secrets make-key` prints")
    return key_id, key


KEY_BYTES = 32
_KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}")
Keys = Annotated[tuple[tuple[str, bytes], ...], BeforeValidator(_keys)]
Modules = Annotated[tuple[str, ...], BeforeValidator(_modules)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_lowered)]
LogFormat = Annotated[Literal["console", "json"], BeforeValidator(_lowered)]
Declared = Any  # what declares a field stands where its default would, so it must pass for every type


def _setting(meaning: str, accepts: str, unit: str, **rules: Declared) -> Declared:
    """Declare a field: `accepts` completes "give …" when a value is refused, `rules` are pydantic's."""
    return Field(description=meaning, json_schema_extra={"unit": unit, "accepts": accepts}, **rules)


def _length(default: timedelta, meaning: str, shortest: timedelta, longest: timedelta) -> Declared:
    accepts = f'a duration from {format_duration(shortest)} to {format_duration(longest)}, such as "90s" or 90'
    return _setting(meaning, accepts, "duration", default=default, ge=shortest, le=longest)


def _count(default: int, meaning: str, lowest: int, highest: int, unit: str) -> Declared:
    return _setting(meaning, f"a whole number from {lowest} to {highest}", unit, default=default, ge=lowest, le=highest)


def _switch(meaning: str) -> Declared:
    """Declare a permission, withheld unless given."""
    return _setting(meaning, "true or false", "true or false", default=False)


def _default_database(fields: dict[str, Any]) -> str:
    return f"{SQLITE}{fields['data_dir']}/scheduler.db"


class Settings(BaseSettings):
    """All settings of one process. The variable is the field's name in capitals after `SCHEDULER_`."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    data_dir: Path = _setting("Folder of the database and of the admin key.", "a folder", "path", default=Path("data"))
    database_url: str = _setting(
        "Where schedules and runs are kept.",
        "sqlite:///PATH or postgresql://…",
        "URL",
        default_factory=_default_database,
        repr=False,
    )
    bind_host: str = _setting(
        "Address the server listens on.", "a host name or address", "address", default="127.0.0.1", min_length=1
    )
    port: int = _count(8003, "Port the server listens on; 0 takes any that is free.", 0, 65535, "port")

    metrics_public: bool = _switch("Give `/metrics` without a key.")
    public_url: str | None = _setting(
        "Under which callees reach this server, for `X-Callback-Url`; not told unless given.",
        "an http or https URL, such as https://scheduler.example.org",
        "URL",
        default=None,
    )
    requests_per_second: int = _count(
        0,
        "Requests that each key may make to each server, with bursts of twice as many; 0: any number.",
        0,
        10**6,
        "requests",
    )
    worker_port: int | None = _setting(
        "Port on which a worker alone answers health and metrics; 0 takes any that is free; none unless given.",
        "a whole number from 0 to 65535",
        "port",
        default=None,
        ge=0,
        le=65535,
    )

    smtp_url: str | None = _setting(
        "Server that takes e-mail; without it none is sent.",
        "smtp://USER:PASSWORD@HOST:587, with ?starttls=false for none, or smtps://…",
        "URL",
        default=None,
        repr=False,
    )
    smtp_from: str | None = _setting("Whom e-mail comes from.", "an e-mail address", "address", default=None)

    log_level: LogLevel = _setting(
        "Least severe lines that are written.", "debug, info, warning, error or critical", "level", default="info"
    )
    log_format: LogFormat = _setting(
        "Lines for people, or one JSON object each.", "console or json", "format", default="console"
    )
    log_file: Path | None = _setting("File the log goes to; stdout unless given.", "a file", "path", default=None)
    log_file_max_bytes: int = _count(10_485_760, "Size at which the log file is rotated.", 4096, 2**40, "bytes")
    log_file_backups: int = _count(5, "Rotated log files that are kept.", 1, 1000, "files")

    log_requests: bool = _setting(
        "Write a line for each request to the API.", "true or false", "true or false", default=False
    )
    otlp_endpoint: str | None = _setting(
        "Collector that traces are sent to (OTLP over HTTP); no traces unless given.",
        "an http or https URL, such as http://127.0.0.1:4318",
        "URL",
        default=None,
        repr=False,
    )

    worker_concurrency: int = _count(64, "Attempts in flight at the same time.", 1, 10_000, "attempts")
    shutdown_grace: Duration = _length(30 * SECOND, "Time for running attempts to finish after SIGTERM.", ZERO, HOUR)
    lease: Duration = _length(15 * SECOND, "Silence after which a worker loses its attempts.", SECOND, HOUR)
    poll_interval: Duration = _length(SECOND, "Longest sleep of engine and workers.", SECOND / 100, MINUTE)

    allow_commands: bool = _switch("Accept `command` targets: whoever may write schedules runs programs here.")
    python_targets: Modules = _setting(
        "Modules that `python` targets may call, with all modules below them; none unless given.",
        "names of modules with commas between, such as app.jobs,reports",
        "modules",
        default=(),
    )
    allow_private_urls: bool = _switch("Accept `http` targets on loopback, private and link-local addresses.")

    secret_keys: Keys = _setting(
        "Keys that encrypt secrets, the newest first; without any, secrets are refused.",
        "keys as id:base64 with commas between",
        "keys",
        default=(),
        repr=False,
    )

    retry_max_attempts: int = _count(3, "Attempts of one run, the first included.", 1, 100, "attempts")
    retry_initial: Duration = _length(10 * SECOND, "Upper bound of the first back-off.", ZERO, 30 * DAY)
    retry_maximum: Duration = _length(10 * MINUTE, "Upper bound of every back-off.", ZERO, 30 * DAY)
    retry_multiplier: float = _setting(
        "Growth of the bound per back-off.", "a number from 1 to 100", "factor", default=2, ge=1, le=100
    )

    retention_runs: Duration = _length(30 * DAY, "Age at which finished runs are pruned.", SECOND, CENTURY)
    retention_failures: Duration = _length(90 * DAY, "Age at which failed runs are pruned.", SECOND, CENTURY)
    retention_keep: int = _count(1000, "Newest runs of a schedule that are kept beyond a day.", 1, 10**9, "runs")
    retention_audit: Duration = _length(400 * DAY, "Age at which lines of the audit log are pruned.", SECOND, CENTURY)
    retention_deleted: Duration = _length(30 * DAY, "Age at which deleted schedules are pruned.", SECOND, CENTURY)

    @property
    def database_path(self) -> Path:
        """The file that `database_url` names."""
        return Path(self.database_url.removeprefix(SQLITE))

    @property
    def sqlite_path(self) -> Path | None:
        """The database's file, if it is one."""
        return self.database_path if self.database_url.startswith(SQLITE) else None

    @field_validator("*", mode="before")
    @classmethod
    def _only_switches_are_booleans(cls, value: object, info: ValidationInfo) -> object:
        field = str(info.field_name)
        if isinstance(value, bool) and cls.model_fields[field].annotation is not bool:
            raise FieldError(f"{str(value).lower()} is not accepted", f"give {_accepts(field)}")
        return value

    @field_validator("data_dir", "log_file", "bind_host")
    @classmethod
    def _has_no_control_characters(cls, value: Path | str | None) -> Path | str | None:
        if value is not None and not str(value).isprintable():
            raise FieldError("it holds a control character", "leave that out")
        return value

    @field_validator("database_url")
    @classmethod
    def _names_a_database(cls, value: str) -> str:
        fix = "set SCHEDULER_DATABASE_URL=sqlite:///PATH or postgresql://…, which outranks its aliases"
        if value.startswith(POSTGRES):
            read_options(value)
            return value
        path = value.removeprefix(SQLITE)
        if path == value or not path or not path.isprintable():
            raise FieldError("it is neither a sqlite:///PATH nor a postgresql:// url", fix)
        if "?" in path:
            raise FieldError("a sqlite:/// url has no options", "leave out the ? and what follows")
        if path.startswith(":memory:"):
            raise FieldError("a database in memory would forget its runs", fix)
        return value

    @field_validator("public_url")
    @classmethod
    def _is_the_beginning_of_a_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not _PUBLIC_URL.fullmatch(value):
            raise FieldError("it is no http or https URL", "give one such as https://scheduler.example.org")
        return value.rstrip("/")

    @field_validator("otlp_endpoint")
    @classmethod
    def _names_a_collector(cls, value: str | None) -> str | None:
        if value is not None and not (_COLLECTOR.match(value) and value.isprintable()):
            raise FieldError("it is not an http or https URL", "give one such as http://127.0.0.1:4318")
        return value

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> Settings:
        if self.retry_maximum < self.retry_initial:
            shortest = format_duration(self.retry_initial)
            raise FieldError("it is below SCHEDULER_RETRY_INITIAL", f"give at least {shortest}", "retry_maximum")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources. Aliases come last, so that they count only where nothing else is set."""
        del env_settings, dotenv_settings, file_secret_settings  # they match names loosely and accept misspelt ones
        readers = (
            lambda: _named(os.environ),
            lambda: _named(_env_file()),
            lambda: _from_yaml(_yaml_file()),
            lambda: _aliased(os.environ),
            lambda: _aliased(_env_file()),
        )
        return (init_settings, *(_Source(settings_cls, reader) for reader in readers))


class _Source(PydanticBaseSettingsSource):
    """One place that settings are read from."""

    def __init__(self, settings_cls: type[BaseSettings], read: Callable[[], dict[str, Any]]) -> None:
        super().__init__(settings_cls)
        self._read = read

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        del field
        return self._read().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._read()


def env_names() -> dict[str, str]:
    """Map each setting's name in the environment to its field."""
    return {PREFIX + field.upper(): field for field in Settings.model_fields}


def load_settings(**overrides: Declared) -> Settings:
    """Read the settings: `overrides` (by field), environment, `.env`, `scheduler.yaml`, defaults.

    Raises ConfigurationError: for each value that was refused one clause with its name, the rule and the fix.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise ConfigurationError("; ".join(_sentences(error))) from None


def service_manager() -> tuple[str | None, float | None]:
    """Read what systemd says to this process: the socket for notifications, and its watchdog's time in seconds."""
    ours = os.environ.get("WATCHDOG_PID") in (None, "", str(os.getpid()))
    time = os.environ.get("WATCHDOG_USEC", "")
    seconds = int(time) / 1_000_000 if ours and time.isdecimal() and int(time) else None
    return os.environ.get("NOTIFY_SOCKET") or None, seconds


def base_environment() -> dict[str, str]:
    """Give the part of this process's environment that commands inherit; secrets are not in it."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


def _named(variables: Mapping[str, str | None]) -> dict[str, Any]:
    """Pick our variables. A misspelt one keeps its name, so that the model refuses it; an empty one is unset."""
    known = env_names()
    ours = {name: value or "" for name, value in variables.items() if name.startswith(PREFIX)}
    return {
        known.get(name, name): value
        for name, value in ours.items()
        if not _is_foreign(name, value) and (value.strip() or name not in known)
    }


def _is_foreign(name: str, value: str) -> bool:
    linked = name.endswith("_PORT") and _SERVICE_LINK.match(value) is not None
    return linked or name in NOT_SETTINGS or _SERVICE_NAMES.fullmatch(name) is not None


def _aliased(variables: Mapping[str, str | None]) -> dict[str, Any]:
    urls = [url for url in map(variables.get, DATABASE_ALIASES) if url and url.strip()]
    found = {"database_url": urls[0]} if urls else {}
    collector = variables.get(COLLECTOR_ALIAS) or ""
    # It is meant for many programs, some of which speak another protocol: what we cannot use is no mistake.
    return found | {"otlp_endpoint": collector} if _COLLECTOR.match(collector) else found


def _env_file() -> dict[str, str | None]:
    if not ENV_FILE.is_file():
        return {}
    try:
        return dotenv_values(ENV_FILE, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{ENV_FILE}: it cannot be read ({type(error).__name__}), so make it a readable UTF-8 file"
        ) from error


def _yaml_file() -> dict[object, Any]:
    if not YAML_FILE.is_file():
        return {}
    try:
        content = yaml.safe_load(YAML_FILE.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        place = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigurationError(f"{YAML_FILE}: {error.problem}{place}, so make it valid YAML") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(
            f"{YAML_FILE}: it cannot be read ({type(error).__name__}), so make it a readable UTF-8 file"
        ) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigurationError(f"{YAML_FILE}: it is not a mapping, so write one `name: value` per line")
    return content


def _from_yaml(content: Mapping[object, Any]) -> dict[str, Any]:
    known = env_names()
    fields: dict[str, Any] = {}
    for key, value in content.items():
        name = known.get(str(key), str(key))
        if name in fields:
            raise ConfigurationError(f"{YAML_FILE}: {PREFIX}{name.upper()} is given twice, so keep one")
        fields[name] = value
    # An empty value means the default, as in the environment, but does not hide a misspelt name.
    return {name: value for name, value in fields.items() if value not in (None, "") or name not in known.values()}


def _sentences(error: ValidationError) -> Iterator[str]:
    for detail in error.errors(include_url=False):
        if detail["type"] != "default_factory_not_called":  # only says that another field was refused
            yield _sentence(detail)


def _sentence(detail: ErrorDetails) -> str:
    cause = detail.get("ctx", {}).get("error")
    field = str(detail["loc"][0]) if detail["loc"] else getattr(cause, "field", "")
    if detail["type"] == "extra_forbidden":
        return _unknown(field)
    name = PREFIX + field.upper()
    if field == "database_url":
        name += f" (or its alias {' or '.join(DATABASE_ALIASES)})"
    if isinstance(cause, FieldError):
        return f"{name}: {cause.rule}, so {cause.fix}"
    rule = "is outside its limits" if detail["type"].endswith("than_equal") else "is not accepted"
    return f"{name}: {_shown(field, detail['input'])} {rule}, so give {_accepts(field)}"


def _shown(field: str, value: object) -> str:
    if field in {"database_url", "secret_keys"}:  # the one may hold a password, the other does
        return "it"
    return format_duration(value) if isinstance(value, timedelta) else repr(value)[:80]


def _unknown(name: str) -> str:
    known = env_names()
    full = name if name.startswith(PREFIX) else PREFIX + name.upper()
    (nearest,) = difflib.get_close_matches(full.upper(), known, n=1, cutoff=0)
    nearest = nearest if name.startswith(PREFIX) else known[nearest]
    return f"{name}: there is no such setting; the nearest known name is {nearest}"


def _accepts(field: str) -> str:
    extra = Settings.model_fields[field].json_schema_extra
    assert isinstance(extra, dict)
    return str(extra["accepts"])
