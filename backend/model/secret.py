"""Secrets: values that show themselves only when asked, and the references to them in a target's document."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NoReturn

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

SECRET_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$"  # noqa: S105 - a pattern; without ":", which parts what is sealed
KEY = "secret"
NAMED = ("headers", "env", "args")
"""Fields of targets in which each value may be, or hold, a reference."""
WHOLE = ("body", "signing_secret")
_NAME = re.compile(SECRET_NAME)


class Secret:
    """A value that neither `repr`, a format nor an exception shows."""

    __slots__ = ("_value", "name")

    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self._value = value

    def reveal(self) -> str:
        """Give the value itself, for the one place that sends it."""
        return self._value

    def __repr__(self) -> str:
        return f"[secret {self.name}]"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not copied to where it could be kept")


class SecretRef(BaseModel):
    """Stands for the value of a secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    secret: Annotated[str, Field(pattern=SECRET_NAME, description="The name of a secret of the namespace.")]


def _tag(value: object) -> str:
    return "reference" if isinstance(value, Mapping | SecretRef) else "text"


TextOrSecret = Annotated[
    Annotated[str, Tag("text")] | Annotated[SecretRef, Tag("reference")],
    Discriminator(_tag),
]


def _number(value: object) -> str:
    return "references" if isinstance(value, list | tuple) else "reference"


OneOrTwoSecrets = Annotated[
    Annotated[SecretRef, Tag("reference")]
    | Annotated[tuple[SecretRef, ...], Field(min_length=1, max_length=2), Tag("references")],
    Discriminator(_number),
]
"""One, or two while one replaces the other."""


def is_name(text: str) -> bool:
    """Say whether a secret may be called so."""
    return _NAME.match(text) is not None and not text.endswith("\n")


def referred(value: object) -> str | None:
    """Read the name in `{"secret": name}`, or in what has been read from that; None for everything else.

    >>> referred({"secret": "token"}), referred({"secret": "x", "user": "y"}), referred({"secret": 1})
    ('token', None, None)
    """
    if isinstance(value, SecretRef):
        return value.secret
    name = value[KEY] if isinstance(value, dict) and len(value) == 1 and KEY in value else None
    return name if isinstance(name, str) else None


def references_of(target: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Find all references in a target, or in its document: where each stands, and the name.

    >>> list(references_of({"headers": {"X-Key": {"secret": "a"}}, "body": [1, {"secret": "b"}]}))
    [('target.headers.X-Key', 'a'), ('target.body[1]', 'b')]
    """
    for field in NAMED:
        # A variable, header or argument that is itself called "secret" is none.
        for key, value in (target.get(field) or {}).items():
            yield from references(value, f"target.{field}.{key}")
    for field in WHOLE:
        yield from references(target.get(field), f"target.{field}")


def references(document: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Find all references in a JSON document, or in what has been read from it."""
    if (name := referred(document)) is not None:
        yield path, name
    elif isinstance(document, dict):
        for key, value in document.items():
            yield from references(value, f"{path}.{key}" if path else key)
    elif isinstance(document, list | tuple):
        for place, value in enumerate(document):
            yield from references(value, f"{path}[{place}]")


def values(named: Mapping[str, Any], secrets: Mapping[str, Secret]) -> dict[str, Any]:
    """Put the values in where headers, variables or arguments refer to them."""
    return {key: revealed(value, secrets) for key, value in named.items()}


def revealed(document: Any, secrets: Mapping[str, Secret]) -> Any:  # noqa: ANN401 - JSON
    """Put the values in where a document refers to them; KeyError for a secret that is not there."""
    match document:
        case SecretRef():
            return secrets[document.secret].reveal()
        case dict():
            if (name := referred(document)) is not None:
                return secrets[name].reveal()
            return {key: revealed(value, secrets) for key, value in document.items()}
        case list() | tuple():
            return [revealed(value, secrets) for value in document]
        case _:
            return document
