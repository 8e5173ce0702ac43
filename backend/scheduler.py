"""The whole scheduling system: `python -m backend.scheduler`."""

from __future__ import annotations

from backend.app import run_processes
from backend.executor.scheduler import Scheduler
from backend.process.arguments import take_no_arguments
from backend.process.init import step_aside_as_init


def main() -> None:
    """Run the scheduler until SIGTERM or SIGINT; the exit code is 0 drained, 1 crashed, 2 configuration refused."""
    take_no_arguments("python -m backend.scheduler", "Runs the whole scheduling system as one process.")
    step_aside_as_init()
    run_processes(Scheduler())


if __name__ == "__main__":
    main()
