"""Who may come in: keys are long random texts, of which only a hash is stored.

A key reads `sched_ID_SECRET`: it is found by its id, and then its hash is compared. The key in a file may be any text,
and is found by its hash.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import socket
from contextlib import suppress
from pathlib import Path

from backend.errors import ConfigurationError, Unauthorized
from backend.model.access import Principal, read_scopes
from backend.store.keys import Arrival, KeyRow
from backend.store.port import AdminStore

SHORTEST = 24
FILE = "admin.key"
PREFIX = "sched_"
ID_BYTES = 6
HEXADECIMAL = frozenset("0123456789abcdef")
logger = logging.getLogger(__name__)


def new_key() -> tuple[str, str]:
    """Make a key of 256 random bits; answers its id and the whole text."""
    id_ = secrets.token_hex(ID_BYTES)
    return id_, f"{PREFIX}{id_}_{secrets.token_urlsafe(32)}"


def id_in(key: str) -> str | None:
    """Read the id that stands in a key; None if it is not of our making.

    >>> id_in("sched_00c0ffee00c0_secret_text"), id_in("a key from elsewhere")
    ('00c0ffee00c0', None)
    """
    id_ = key.removeprefix(PREFIX).partition("_")[0]
    is_id = len(id_) == 2 * ID_BYTES and set(id_) <= HEXADECIMAL
    return id_ if is_id and key.startswith(PREFIX) else None


def hash_of(key: str, store_id: str) -> str:
    """Hash a key for one store. One pass is enough for 256 random bits, and it keeps a check in microseconds."""
    return hmac.new(store_id.encode(), key.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()


async def identify(store: AdminStore, key: str | None, namespace: str | None = None) -> tuple[KeyRow, Arrival]:
    """Find the key that a text is; Unauthorized, in the same words, unless one is in force.

    `namespace` is the one that the request names; what holds there, if it exists, comes with the answer.
    """
    hash_ = hash_of(key or "", store.store_id)
    arrival = await store.arrive(id_in(key or ""), hash_, namespace)
    # Compared in constant time: how long it takes says nothing about the stored hash.
    found = [row for row in arrival.keys if hmac.compare_digest(row.hash, hash_) and row.in_force(arrival.now)]
    if not found or not key:
        raise Unauthorized("no key that is in force was sent; send Authorization: Bearer KEY or X-API-Key: KEY")
    return found[0], arrival


def principal_of(row: KeyRow) -> Principal:
    """Say who comes with a key, and what they may do."""
    return Principal(row.id, row.namespace, read_scopes(row.scopes))


async def ensure_admin_key(store: AdminStore, folder: Path) -> Path:
    """Adopt the admin key in the data directory, or make one; the database keeps its hash. Answers the file.

    The key that the file held before is revoked.
    """
    path = folder / FILE
    key = _adopt(path)
    if len(key) < SHORTEST or any(character.isspace() for character in key):
        raise ConfigurationError(
            f"{path} holds no key of at least {SHORTEST} characters without spaces, so delete it or put one in"
        )
    row = await store.adopt_key(hash_of(key, store.store_id), f"{socket.gethostname()}:{path.resolve()}")
    if row.revoked_at is not None:
        # Not our decision to take back. Schedules go on firing without it.
        logger.warning("admin_key_revoked", extra={"fields": {"file": str(path), "key": row.id}})
    return path


def _adopt(path: Path) -> str:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_once(path, f"sched_admin_{secrets.token_urlsafe(32)}\n")
        if path.stat().st_mode & 0o077:
            logger.warning("admin_key_readable_by_others", extra={"fields": {"file": str(path)}})
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigurationError(
            f"SCHEDULER_DATA_DIR: {path} cannot be read or made ({reason}), so give a folder of this user's own"
        ) from None


def _write_once(path: Path, text: str) -> None:
    """Write a new file whole or not at all; an existing one stays as it is."""
    if path.exists():
        return
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, does not replace what another process has put there meanwhile.
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
