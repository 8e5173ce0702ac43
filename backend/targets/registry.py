"""All kinds of targets. A new kind is one file and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from backend.targets.command import CommandTarget
from backend.targets.email import EmailTarget
from backend.targets.http import HttpTarget
from backend.targets.python import PythonTarget

AnyTarget = Annotated[HttpTarget | CommandTarget | PythonTarget, Field(discriminator="kind")]
NoticeTarget = Annotated[HttpTarget | EmailTarget, Field(discriminator="kind")]
"""What notifications may be sent to."""
ErrandTarget = Annotated[HttpTarget | CommandTarget | PythonTarget | EmailTarget, Field(discriminator="kind")]
"""Whatever a worker may be asked to invoke."""
TargetKind = Literal["http", "command", "python"]
KINDS: Mapping[str, type[HttpTarget | CommandTarget | PythonTarget]] = {
    "http": HttpTarget,
    "command": CommandTarget,
    "python": PythonTarget,
}

ERRAND_KINDS: Mapping[str, type[HttpTarget | CommandTarget | PythonTarget | EmailTarget]] = {
    **KINDS,
    "email": EmailTarget,
}


@cache
def _adapter() -> TypeAdapter[HttpTarget | CommandTarget | PythonTarget]:
    return TypeAdapter(AnyTarget)


def parse_target(document: object) -> HttpTarget | CommandTarget | PythonTarget:
    """Read a target from JSON text, or from what JSON text decodes to; ValidationError when it breaks a rule.

    >>> parse_target('{"kind": "http", "url": "https://example.org/hook"}').method
    'POST'
    """
    if isinstance(document, str | bytes):
        return _adapter().validate_json(document)
    return _adapter().validate_python(document)
