"""Every error the package raises on purpose.

SchedulerError
├── ConfigurationError    a setting was refused; the process exits with 2
├── Refused               input broke a rule; 422, one FieldProblem each
│   ├── Malformed         the body is not in the format it should be in; 400
│   └── TooLarge          the body is over its limit; 413
├── Unauthorized          no key that is in force; 401
├── Forbidden             the key may not do that, whether or not it exists; 403
├── NotFound              no such thing in this namespace; 404
├── Conflict              the state of the thing forbids it; 409
│   └── RunIsOver         the callee speaks of a run that is not running any more
├── PreconditionFailed    the revision named by If-Match is not the current one; 412
├── OverLimit             a quota or rate is used up; 429
├── StoreUnavailable      the database did not answer in time; 503
└── ClockAhead            the database's clock has jumped; nothing was written; 503

FieldError (a ValueError) is raised by validators that do not know where they stand in the document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """What is wrong with one field, which rule says so, and what would be right."""

    field: str
    rule: str
    fix: str

    def __str__(self) -> str:
        return f"{self.field}: {self.rule}; {self.fix}"


class FieldError(ValueError):
    """A value broke `rule`; `fix` says what would be accepted. The caller adds the field's name.

    `field` may name a place below the value being validated, such as `expression`.
    """

    def __init__(self, rule: str, fix: str, field: str = "") -> None:
        super().__init__(f"{rule}; {fix}")
        self.rule = rule
        self.fix = fix
        self.field = field


class SchedulerError(Exception):
    """Base of all errors raised on purpose."""

    @property
    def members(self) -> Mapping[str, object]:
        """Give what a problem document says beside the text, for programs."""
        return {}


class ConfigurationError(SchedulerError):
    """A setting was refused. The text is one sentence that names the setting."""


class Refused(SchedulerError):
    """Input that breaks a rule; nothing was changed."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class Malformed(Refused):
    """The body is not in the format it should be in; nothing was changed."""


class TooLarge(Refused):
    """The body is over its limit; nothing was changed."""


class Unauthorized(SchedulerError):
    """No key that is in force."""


class Forbidden(SchedulerError):
    """The key may not do that; said before anything is looked up."""


class NotFound(SchedulerError):
    """The thing does not exist in this namespace."""


class Conflict(SchedulerError):
    """The current state forbids the request."""


class RunIsOver(Conflict):
    """The run that a callee speaks of is not running any more."""

    def __init__(self, id_: str, state: str) -> None:
        super().__init__(f"run {id_} is {state}, so its callee has nothing more to do")
        self.state = state

    @property
    def members(self) -> Mapping[str, object]:
        """Tell programs whether to stop."""
        return {"state": self.state, "cancelled": self.state == "cancelled"}


class PreconditionFailed(SchedulerError):
    """`If-Match` names another revision than the current one."""


RATES = frozenset({"requests_per_second", "starts_per_minute"})
"""Limits of which time gives back what is used."""


class OverLimit(SchedulerError):
    """A quota or rate is used up. `retry_after` in seconds; `wanted` says how many more are wanted, of whom."""

    def __init__(
        self, namespace: str, name: str, limit: int, used: int, retry_after: int, *, wanted: str = "1 more"
    ) -> None:
        which = f"the limit {name!r} of {limit}"
        if name in RATES:
            what = f"{which} is reached; ask again in {retry_after} s"
        elif used >= limit:
            what = f"{which} is reached ({used} used): no room for {wanted}; give something up, or ask later"
        else:
            what = f"{wanted} are beyond {which} ({used} used); ask for fewer, or give some up"
        super().__init__(what)
        self.namespace = namespace
        self.name = name
        self.limit = limit
        self.used = used
        self.retry_after = retry_after

    @property
    def members(self) -> Mapping[str, object]:
        """Name the limit for programs."""
        return {"limit": {"name": self.name, "limit": self.limit, "used": self.used}}


class StoreUnavailable(SchedulerError):
    """The database did not answer in time, or is closed."""


class ClockAhead(SchedulerError):
    """The database's clock is further ahead, by `ahead` microseconds, than anything confirms; nothing was written."""

    def __init__(self, ahead: int, now: int) -> None:
        super().__init__(
            f"the database's clock is {ahead / 1_000_000:.0f} s ahead of what has passed; "
            "nothing is planned, claimed or changed until it is set right"
        )
        self.ahead = ahead
        self.now = now
