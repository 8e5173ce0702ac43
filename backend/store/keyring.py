"""Encryption of stored secrets: AES-256-GCM under the keys of a ring, of which the first writes and all read.

What is stored is base64 of: version (1 byte), length of the key's id (1 byte), the id, nonce (12 bytes), ciphertext.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import NamedTuple

from backend.errors import Conflict
from backend.model.secret import Secret

VERSION = 1
KEY_BYTES = 32
NONCE_BYTES = 12
SETTING = "SCHEDULER_SECRET_KEYS"


class Unreadable(Conflict):
    """A stored secret cannot be decrypted. `altered`: with no key; it is not what was written at this place."""

    def __init__(self, text: str, *, altered: bool) -> None:
        super().__init__(text)
        self.altered = altered


class _Sealed(NamedTuple):
    key_id: str
    nonce: bytes
    ciphertext: bytes


class KeyRing:
    """Keys by id, the one that writes first; without any, nothing can be kept secret."""

    def __init__(self, keys: Sequence[tuple[str, bytes]] = ()) -> None:
        self._keys = dict(keys)
        self._first = keys[0][0] if keys else None

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._keys)})"

    @property
    def first(self) -> str:
        """Name the key that writes; Conflict without one."""
        if self._first is None:
            raise Conflict(
                f"this server has no key to encrypt secrets with; set {SETTING} to what `scheduler secrets make-key` "
                "prints, and start it again"
            )
        return self._first

    def seal(self, value: str, namespace: str, name: str) -> str:
        """Encrypt a value for its place, where alone it can be decrypted; Conflict without a key."""
        key_id = self.first
        nonce = os.urandom(NONCE_BYTES)
        ciphertext = _cipher(self._keys[key_id]).encrypt(nonce, value.encode(), place_of(namespace, name))
        return b64encode(bytes([VERSION, len(key_id)]) + key_id.encode() + nonce + ciphertext).decode()

    def open(self, sealed: str, namespace: str, name: str) -> Secret:
        """Decrypt what was sealed for this place; Unreadable when that cannot be done."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - only where there are secrets

        parts = _parts(sealed)
        if parts is None:
            raise Unreadable(f"the secret {name!r} is stored in a form that this program does not read", altered=True)
        key = self._keys.get(parts.key_id)
        if key is None:
            text = f"the secret {name!r} is encrypted with the key {parts.key_id!r}, which {SETTING} does not have"
            raise Unreadable(text, altered=False)
        try:
            value = _cipher(key).decrypt(parts.nonce, parts.ciphertext, place_of(namespace, name))
        except InvalidTag:
            text = f"the secret {name!r} does not decrypt with the key {parts.key_id!r}: one of both is another one"
            raise Unreadable(f"{text} than when it was stored", altered=True) from None
        return Secret(name, value.decode())

    def resealed(self, sealed: str, namespace: str, name: str) -> str:
        """Encrypt anew, with the first key."""
        return self.seal(self.open(sealed, namespace, name).reveal(), namespace, name)


def _cipher(key: bytes):  # type: ignore[no-untyped-def]  # noqa: ANN202 - its type would import it
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - only where there are secrets

    return AESGCM(key)


def place_of(namespace: str, name: str) -> bytes:
    """Name the row, so that a value moved to another one is noticed. A secret's name has no `:`, so it is one row."""
    return f"{namespace}:secrets:{name}".encode()


def _parts(sealed: str) -> _Sealed | None:
    try:
        content = b64decode(sealed, validate=True)
        start = 2 + content[1]
        key_id = content[2:start].decode()
    except (ValueError, IndexError):
        return None
    nonce, ciphertext = content[start : start + NONCE_BYTES], content[start + NONCE_BYTES :]
    return _Sealed(key_id, nonce, ciphertext) if content[0] == VERSION and ciphertext else None


def make_key(key_id: str) -> str:
    """Make a new random key as the setting takes it: `id:base64`."""
    return f"{key_id}:{b64encode(os.urandom(KEY_BYTES)).decode()}"
