"""What a process tells systemd: that it is ready, that it stops, and that it still gets on.

The protocol is one datagram per message to the socket that systemd names (sd_notify(3)).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass

from backend.events import Fact, ProcessDraining, ProcessStateChanged
from backend.process.state import ProcessState


@dataclass(frozen=True, slots=True)
class Notifier:
    """Speaks to the service manager; without an `address` it is silent. `watchdog` in seconds."""

    address: str | None = None
    watchdog: float | None = None

    def tell(self, *lines: str) -> None:
        """Send one message. Never raises and never waits: who cannot be told must not stop us."""
        if self.address is None:
            return
        place = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)  # noqa: FBT003 - its only parameter
            sender.sendto("\n".join(lines).encode(), place)

    def follow(self, fact: Fact) -> None:
        """Tell the facts of this process's own life."""
        match fact:
            case ProcessStateChanged(state=ProcessState.RUNNING):
                self.tell("READY=1", "STATUS=ready")
            case ProcessDraining(reason=reason):
                self.tell("STOPPING=1", f"STATUS=draining: {reason}")

    @property
    def beat(self) -> float | None:
        """Seconds between two signs of life: half of what systemd waits for one."""
        return self.watchdog / 2 if self.address is not None and self.watchdog else None

    def alive(self) -> None:
        """Give a sign of life."""
        self.tell("WATCHDOG=1")

    async def keep_alive(self, is_live: Callable[[], bool]) -> None:
        """Give signs of life as long as there is one; a loop that stands still stops them."""
        while self.beat is not None:
            if is_live():
                self.alive()
            await asyncio.sleep(self.beat)
