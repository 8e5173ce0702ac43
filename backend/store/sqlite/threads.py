"""Threads that run operations: one writer with group commit, and readers beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

import apsw

from backend.errors import SchedulerError, StoreUnavailable
from backend.store.operation import Operation
from backend.store.sqlite.connection import Connection

T = TypeVar("T")
GROUP_LIMIT = 512


@dataclass(slots=True)
class Job:
    """An operation on its way through a thread, and where its result is awaited."""

    operation: Operation[Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = field(default=None)

    def deliver(self) -> None:
        """Hand the result to whoever still waits for it; runs in the loop's thread."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class OperationThread:
    """A thread with a connection of its own and a queue of operations; `None` in the queue ends it."""

    def __init__(self, name: str, connect: Callable[[], Connection], queue: SimpleQueue[Job | None]) -> None:
        self.queue = queue
        self._connection = connect()
        self._door = Lock()
        self._closed = False
        self._thread = Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    async def submit(self, operation: Operation[T]) -> T:
        """Queue an operation and wait for its result."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        # Under the door's lock, nothing is queued behind the `None` that ends the thread, to wait for ever.
        with self._door:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            self.queue.put(Job(operation, loop, future))
        return await future

    def end(self) -> None:
        """Take no more operations, and end a thread of this queue once those that wait are done."""
        with self._door:
            if not self._closed:
                self._closed = True
                self.queue.put(None)

    def join(self) -> None:
        """Wait until the thread has ended and its connection is closed."""
        self._thread.join()

    def _serve(self) -> None:
        open_ = True
        while open_:
            jobs, open_ = _next_group(self.queue, self.group_limit)
            if jobs:
                self._run_group(jobs)
                _deliver(jobs)
        self._connection.close()

    group_limit = 1

    def _run_group(self, jobs: list[Job]) -> None:
        raise NotImplementedError


class Reader(OperationThread):
    """Runs each operation on a snapshot of its own."""

    def _run_group(self, jobs: list[Job]) -> None:
        for job in jobs:
            job.error = _attempt(lambda: self._connection.raw.execute("begin"))
            if job.error is None:
                _run_job(self._connection, job)
                _attempt(lambda: self._connection.raw.execute("rollback"))


class Writer(OperationThread):
    """Runs whatever has queued up in one transaction, a savepoint each, and one fsync for all."""

    group_limit = GROUP_LIMIT

    def _run_group(self, jobs: list[Job]) -> None:
        error = _attempt(lambda: self._transact(jobs))
        if error is None:
            return
        raw = self._connection.raw
        if raw.in_transaction:
            _attempt(lambda: raw.execute("rollback"))
        # Also who was refused: the refusal may rest on what a neighbour wrote, and that has not happened now.
        for job in jobs:
            job.error = StoreUnavailable(f"nothing was written: {error}")

    def _transact(self, jobs: list[Job]) -> None:
        raw = self._connection.raw
        raw.execute("begin immediate")
        for job in jobs:
            raw.execute("savepoint operation")
            _run_job(self._connection, job)
            # A full disk or an I/O error can make SQLite roll back the whole transaction by itself. To go on
            # would commit the rest of the group one by one, and tell them that nothing was written.
            if not raw.in_transaction:
                raise StoreUnavailable(f"the database rolled the transaction back: {job.error}")
            if job.error is not None:
                raw.execute("rollback to operation")
            raw.execute("release operation")
        # If we die before this returns, nobody has been told anything; if after it, all of it is on the disk.
        raw.execute("commit")


def _next_group(queue: SimpleQueue[Job | None], limit: int) -> tuple[list[Job], bool]:
    jobs: list[Job] = []
    item = queue.get()
    while item is not None:
        jobs.append(item)
        if len(jobs) == limit:
            return jobs, True
        try:
            item = queue.get_nowait()
        except Empty:
            return jobs, True
    return jobs, False


def _run_job(connection: Connection, job: Job) -> None:
    def run() -> None:
        job.result = connection.run(job.operation)

    job.error = _attempt(run)


def _attempt(act: Callable[[], object]) -> BaseException | None:
    try:
        act()
    except SchedulerError as error:
        return error
    except (apsw.BusyError, apsw.FullError, apsw.IOError, apsw.LockedError, apsw.CantOpenError) as error:
        return StoreUnavailable(f"the database did not answer: {error}")
    except Exception as error:  # whatever an operation raises belongs to whoever awaits it
        return error
    return None


def _deliver(jobs: list[Job]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = {}
    for job in jobs:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, group in by_loop.items():
        with suppress(RuntimeError):  # the loop has closed: nobody waits any more
            loop.call_soon_threadsafe(_deliver_in_loop, group)


def _deliver_in_loop(jobs: list[Job]) -> None:
    for job in jobs:
        job.deliver()
