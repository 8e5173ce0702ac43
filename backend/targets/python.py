"""The `python` target: a callable of the operator's own code, called in a warm child process."""

from __future__ import annotations

import json
import keyword
import signal
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from backend.errors import FieldError
from backend.model.run import Dispatch
from backend.model.secret import values
from backend.targets.base import Failed, Outcome, Succeeded, TargetRules, Tools, identity
from backend.targets.callee import within
from backend.targets.output import KEPT_BYTES, Output, quote
from backend.targets.pool import Called
from backend.targets.redaction import current

OFF = ("python targets are switched off", "set SCHEDULER_PYTHON_TARGETS=MODULE on the server")


class PythonTarget(BaseModel):
    """Call `func(**args, input=…)`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["python"] = "python"
    callable: str = Field(max_length=500, description="pkg.mod:func, sync or async, below an allowed module.")
    args: dict[str, JsonValue] = Field(
        default_factory=dict,
        max_length=256,
        description='Keyword arguments; `{"secret": name}` is replaced by its value.',
    )

    @field_validator("callable")
    @classmethod
    def _callable_is_named(cls, text: str) -> str:
        module, colon, name = text.partition(":")
        if not colon or not all(map(_is_name, [*module.split("."), name])):
            raise FieldError(f"{quote(text)!r} names no callable", "write module and function as pkg.mod:func")
        if name.startswith("_"):
            raise FieldError(f"{name[:80]} is private to its module", "name a function without _ in front")
        return text

    @field_validator("args")
    @classmethod
    def _args_are_arguments(cls, args: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for name in args:
            if not _is_name(name):
                raise FieldError(f"{name[:80]!r} is not the name of an argument", "use letters, digits and _")
        if "input" in args:
            raise FieldError("input carries the run's input", "put it into the schedule's `input`", "input")
        try:
            json.dumps(args, allow_nan=False)
        except (ValueError, RecursionError) as error:
            raise FieldError("args are not JSON", "leave out NaN, infinities and deep nesting") from error
        return args

    @property
    def module(self) -> str:
        """The module that is imported."""
        return self.callable.partition(":")[0]

    @staticmethod
    def abilities(rules: TargetRules) -> tuple[str, ...]:
        """Callables are off unless the rules name modules."""
        return ("python", *(f"python:{one}" for one in rules.python_prefixes)) if rules.python_prefixes else ()

    def ability(self, rules: TargetRules) -> str | None:
        """Those below the modules that the rules name."""
        return next((f"python:{one}" for one in rules.python_prefixes if within(self.module, (one,))), None)

    def check(self, rules: TargetRules) -> None:
        """Refuse callables unless their module is allowed."""
        if not rules.python_prefixes:
            raise FieldError(*OFF, "kind")
        if not within(self.module, rules.python_prefixes):
            allowed = ", ".join(rules.python_prefixes)
            rule = f"{quote(self.module)} is not below a module that SCHEDULER_PYTHON_TARGETS allows"
            raise FieldError(rule, f"name a callable below {allowed}, or add the module to that setting", "callable")

    async def perform(self, dispatch: Dispatch, tools: Tools) -> Outcome:
        """Call it once; when cancelled, kill the process that runs it, with its group."""
        try:
            self.check(tools.rules)
        except FieldError as error:
            return Failed(f"{error.rule}; {error.fix}", permanent=False, barred=True)
        try:
            return classify(await tools.python.call(self.module, request(self, dispatch, tools.rules)))
        except OSError as error:
            return Failed(f"no process could be started for it: {error.strerror or error}", permanent=False)


def _is_name(text: str) -> bool:
    return text.isascii() and text.isidentifier() and not keyword.iskeyword(text)


def request(target: PythonTarget, dispatch: Dispatch, rules: TargetRules) -> dict[str, Any]:
    """Say what to call; it travels over a socket, since arguments may be secrets."""
    return {
        "prefixes": list(rules.python_prefixes),
        "module": target.module,
        "function": target.callable.partition(":")[2],
        "args": values(target.args, dispatch.secrets),
        "input": dispatch.input,
        "env": identity(dispatch),
    }


def classify(called: Called) -> Outcome:
    """Decide what came of a call."""
    answer = called.answer
    if answer is None:
        text, truncated = called.output.text()
        return Failed(_ending(called), permanent=False, output=text, truncated=truncated)
    text, truncated = together(called.output, _report(answer))
    truncated = truncated or bool(answer["cut"])
    if answer["error"] is None:
        return Succeeded(text, truncated)
    return Failed(quote(str(answer["error"])), bool(answer["permanent"]), text, truncated)


def _report(answer: Mapping[str, Any]) -> str:
    """Take secrets out of what was returned or raised; of a long one, the child has cut the end or the beginning."""
    redaction, failed = current(), answer["error"] is not None
    content = str(answer["report"]).encode(errors="replace")
    if answer["cut"] and failed:
        content = redaction.without_ended(content)
    content = redaction.finish(content) if answer["cut"] and not failed else redaction.clean(content)
    kept = content[-KEPT_BYTES:] if failed else content[:KEPT_BYTES]
    return kept.decode(errors="ignore")


def together(output: Output, report: str) -> tuple[str, bool]:
    """Put what was printed before what was returned or raised; where both are too long, the former is cut."""
    printed, truncated = output.text()
    report = report.replace("\x00", "")
    if not report:
        return printed, truncated
    if printed and not printed.endswith("\n"):
        printed += "\n"
    encoded = printed.encode()
    room = KEPT_BYTES - len(report.encode())
    return encoded[:room].decode(errors="ignore") + report, truncated or len(encoded) > room


def _ending(called: Called) -> str:
    """Say how a process ended that gave no answer, with the last line of its output."""
    last = called.output.last_line()
    return f"{_end_of(called.code)}: {last}" if last else _end_of(called.code)


def _end_of(code: int | None) -> str:
    if code is None:
        return "its process did not end, even when killed"
    if code >= 0:
        return f"its process exited with {code} in the middle of the call"
    try:
        return f"its process was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"its process was killed by signal {-code}"
