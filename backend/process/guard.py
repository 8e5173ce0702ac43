"""The top-level guard: whatever escapes becomes a line for the operator and an exit code."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from backend.errors import ConfigurationError
from backend.process.signals import INTERRUPTED

CRASHED = 1
REFUSED = 2

logger = logging.getLogger("backend.app")


@contextmanager
def guarded() -> Iterator[None]:
    """Turn a refused configuration into its one sentence and exit code 2, a crash into a traceback and 1.

    The traceback goes to the logger `backend.app`, which writes to stderr as long as logging is not
    configured. SystemExit passes unchanged, so guards may be nested.
    """
    try:
        yield
    except ConfigurationError as refusal:
        sys.stderr.write(f"{refusal}\n")
        raise SystemExit(REFUSED) from refusal
    except KeyboardInterrupt as interrupt:
        raise SystemExit(INTERRUPTED) from interrupt
    except Exception as error:
        logger.critical("crashed", exc_info=True)
        raise SystemExit(CRASHED) from error
