"""`python -m backend` and the script `scheduler`: the command line."""

from __future__ import annotations

import sys


def main() -> int:
    """Run one command of the command line; answers its exit code."""
    from backend.cli.main import run  # noqa: PLC0415 - only a started program pays for it

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
