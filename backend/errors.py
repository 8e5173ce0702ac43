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
├── PreconditionFailed    the revision named by If-Match is not the current one; 412
├── StoreUnavailable      the database did not answer in time; 503
└── ClockAhead            the database's clock has jumped; nothing was written; 503

FieldError (a ValueError) is raised by validators that do not know where they stand in the document.
"""

from __future__ import annotations

from collections.abc import Sequence
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


class PreconditionFailed(SchedulerError):
    """`If-Match` names another revision than the current one."""


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
