"""Why a command did not do what it was asked to, and the exit code that says so.

Failure
├── WrongUsage     2, the command line or the file makes no sense
├── Refused        1, the server said no
│   └── Missing    4, there is no such thing
└── Unreachable    3, no scheduler answered
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

DONE, REFUSED, USAGE, UNREACHABLE, MISSING, CLOSED_PIPE, INTERRUPTED = 0, 1, 2, 3, 4, 141, 130


class Failure(Exception):
    """Ends the command. The text is for a person and may have several lines."""

    exit_code = REFUSED


class WrongUsage(Failure):
    """The command line, or a file it names, cannot be understood."""

    exit_code = USAGE


class Unreachable(Failure):
    """No scheduler answered at the URL."""

    exit_code = UNREACHABLE


class Refused(Failure):
    """The server answered with a problem document."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__("\n".join(problem_lines(problem)))
        self.problem = problem

    @property
    def status(self) -> int:
        """The HTTP status."""
        return int(self.problem["status"])

    @property
    def field_errors(self) -> list[dict[str, Any]]:
        """What is wrong with which field."""
        return field_errors(self.problem)


class Missing(Refused):
    """What was asked for does not exist in this namespace."""

    exit_code = MISSING


def field_errors(problem: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the problem's errors that concern a field."""
    errors = problem.get("errors")
    return [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []


def error_text(error: dict[str, Any]) -> str:
    """Word one error without its field: the rule, then what would be right."""
    return "; ".join(str(error[part]) for part in ("rule", "fix") if error.get(part))


def headline(problem: dict[str, Any]) -> str:
    """Word a problem in one line."""
    if field_errors(problem):
        return "refused:"  # what the detail says, the fields' errors say
    said = problem.get("detail") or problem.get("title") or f"HTTP {problem.get('status')}"
    if problem.get("status") == 401:
        said = str(said).partition(";")[0]  # the rest is how to send a key over HTTP
    return f"refused: {said}"


def problem_lines(problem: dict[str, Any]) -> Iterator[str]:
    """Word a problem: title and detail, then each field's error."""
    yield headline(problem)
    for error in field_errors(problem):
        yield f"  {error.get('field') or 'body'}: {error_text(error)}"
    if problem.get("status") == 401:
        yield "give a key by --api-key or SCHEDULER_API_KEY; the server's own is in admin.key in its data directory"
