"""What a simulation answers."""

from __future__ import annotations

from pydantic import Field

from backend.service.views import View


class Starts(View):
    """A schedule, and how often it starts then."""

    id: str
    starts: int


class Peak(View):
    """The minutes with the most starts."""

    starts: int
    minutes: list[str] = Field(description="The first ten of them.")


class OverlapsOf(View):
    """A schedule, and what became of its occurrences while a run of it was open."""

    id: str
    count: int
    skipped: int
    waited: int
    replaced: int


class Overlaps(View):
    """Occurrences that came while a run of their schedule was open, given how long runs take."""

    count: int
    skipped: int
    waited: int
    replaced: int = Field(description="Runs that were stopped to make room.")
    at_return: int = Field(description="Of `count`, those that the end of the outage planned in one go with late ones.")
    schedule_count: int
    schedules: list[OverlapsOf] = Field(description="The hundred with the most.")


class MisfiresOf(View):
    """A schedule, and what becomes of what it missed in the outage."""

    id: str
    late: int
    run: int
    dropped: dict[str, int]


class Misfires(View):
    """What became due during the outage, and what the misfire policies would do at its end."""

    late: int = Field(description="All that became due in it.")
    run: int = Field(description="How many of them run after it, late.")
    dropped: dict[str, int] = Field(description="How many of them do not run, by reason.")
    schedule_count: int
    schedules: list[MisfiresOf] = Field(description="The hundred with the most.")


class Simulation(View):
    """The starts of a range, before they happen."""

    schedules: int = Field(description="How many were replayed.")
    total: int
    bucket_seconds: int = Field(description="How wide a bucket of `minutes` is: 60 up to seven days.")
    minutes: list[tuple[str, int]] = Field(description="`[beginning, starts]` of each bucket that has any.")
    peak: Peak
    peak_schedules: list[Starts] = Field(description="Who starts in the peak minutes, the hundred with the most.")
    peak_schedule_count: int = Field(description="How many they are in all.")
    overlaps: Overlaps
    misfires: Misfires | None = Field(description="Only with an outage.")
    notes: list[str]
