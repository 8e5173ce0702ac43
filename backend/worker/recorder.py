"""Writes results back in batches: whatever has ended while the last batch was written is the next one."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Sequence

from backend.engine.retry import settle
from backend.errors import StoreUnavailable
from backend.events import AttemptFinished, Events, LeaseLost, LoopFailed, ScheduleChanged, SchedulePaused
from backend.model.attempt import AttemptResult
from backend.store.endings import Finished
from backend.store.leasing import Finish
from backend.store.port import WorkerStore

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
        while True:
            try:
                self._report(await self._store.finish(results, settle))
            except StoreUnavailable as error:
                # Nothing is lost yet: while the lease lasts, the result may still be written.
                self._events.emit(LoopFailed("recorder", str(error), ""))
                await asyncio.sleep(PAUSE)
            except Exception as error:  # one unwritable result must not take the others with it
                self._events.emit(LoopFailed("recorder", f"{type(error).__name__}: {error}", traceback.format_exc()))
                await self._write_apart(results)
                return
            else:
                return

    async def _write_apart(self, results: Sequence[AttemptResult]) -> None:
        if len(results) > 1:
            for result in results:
                await self._write([result])
        elif (plain := _without_content(results[0])) != results[0]:
            await self._write([plain])

    def _report(self, finish: Finish) -> None:
        for finished in finish.finished:
            result = finished.result
            if finished.accepted:
                self._events.emit(_fact(finished))
            else:
                self._events.emit(LeaseLost(result.run.id, result.run.attempt, result.worker))
        for namespace, schedule_id, note in finish.paused:
            self._events.emit(SchedulePaused(namespace, schedule_id, note))
        for namespace, schedule_id in finish.completed:
            self._events.emit(ScheduleChanged(namespace, schedule_id, "completed", "scheduler"))


def _without_content(result: AttemptResult) -> AttemptResult:
    """Keep how an attempt ended, without the content that the database refused."""
    error = None if result.error is None else "it failed, and what it said could not be recorded"
    return result._replace(error=error, output="", output_truncated=bool(result.output), status_code=None)


def _fact(finished: Finished) -> AttemptFinished:
    result, run = finished.result, finished.result.run
    return AttemptFinished(
        namespace=run.namespace,
        schedule_id=result.schedule_id,
        run_id=run.id,
        attempt=run.attempt,
        target=result.target,
        outcome=result.ended.state,
        run_state=finished.settled.state,
        error=result.error,
        nominal_at=run.nominal_at,
        scheduled_at=run.scheduled_at,
        started_at=run.started_at,
        finished_at=finished.at,
    )
