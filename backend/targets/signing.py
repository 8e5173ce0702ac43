"""Signatures of outgoing requests, as Standard Webhooks describes them (standardwebhooks.com, signature scheme v1)."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Sequence

from backend.errors import FieldError
from backend.model.instants import SECOND
from backend.model.run import Dispatch
from backend.model.secret import Secret

SIGNATURE_HEADERS = frozenset({"webhook-id", "webhook-timestamp", "webhook-signature"})
PREFIX = "whsec_"
KEY_BYTES = range(24, 65)


def signature_headers(dispatch: Dispatch, body: bytes, secrets: Sequence[Secret]) -> dict[str, str]:
    """Sign what is sent in one attempt, once per secret; FieldError for a secret that is no signing key."""
    moment = str(dispatch.started_at // SECOND)
    signed = b".".join([dispatch.run_id.encode(), moment.encode(), body])
    return {
        "webhook-id": dispatch.run_id,
        "webhook-timestamp": moment,
        "webhook-signature": " ".join(_signature(key_of(secret), signed) for secret in secrets),
    }


def _signature(key: bytes, signed: bytes) -> str:
    return "v1," + b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def key_of(secret: Secret) -> bytes:
    """Read the key in `whsec_BASE64`."""
    encoded = secret.reveal().strip()
    try:
        key = b64decode(encoded.removeprefix(PREFIX).encode(), validate=True)
    except (Error, UnicodeEncodeError):
        key = b""
    if not encoded.startswith(PREFIX) or len(key) not in KEY_BYTES:
        rule = f"the secret {secret.name!r} is no signing key"
        raise FieldError(rule, f"store {PREFIX} and 24 to 64 random bytes in base64", "signing_secret")
    return key
