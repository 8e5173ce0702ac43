"""Who may come in: keys are long random texts, of which only a hash is stored."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from contextlib import suppress
from pathlib import Path

from backend.errors import ConfigurationError
from backend.store.port import AdminStore

SHORTEST = 24
FILE = "admin.key"
logger = logging.getLogger(__name__)


def hash_of(key: str) -> str:
    """Hash a key. A plain hash is enough for 256 random bits, and it keeps a check in microseconds."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


async def ensure_admin_key(store: AdminStore, folder: Path) -> Path:
    """Adopt the admin key in the data directory, or make one; the database keeps its hash. Answers the file."""
    path = folder / FILE
    key = _adopt(path)
    if len(key) < SHORTEST or any(character.isspace() for character in key):
        raise ConfigurationError(
            f"{path} holds no key of at least {SHORTEST} characters without spaces, so delete it or put one in"
        )
    await store.put_admin_key(hash_of(key))
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
