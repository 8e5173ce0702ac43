"""Numbered migrations, whatever the database: the schema is their sum."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from backend.errors import ConfigurationError

Migrations = Mapping[int, tuple[str, str]]
"""Version → (name, SQL text), in order."""


@cache
def load_migrations(package: str) -> Migrations:
    """Read all migrations of a package, in order."""
    entries = sorted(entry.name for entry in files(package).iterdir() if entry.name.endswith(".sql"))
    return {int(name[:4]): (name, files(package).joinpath(name).read_text()) for name in entries}


def refuse_foreign(ours: Migrations, applied: Mapping[int, str]) -> None:
    """Raise ConfigurationError when what is applied (version → sha256) is newer than this code, or not what it has."""
    for version, sha256 in applied.items():
        if version not in ours:
            raise ConfigurationError(
                f"SCHEDULER_DATABASE_URL: the schema is at version {version}, newer than this program, "
                "so start a newer one"
            )
        name, text = ours[version]
        if sha256 != sha256_of(text):
            raise ConfigurationError(
                f"SCHEDULER_DATABASE_URL: migration {name} was applied with another text, "
                "so start the program that made the database, or another database"
            )


def sha256_of(text: str) -> str:
    """Digest a migration's text."""
    return hashlib.sha256(text.encode()).hexdigest()
