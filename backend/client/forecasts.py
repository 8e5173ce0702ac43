"""What can be asked about times to come and times gone by, without changing anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from backend.client import readers
from backend.client.flow import Call
from backend.client.meant import Draft, Moment, document, instant, written
from backend.client.operation import Speaking, operation
from backend.client.wire import Request

if TYPE_CHECKING:
    from backend.service.audit import AuditView
    from backend.service.simulate_views import Simulation
    from backend.service.times import Preview

LONG = 900.0
"""Seconds that a server may need for the simulation of a year."""
Length = float | str | timedelta


class Forecasts(Speaking):
    """Drafts tried out, loads foreseen, and records compared with what should be there."""

    @operation
    def preview_draft(self, draft: Draft, *, from_: Moment | None = None, count: int | None = None) -> Call[Preview]:
        """Say when a draft would fire, in words, and what may surprise; a draft has at least `triggers`."""
        asked = {"from": instant(from_), "count": count}
        body = document(draft) | {name: value for name, value in asked.items() if value is not None}
        return Call(Request(method="POST", path=("preview",), body=body), readers.reading(readers.preview))

    @operation
    def simulate_range(
        self,
        from_: Moment,
        to: Moment,
        *,
        schedules: Sequence[Draft] | None = None,
        durations: Length | Mapping[str, Length] | None = None,
        outage: tuple[Moment, Moment] | None = None,
    ) -> Call[Simulation]:
        """Replay schedules, or drafts in their place, over a range without firing."""
        body: dict[str, Any] = {"from": from_, "to": to, "durations": durations}
        body["schedules"] = None if schedules is None else [document(one) for one in schedules]
        body["outage"] = None if outage is None else {"from": outage[0], "to": outage[1]}
        given = written({name: value for name, value in body.items() if value is not None})
        request = Request(method="POST", path=("simulate",), body=given, timeout=LONG)
        return Call(request, readers.reading(readers.simulation))

    @operation
    def audit_occurrences(
        self,
        *,
        schedule: str | None = None,
        from_: Moment | None = None,
        to: Moment | None = None,
        cursor: str | None = None,
    ) -> Call[AuditView]:
        """Compute again what should have fired, and compare it with what is recorded; go on at `next_cursor`."""
        query = {"schedule": schedule, "from": instant(from_), "to": instant(to), "cursor": cursor}
        request = Request(method="GET", path=("audit", "occurrences"), query=query)
        return Call(request, readers.reading(readers.audit))
