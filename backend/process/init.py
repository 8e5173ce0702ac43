"""Being process 1, as the first process of a container is.

The kernel gives process 1 every orphan, to be reaped when it ends. Our own server cannot do that: it would take the
exit codes of its children away from those who wait for them. So process 1 starts the server as its child, passes
signals on, and reaps.
"""

from __future__ import annotations

import contextlib
import os
import signal

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT)


def step_aside_as_init() -> None:
    """Return at once unless this is process 1; then return in a child, while process 1 looks after it and orphans."""
    if os.getpid() == 1:
        look_after_a_child()


def look_after_a_child() -> None:
    """Return in a new child. This process passes signals on to it, reaps, and exits as the child did.

    To be called before there are threads.
    """
    watched = {*PASSED_ON, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    while True:
        number = signal.sigwait(watched)
        if number != signal.SIGCHLD:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)
        elif (code := reaped(child)) is not None:
            os._exit(code)


def reaped(child: int) -> int | None:
    """Reap all that have ended; answers the exit code when the child was among them, 128 + N if signal N ended it."""
    found = None
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0] != 0:
            if ended[0] == child:
                code = os.waitstatus_to_exitcode(ended[1])
                found = code if code >= 0 else 128 - code
    return found
