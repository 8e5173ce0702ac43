"""An attempt that has ended, whoever ended it."""

from __future__ import annotations

from typing import NamedTuple

from backend.model.run import AttemptState


class NewAttempt(NamedTuple):
    """One row for `attempts`. Instants in microseconds."""

    run_key: int
    number: int
    state: AttemptState
    started_at: int | None
    finished_at: int
    worker: str | None
    error: str | None
    status_code: int | None = None
    output: str = ""
    output_truncated: bool = False
