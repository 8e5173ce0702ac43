"""Commands that work on this machine without asking a server."""

from __future__ import annotations

from backend.cli.failures import DONE, REFUSED
from backend.cli.options import AsJson
from backend.cli.output import print_json, print_line


def serve() -> None:
    """Start the server in the foreground, until Ctrl-C."""
    from backend.app import run_processes  # noqa: PLC0415 - the server is slow to import
    from backend.executor.scheduler import Scheduler  # noqa: PLC0415 - the server is slow to import

    run_processes(Scheduler())


def migrate(*, json: AsJson = False) -> None:
    """Bring the configured database to the newest schema, made first if need be."""
    from backend.settings import load_settings  # noqa: PLC0415 - slow to import
    from backend.store.open import migrate_database  # noqa: PLC0415 - slow to import

    applied = migrate_database(load_settings().database_url)
    if json:
        print_json({"applied": applied})
        return
    for name in applied:
        print_line(f"applied {name}")
    if not applied:
        print_line("the schema is the newest already")


def check(*, json: AsJson = False) -> int:
    """Look for problems in the configured database: schema, integrity."""
    from backend.settings import load_settings  # noqa: PLC0415 - slow to import
    from backend.store.open import check_database  # noqa: PLC0415 - slow to import

    problems = check_database(load_settings().database_url)
    if json:
        print_json({"problems": problems})
    else:
        for problem in problems or ["no problems"]:
            print_line(problem)
    return REFUSED if problems else DONE
