"""Ids of traces (W3C Trace Context). Those of a run follow from its id, so that all hosts agree on them unasked."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import NamedTuple

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1


class TraceParent(NamedTuple):
    """The span that a caller is in. `sampled`: the caller records it."""

    trace_id: int
    span_id: int
    sampled: bool


def trace_of(run_id: str) -> int:
    """Give the id of the trace that a run and all its attempts belong to."""
    return _hashed(f"trace {run_id}", 16)


def span_of(run_id: str, attempt: int = 0) -> int:
    """Give the id of an attempt's span; without one, that of the run itself."""
    return _hashed(f"span {run_id} {attempt}", 8)


def traceparent(run_id: str, attempt: int) -> str:
    """Write down the span of an attempt, for the target to hang its own spans below.

    >>> traceparent("run-1", 1) == traceparent("run-1", 1) != traceparent("run-1", 2)
    True
    """
    return f"00-{trace_of(run_id):032x}-{span_of(run_id, attempt):016x}-{_SAMPLED:02x}"


def parse_traceparent(text: str) -> TraceParent | None:
    """Read a traceparent header; None when it is none, or none that may be followed.

    >>> parse_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").sampled
    True
    """
    found = _TRACEPARENT.fullmatch(text.strip())
    if found is None or found[1] == "ff" or (found[1] == "00" and found[5]):
        return None
    trace_id, span_id = int(found[2], 16), int(found[3], 16)
    return TraceParent(trace_id, span_id, bool(int(found[4], 16) & _SAMPLED)) if trace_id and span_id else None


def _hashed(text: str, size: int) -> int:
    # Zero is no id; that a hash is zero will not happen before the sun goes out.
    return int.from_bytes(blake2b(text.encode(errors="replace"), digest_size=size).digest(), "big") or 1
