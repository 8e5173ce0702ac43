"""Writes results back in batches: whatever has ended while the last batch was written is the next one."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Sequence

from backend.engine.outcomes import facts_of
from backend.engine.retry import settle
from backend.errors import StoreUnavailable
from backend.events import Events, LoopFailed, LoopFailure, LoopRecovered
from backend.model.attempt import AttemptResult
from backend.store.leasing import Finish
from backend.store.port import WorkerStore

NAME = "recorder"
PAUSE = 0.2


class Recorder:
    """Takes results one by one and answers each when it is durable, or refused."""

    def __init__(self, store: WorkerStore, events: Events) -> None:
        self._store = store
        self._events = events
        self._waiting: list[tuple[AttemptResult, asyncio.Future[None]]] = []
        self._arrived = asyncio.Event()

    async def record(self, result: AttemptResult) -> None:
        """Return when the result is in the database, or has been refused because the lease is lost."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((result, done))
        self._arrived.set()
        await done

    async def run(self) -> None:
        """Write batches until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            batch, self._waiting = self._waiting, []
            await self._write([result for result, _ in batch])
            for _, done in batch:
                if not done.done():
                    done.set_result(None)

    async def _write(self, results: Sequence[AttemptResult]) -> None:
        try:
            self._report(await self._when_it_answers(results))
        except Exception as error:  # one unwritable result must not take the others with it
            self._events.emit(LoopFailed(NAME, f"{type(error).__name__}: {error}", traceback.format_exc()))
            await self._write_apart(results)

    async def _when_it_answers(self, results: Sequence[AttemptResult]) -> Finish:
        """Ask until the database answers: while the lease lasts, the result may still be written."""
        waited = False
        while True:
            try:
                finish = await self._store.finish(results, settle)
            except StoreUnavailable as error:
                waited = True
                self._events.emit(LoopFailed(NAME, str(error), reason=LoopFailure.DATABASE))
                await asyncio.sleep(PAUSE)
            else:
                if waited:
                    self._events.emit(LoopRecovered(NAME))
                return finish

    async def _write_apart(self, results: Sequence[AttemptResult]) -> None:
        if len(results) > 1:
            for result in results:
                await self._write([result])
        elif (plain := _without_content(results[0])) != results[0]:
            await self._write([plain])

    def _report(self, finish: Finish) -> None:
        for fact in facts_of(finish):
            self._events.emit(fact)


def _without_content(result: AttemptResult) -> AttemptResult:
    """Keep how an attempt ended, without the content that the database refused."""
    error = None if result.error is None else "it failed, and what it said could not be recorded"
    return result._replace(error=error, output="", output_truncated=bool(result.output), status_code=None)
