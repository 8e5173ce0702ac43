"""Identities. An internal schedule key is never reused; a run's id follows from what it is a run of."""

from __future__ import annotations

import hashlib
from typing import NewType

RunId = NewType("RunId", str)
ScheduleId = NewType("ScheduleId", str)
ScheduleKey = NewType("ScheduleKey", int)
NamespaceId = NewType("NamespaceId", str)
LeaseToken = NewType("LeaseToken", str)
WorkerId = NewType("WorkerId", str)

DEFAULT_NAMESPACE = NamespaceId("default")


def uuid7(instant: int, entropy: bytes) -> str:
    """Lay out a UUID version 7 (RFC 9562) from an instant in microseconds and 10 bytes of entropy."""
    milliseconds = max(instant, 0) // 1000
    raw = bytearray(milliseconds.to_bytes(6, "big") + entropy[:10])
    raw[6] = 0x70 | raw[6] & 0x0F
    raw[8] = 0x80 | raw[8] & 0x3F
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def run_id_of(origin: str, nominal_at: int, backfill_id: str) -> RunId:
    """Name the run of one occurrence.

    The id is a function of the ledger's unique key, so it is the same whoever plans the occurrence, and
    however often: a target that has seen it as `Idempotency-Key` will know it again. `origin` names the
    schedule beyond this database: the store's own random id, the schedule's key, and its creation.
    """
    digest = hashlib.blake2b(f"{origin}/{nominal_at}/{backfill_id}".encode(), digest_size=10).digest()
    return RunId(uuid7(nominal_at, digest))
