"""Signals, turned into things that threads can wait for.

A handler runs between two instructions of the main thread, which may hold any lock just then. So it takes
none: it writes a byte to a pipe, and a thread does the rest.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

INTERRUPTED = 130
INTERRUPTS = (signal.SIGTERM, signal.SIGINT)
HANGUP = signal.SIGHUP
"""The terminal is gone. It drains like an interrupt, but may come twice, or with SIGTERM, without meaning more."""


class Bell:
    """A pipe that a signal handler may ring and that a thread may wait on."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)

    def ring(self) -> None:
        """Wake who waits; safe in a signal handler."""
        with suppress(BlockingIOError):  # a full pipe has woken them already
            os.write(self._in, b"!")

    def hush(self) -> None:
        """Forget all rings so far."""
        with suppress(BlockingIOError):
            while os.read(self._out, 4096):
                pass

    def fileno(self) -> int:
        """Name what to wait on."""
        return self._out

    def close(self) -> None:
        """Give both ends back; nobody may ring after this."""
        os.close(self._in)
        os.close(self._out)


@contextmanager
def intercepted(
    *numbers: signal.Signals, first: Callable[[signal.Signals], None], again: Callable[[], None]
) -> Iterator[None]:
    """Call `first` on the first of these signals; on any later one call `again` and exit at once with 130.

    A hangup calls `first` too, as often as it comes, and is not counted; where nohup has it ignored, it stays so.
    Both are called inside the handler and must take no locks. Earlier handlers are put back in the end.
    Outside the main thread, where Python allows no handlers, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    noticed = 0

    def notice(number: int, _frame: FrameType | None) -> None:
        nonlocal noticed
        noticed += number != HANGUP
        if number == HANGUP or noticed == 1:
            first(signal.Signals(number))
        else:
            _leave(numbers, again)

    ours = [number for number in (*numbers, HANGUP) if number != HANGUP or signal.getsignal(HANGUP) != signal.SIG_IGN]
    before = {number: signal.signal(number, notice) for number in ours}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, signal.SIG_DFL if former is None else former)


def _leave(numbers: tuple[signal.Signals, ...], again: Callable[[], None]) -> None:
    for number in numbers:  # flushing can block on a stuck terminal; a third signal then ends it
        signal.signal(number, signal.SIG_DFL)
    with suppress(Exception):
        again()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(INTERRUPTED)


@contextmanager
def held_back(*numbers: signal.Signals) -> Iterator[None]:
    """Keep these signals from this thread; a child started meanwhile inherits that until it calls `let_through`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_through(*numbers: signal.Signals) -> None:
    """Take these signals from now on, also one that was held back."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
