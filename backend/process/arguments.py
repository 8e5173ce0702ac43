"""Programs that are set up by settings alone take no arguments, and say so instead of starting."""

from __future__ import annotations

import sys

USAGE = """\
usage: {command}

{purpose}

It takes no arguments. Settings come from the environment (SCHEDULER_…), .env and scheduler.yaml: see
docs/reference/settings.md. SIGTERM or Ctrl-C drains.
Exit codes: 0 drained, 1 crashed, 2 refused, 130 interrupted twice.
"""


def take_no_arguments(command: str, purpose: str) -> None:
    """Print how to start it for `--help` and exit with 0; refuse any other argument with 2."""
    given = sys.argv[1:]
    if not given:
        return
    if given[0] in {"-h", "--help"}:
        sys.stdout.write(USAGE.format(command=command, purpose=purpose))
        sys.exit(0)
    sys.stderr.write(f"{given[0]!r} is not known: {command} takes no arguments; see {command} --help\n")
    sys.exit(2)
