"""How much is in the databases of the plan tests: 100,000 rows, or what `make plans` says."""

from __future__ import annotations

import os

MANY_SCHEDULES = int(os.environ.get("PLANS_SCHEDULES", "100000"))
MANY_RUNS = int(os.environ.get("PLANS_RUNS", "100000"))
SCHEDULES_WITH_RUNS = MANY_RUNS // 10
assert MANY_SCHEDULES >= SCHEDULES_WITH_RUNS >= 10_000, "ten runs each, and enough to notice a walk over all"
