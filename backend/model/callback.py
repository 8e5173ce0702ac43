"""The token by which a callee says what became of a run; only its hash is stored.

It reads `run_KEY_SECRET`: the run is found by its key, and then the hash of the whole is compared.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

SECRET_BYTES = 32
_TOKEN = re.compile(r"run_(\d{1,18})_[A-Za-z0-9_-]{32,64}")


class Expectation(NamedTuple):
    """What is noted, under the worker's lease, before the dispatch. Instants and lengths in microseconds."""

    key: int
    token: str
    """Of the worker's lease."""
    hash: str
    until: int
    silence: int | None


def callback_token(run_key: int, secret: str) -> str:
    """Write a token."""
    return f"run_{run_key}_{secret}"


def run_key_in(token: str) -> int | None:
    """Read which run a token is about; None if it is no token.

    >>> run_key_in(callback_token(42, "s" * 43)), run_key_in("a key from elsewhere")
    (42, None)
    """
    found = _TOKEN.fullmatch(token)
    return int(found[1]) if found else None


def hash_of_token(token: str) -> str:
    """Hash a token. One pass is enough for 256 random bits."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()
