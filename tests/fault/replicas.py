"""Several real servers on one PostgreSQL, each behind a fault proxy of its own, and what can happen to them."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.acceptance.server import Server
from tests.fault.cluster import Cluster
from tests.fault.proxy import Fault, FaultProxy

LEASE = 5.0
SETTINGS = {"lease": f"{LEASE}s", "poll_interval": "250ms", "shutdown_grace": "10s"}


class Replica:
    """One server that is started again whenever it has ended."""

    def __init__(self, folder: Path, cluster: Cluster, proxy: FaultProxy, **settings: str) -> None:
        self._folder = folder
        self._cluster = cluster
        self._options = settings.pop("options", "")
        self._settings = {**SETTINGS, **settings}
        self.proxy = proxy
        self.server = self._start()

    def _start(self) -> Server:
        url = f"{self._cluster.url(self.proxy.port)}?{self._options}"
        return Server(self._folder, database_url=url, log_level="debug", **self._settings)

    @property
    def leases(self) -> int:
        """Count the runs that it holds, by the database."""
        worker = f"%:{self.server.process.pid}:%"
        return self._cluster.count(f"scheduler.runs where state = 'running' and worker like '{worker}'")

    def kill(self, away: float) -> None:
        """SIGKILL, and start again after so many seconds."""
        self.server.kill()
        time.sleep(away)
        self.server = self._start()

    def freeze(self, seconds: float) -> None:
        """Stop it as it stands and let it go on: it does not know that time has passed."""
        self.server.send(signal.SIGSTOP)
        time.sleep(seconds)
        self.server.send(signal.SIGCONT)

    def restart(self) -> None:
        """Drain and start again, as a rolling deploy does."""
        code = self.server.stop()
        assert code == 0, f"draining ended with {code}"
        self.server = self._start()

    def suffer(self, fault: Fault, seconds: float) -> None:
        """Have the connections to the database treated badly for a while."""
        self.proxy.set(fault)
        time.sleep(seconds)
        self.proxy.set(Fault.NONE)


class Fleet:
    """Replicas on one database."""

    def __init__(self, folder: Path, cluster: Cluster, proxies: list[FaultProxy], **settings: str) -> None:
        self.cluster = cluster
        self.replicas: list[Replica] = []
        for proxy in proxies:
            self.replicas.append(Replica(folder, cluster, proxy, **settings))
            self.replicas[0].server.ready()  # the first makes the tables and the key, the others find them

    def ready(self) -> Server:
        """Wait until all are ready; answers one of them."""
        for replica in self.replicas:
            replica.proxy.set(Fault.NONE)
            replica.server.ready()
        return self.replicas[0].server

    def rolling_restart(self) -> None:
        """Restart one after another, each when the one before it is ready."""
        for replica in self.replicas:
            replica.restart()
            replica.server.ready()

    def crash_database(self) -> None:
        self.cluster.kill()
        self.cluster.start()

    def restart_database(self) -> None:
        self.cluster.stop()
        self.cluster.start()


@contextmanager
def fleet(folder: Path, cluster: Cluster, number: int, **settings: str) -> Iterator[Fleet]:
    """Start replicas, and leave none behind."""
    with ExitStack() as stack:
        proxies = [stack.enter_context(FaultProxy(cluster.port)) for _ in range(number)]
        started = Fleet(folder, cluster, proxies, **settings)
        try:
            yield started
        finally:
            for replica in started.replicas:
                replica.server.kill()
