"""The `command` target: a program of the server's machine, whose exit code is the outcome."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from backend.errors import FieldError
from backend.model.run import Dispatch
from backend.model.secret import SecretRef, TextOrSecret, values
from backend.targets.base import Failed, Outcome, Succeeded, TargetRules, Tools, identity
from backend.targets.child import ChildSpec, Ended, run_child
from backend.targets.output import quote
from backend.targets.warden import MARK

ARGV_BYTES = 128 * 1024
ENV_BYTES = 64 * 1024
OFF = ("commands are switched off", "set SCHEDULER_ALLOW_COMMANDS=true on the server")
RESERVED_ENV = frozenset(
    {
        "SCHEDULER_RUN_ID",
        "SCHEDULER_SCHEDULE_ID",
        "SCHEDULER_ATTEMPT",
        "SCHEDULER_NOMINAL_TIME",
        "SCHEDULER_CALLBACK_TOKEN",
        "SCHEDULER_CALLBACK_URL",
        "IDEMPOTENCY_KEY",
        MARK,
    }
)
# The machine is short of something for now; every other error of a start will be the same the next time.
_SHORTAGES = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY, errno.ENOSPC})


class CommandTarget(BaseModel):
    """Run a program, without a shell of ours."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["command"] = "command"
    argv: tuple[str, ...] = Field(min_length=1, max_length=256, description="The program and its arguments.")
    env: dict[str, TextOrSecret] = Field(
        default_factory=dict, max_length=256, description="Added to a minimal environment; values may be secrets."
    )
    cwd: str | None = Field(default=None, max_length=4096, description="Absolute folder; null: the server's own.")

    @field_validator("argv")
    @classmethod
    def _argv_is_executable(cls, argv: tuple[str, ...]) -> tuple[str, ...]:
        if not argv[0].strip():
            raise FieldError("the first of argv is empty", 'name a program, such as ["/bin/date", "-u"]')
        size = sum(_size(part, "argv") for part in argv)
        if size > ARGV_BYTES:
            raise FieldError(f"argv has {size} bytes, over {ARGV_BYTES}", "pass long values as input, on stdin")
        return argv

    @field_validator("env")
    @classmethod
    def _env_is_settable(cls, env: dict[str, str | SecretRef]) -> dict[str, str | SecretRef]:
        for name in env:
            if not name or "=" in name:
                raise FieldError(f"{name[:80]!r} is not the name of a variable", "use letters, digits and _")
            if name in RESERVED_ENV:
                raise FieldError(f"{name} tells the command which run this is", "choose another name", name)
        size = sum(_size(name, "env") + _size(_written(value), "env") for name, value in env.items())
        if size > ENV_BYTES:
            raise FieldError(f"env has {size} bytes, over {ENV_BYTES}", "pass long values as input, on stdin")
        return env

    @field_validator("cwd")
    @classmethod
    def _cwd_is_absolute(cls, cwd: str | None) -> str | None:
        if cwd is not None and (_size(cwd, "cwd") == 0 or not cwd.startswith("/")):
            raise FieldError(f"{cwd[:80]!r} is not an absolute path", "start it with /")
        return cwd

    @staticmethod
    def abilities(rules: TargetRules) -> tuple[str, ...]:
        """Commands are off unless the rules allow them."""
        return ("command",) if rules.allow_commands else ()

    def ability(self, rules: TargetRules) -> str | None:
        """All of them, or none."""
        return "command" if rules.allow_commands else None

    def check(self, rules: TargetRules) -> None:
        """Refuse commands unless the rules allow them."""
        if not rules.allow_commands:
            raise FieldError(*OFF, "kind")

    async def perform(self, dispatch: Dispatch, tools: Tools) -> Outcome:
        """Run the program to its end; when cancelled, kill all of its process group."""
        if not tools.rules.allow_commands:
            return Failed("; ".join(OFF), permanent=False, barred=True)
        spec = ChildSpec(self.argv, environment(self, dispatch, tools.base_env), self.cwd, input_of(dispatch))
        try:
            return classify(await run_child(spec, tools.warden))
        except OSError as error:
            return Failed(start_problem(self, error), error.errno not in _SHORTAGES)


def _written(value: str | SecretRef) -> str:
    return "" if isinstance(value, SecretRef) else value


def _size(text: str, what: str) -> int:
    if "\x00" in text:
        raise FieldError(f"{what} holds a NUL character", "leave it out")
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise FieldError(f"{what} is not valid Unicode", "leave out lone surrogates") from error


def environment(target: CommandTarget, dispatch: Dispatch, base: Mapping[str, str]) -> dict[str, str]:
    """Build what the command inherits: the server's minimum, its own, and which run this is."""
    return {
        **base,
        **values(target.env, dispatch.secrets),
        **identity(dispatch),
    }


def input_of(dispatch: Dispatch) -> bytes:
    """Encode the input as the command finds it on stdin."""
    return json.dumps(dispatch.input, separators=(",", ":")).encode("ascii")


def classify(ended: Ended) -> Outcome:
    """Decide what an exit code means; the error quotes the last line of the output."""
    text, truncated = ended.output.text()
    if ended.code == 0:
        return Succeeded(text, truncated, 0)
    last = ended.output.last_line()
    error = f"{_ending(ended.code)}: {last}" if last else _ending(ended.code)
    exited = ended.code if ended.code is not None and ended.code > 0 else None
    return Failed(error, permanent=False, output=text, truncated=truncated, status_code=exited)


def _ending(code: int | None) -> str:
    if code is None:
        return "did not end, even when killed"
    if code > 0:
        return f"exited with {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def start_problem(target: CommandTarget, error: OSError) -> str:
    """Say why a command could not be started."""
    program = quote(target.argv[0])
    if target.cwd is not None and not os.path.isdir(target.cwd):
        return f"the folder {quote(target.cwd)} does not exist"
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return f"{program} was not found"
        case errno.EACCES:
            return f"{program} is not executable, or its folder may not be entered"
        case errno.ENOEXEC:
            return f"{program} is not a program: it needs a first line such as #!/bin/sh"
        case _:
            return f"{program} could not be started: {error.strerror}"
