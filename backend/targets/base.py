"""What every kind of target has in common: results instead of exceptions, rules, and borrowed tools."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import anyio

from backend.model.egress import ANYWHERE, Egress
from backend.model.instants import rfc3339
from backend.model.run import Dispatch
from backend.targets.mailer import Mailer
from backend.targets.pool import PythonPool
from backend.targets.sender import Sender
from backend.targets.wards import Warden

BARE_ENVIRONMENT: Mapping[str, str] = {"PATH": os.defpath, "LANG": "C.UTF-8"}


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The target did what was asked. `status_code` is an HTTP status or an exit code."""

    output: str = ""
    truncated: bool = False
    status_code: int | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The target did not do it, or nobody knows. `permanent`: asking again would not help.

    `retry_after`: seconds that the target asked to be left alone. `barred`: nothing was begun, for this worker's
    settings forbid it, and another's may not; with `permanent`, it is not waited for one that is not there.
    """

    error: str
    permanent: bool
    output: str = ""
    truncated: bool = False
    status_code: int | None = None
    retry_after: float | None = None
    barred: bool = False


Outcome = Succeeded | Failed


@dataclass(frozen=True, slots=True)
class TargetRules:
    """What the operator of this server lets targets do."""

    allow_commands: bool
    allow_private_urls: bool
    python_prefixes: tuple[str, ...] = ()
    """Modules whose callables, and those of the modules below, may be called; none unless given."""
    mail: bool = False
    """There is a server for e-mail."""
    traced: bool = False
    """Targets are told which trace they belong to."""
    egress: Egress = ANYWHERE
    """Which hosts the namespace at hand may call."""
    public_url: str | None = None
    """Under which callees reach this server."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a worker lends to the targets it performs; opened once per worker."""

    rules: TargetRules
    sender: Sender
    warden: Warden
    python: PythonPool
    base_env: Mapping[str, str]
    mailer: Mailer | None = None

    @staticmethod
    @asynccontextmanager
    async def open(
        rules: TargetRules,
        *,
        concurrency: int = 64,
        base_env: Mapping[str, str] = BARE_ENVIRONMENT,
        mailer: Mailer | None = None,
    ) -> AsyncIterator[Tools]:
        """Lend tools for up to `concurrency` attempts at a time; `base_env` is what every command inherits."""
        warden = Warden()
        python = PythonPool(warden, base_env)
        try:
            async with Sender.open(concurrency=concurrency, allow_private=rules.allow_private_urls) as sender:
                yield Tools(rules, sender, warden, python, base_env, mailer)
        finally:
            with anyio.CancelScope(shield=True):
                await python.close()
                await warden.close()


def identity(dispatch: Dispatch) -> dict[str, str]:
    """Name, as variables of an environment, which run this is."""
    return {
        "SCHEDULER_RUN_ID": dispatch.run_id,
        "SCHEDULER_SCHEDULE_ID": dispatch.schedule_id,
        "SCHEDULER_ATTEMPT": str(dispatch.attempt),
        "SCHEDULER_NOMINAL_TIME": rfc3339(dispatch.nominal_at),
        "IDEMPOTENCY_KEY": dispatch.run_id,
        **({"TRACEPARENT": dispatch.traceparent} if dispatch.traceparent else {}),
        **callback_names(dispatch, "SCHEDULER_CALLBACK_TOKEN", "SCHEDULER_CALLBACK_URL"),
    }


def callback_names(dispatch: Dispatch, token: str, url: str) -> dict[str, str]:
    """Tell under these names how the run is completed; nothing where the answer completes it."""
    if dispatch.callback is None:
        return {}
    return {token: dispatch.callback.token} | ({url: dispatch.callback.url} if dispatch.callback.url else {})


class Target(Protocol):
    """A frozen description of what to invoke, which can be performed."""

    @property
    def kind(self) -> str:
        """Name the kind, as in the schedule's document."""
        ...

    @staticmethod
    def abilities(rules: TargetRules) -> tuple[str, ...]:
        """Name what a worker with these rules may do: this kind, if it is on, then what of it others may not."""
        ...

    def ability(self, rules: TargetRules) -> str | None:
        """Name by which of its abilities a worker with these rules may do what another found barred, if it may."""
        ...

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        """Write it as the document that it was read from."""
        ...

    def check(self, rules: TargetRules) -> None:
        """Raise FieldError, naming the field, when this server's rules forbid the target."""
        ...

    async def perform(self, dispatch: Dispatch, tools: Tools) -> Outcome:
        """Invoke the target once and say how it went; when cancelled, stop it within about a second."""
        ...
