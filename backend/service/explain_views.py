"""What an explanation of an instant looks like."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from backend.engine.explain import Verdict
from backend.service.views import RunView, View


class RuleView(View):
    """The timing in force, as stored and in words."""

    triggers: list[dict[str, Any]]
    description: str


class MismatchView(View):
    """A field of a cron rule that says no."""

    field: str
    value: str = Field(description="What the clock showed.")
    rule: str = Field(description="What the rule says.")


class WindowView(View):
    """Between which instants the schedule fires."""

    start_at: str | None
    end_at: str | None


class PauseView(View):
    """Who paused the schedule, when, and why."""

    by: str | None
    at: str | None
    note: str


class RevisionView(View):
    """The version of the schedule that was in force."""

    number: int
    changed_at: str
    changed_by: str


class NearestView(View):
    """The occurrences around the instant, by the timing in force."""

    previous: str | None
    next: str | None


class JitterView(View):
    """When the occurrence is due, after its delay."""

    nominal_time: str = Field(description="The occurrence: at the instant, or the one that is due then.")
    delay_seconds: float
    scheduled_time: str


class OtherRunView(View):
    """A run that somebody asked for, beside the occurrence."""

    id: str
    trigger_type: str
    state: str
    nominal_time: str


class ExplanationView(View):
    """Why a schedule did, did not, will or will not fire at an instant."""

    schedule_id: str
    at: str
    verdict: Verdict
    sentence: str
    timezone: str
    local_time: str
    rule: RuleView | None = Field(description="Null when this program cannot read it.")
    trigger: dict[str, Any] | None = Field(description="The trigger that fires then.")
    mismatch: list[MismatchView] = Field(description="Of a single cron trigger that does not fire then.")
    dst: str | None = Field(description="What a clock change has to do with it.")
    exclusion: dict[str, Any] | None
    window: WindowView | None
    pause: PauseView | None
    revision: RevisionView | None
    nearest: NearestView
    run: RunView | None = Field(description="The run, or the record of why there is none; it may stand for many.")
    other_runs: list[OtherRunView] = Field(
        description="Runs of this second that somebody asked for: of backfills, retries, or by hand; ten at most."
    )
    jitter: JitterView | None
