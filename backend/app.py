"""The outer shape: processes go in, one well-behaved program comes out."""

from __future__ import annotations

from backend.executor.several import SchedulerTeam
from backend.process.arguments import take_no_arguments
from backend.process.guard import guarded
from backend.process.init import step_aside_as_init
from backend.process.supervisor import ProcessContract, Supervisor, check_contract

__all__ = ["ProcessContract", "guarded", "run_processes"]


def run_processes(*processes: ProcessContract) -> None:
    """Run all but the last process in the background, the last here, and stop every one in the end, in reverse order.

    Returns None when all have drained. Everything else is SystemExit with the documented code: 1 after a
    crash, whose traceback is logged, 2 after a ConfigurationError, whose sentence is on stderr. The first
    SIGTERM or SIGINT, or SIGHUP, drains; a second SIGTERM or SIGINT ends this process at once with 130. Raises
    ValueError without processes and TypeError for an object without the contract, before anything is started.

    A process is any object with `start(background: bool)`, `stop()`, `state` and `service_name`:

    >>> class Greeter:
    ...     service_name = "greeter"
    ...     state = "idle"
    ...
    ...     def start(self, background: bool) -> None:
    ...         print("hello from the", "background" if background else "foreground")
    ...
    ...     def stop(self) -> None:
    ...         self.state = "exited"
    >>> run_processes(Greeter())
    hello from the foreground
    """
    check_contract(processes)
    Supervisor(processes).run()


def main() -> None:
    """Run the system as several processes on this machine until SIGTERM or SIGINT: `python -m backend.app`."""
    take_no_arguments("python -m backend.app", "Runs the scheduling system as several processes on this machine.")
    step_aside_as_init()
    run_processes(SchedulerTeam())


if __name__ == "__main__":
    main()
