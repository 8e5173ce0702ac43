"""Numbered migrations, whatever the database: the schema is their sum."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from backend.errors import ConfigurationError

Migrations = Mapping[int, tuple[str, str]]
"""Version → (name, SQL text), in order."""
PROMISE = "works_with_"
"""In store_info, followed by the version of a migration: the oldest code that may run once it is applied."""
_HEADER = re.compile(r"-- works with: ([1-9][0-9]*)\n")


@cache
def load_migrations(package: str) -> Migrations:
    """Read all migrations of a package, in order."""
    entries = sorted(entry.name for entry in files(package).iterdir() if entry.name.endswith(".sql"))
    return {int(name[:4]): (name, files(package).joinpath(name).read_text()) for name in entries}


def works_with(version: int, text: str) -> int:
    """Read the oldest code that may run once a migration is applied, as the version of that code's newest migration.

    A migration that does not say so in its first line leaves no older code running.
    """
    header = _HEADER.match(text)
    return int(header.group(1)) if header else version


def promises_of(version: int, text: str) -> list[tuple[str, str]]:
    """Say what a migration leaves in store_info for code that does not know it; nothing, if such code must not run."""
    oldest = works_with(version, text)
    return [(f"{PROMISE}{version}", str(oldest))] if oldest < version else []


def refuse_foreign(ours: Migrations, applied: Mapping[int, str], promises: Mapping[str, str]) -> None:
    """Raise ConfigurationError when what is applied (version → sha256) is too new for this code, or not what it has.

    `promises`: of store_info, what newer migrations have left there for older code.
    """
    for version, sha256 in applied.items():
        if version not in ours:
            _refuse_too_new(version, max(ours), promises)
            continue
        name, text = ours[version]
        if sha256 != sha256_of(text):
            raise ConfigurationError(
                f"SCHEDULER_DATABASE_URL: migration {name} was applied with another text, "
                "so start the program that made the database, or another database"
            )


def _refuse_too_new(version: int, newest_of_ours: int, promises: Mapping[str, str]) -> None:
    oldest = int(promises.get(f"{PROMISE}{version}", version))
    if oldest > newest_of_ours:
        raise ConfigurationError(
            f"SCHEDULER_DATABASE_URL: the schema is at version {version}, newer than this program, "
            f"which knows {newest_of_ours}, so start a newer one"
        )


def sha256_of(text: str) -> str:
    """Digest a migration's text."""
    return hashlib.sha256(text.encode()).hexdigest()
